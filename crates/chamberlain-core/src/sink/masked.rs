//! What GitLab masks in job logs. A value that cannot be masked would be printed by the first job
//! that echoes its environment, so it is refused before it is sent.

/// Fewer characters than this GitLab does not mask.
const CHARS_MIN: usize = 8;

/// Whether GitLab masks the value: one line, no spaces, at least eight characters, and none but
/// those of base64 (both alphabets), `@`, `:`, `.` and `~`. Newer versions mask more when a variable is
/// not expanded; every version masks these.
///
/// # Errors
/// What is wrong, without any part of the value.
pub fn is_masked(value: &[u8]) -> Result<(), String> {
    if value.len() < CHARS_MIN {
        return Err(format!("it has fewer than {CHARS_MIN} characters"));
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || b"+/=-_@:.~".contains(&b);
    match value.iter().position(|byte| !good(*byte)) {
        None => Ok(()),
        Some(at) => Err(format!("its character {} is none that every GitLab masks", at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_kinds_are_masked_and_odd_texts_are_not() {
        let upstream = format!("sk-ant-{}-{}AA", "api03", "Ab3_-".repeat(18));
        let minted = crate::admission::key::mint([7; 16], [9; 43]);
        for value in [upstream.as_str(), minted.text.expose(), "12345678"] {
            assert_eq!(is_masked(value.as_bytes()), Ok(()));
        }
        for value in ["1234567", "", "1234 5678", "12345678\n", "12345$78", "größer-als"] {
            assert!(is_masked(value.as_bytes()).is_err(), "{value:?}");
        }
    }
}
