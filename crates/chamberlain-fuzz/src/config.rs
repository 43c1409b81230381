//! The configuration: any text is read or refused with words that show its place and no key.

use chamberlain::check_configuration;

pub(crate) fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let first = check_configuration(text);
    assert_eq!(first, check_configuration(text), "the same text is read in the same way");
    if let Err(told) = first {
        assert!(told.contains("error: "), "a refusal that does not say what is wrong: {told}");
    }
}
