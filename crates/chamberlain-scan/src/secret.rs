//! A secret that was found: it prints nothing, and is overwritten when it is dropped.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The secret that a finding is about, as it was meant: decoded, and put together where it was
/// split. Prints as `[secret]`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Box<[u8]>);

impl Secret {
    pub(crate) fn new(bytes: &[u8]) -> Secret {
        Secret(bytes.into())
    }

    /// The secret itself. Whoever asks for it must neither print nor keep it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// What people may see of it: the first `open` bytes, which name its kind, and of a long one
    /// three more and the last four, as Anthropic's Console shows its keys.
    pub(crate) fn masked(&self, open: usize) -> String {
        /// A shorter rest is all secret.
        const LONG: usize = 80;
        let bytes = &self.0;
        let open = open.min(bytes.len());
        let show = |part: &[u8]| part.escape_ascii().to_string();
        if bytes.len() - open < LONG {
            return format!("{}...", show(&bytes[..open]));
        }
        let (start, end) = (&bytes[..open + 3], &bytes[bytes.len() - 4..]);
        format!("{}...{}", show(start), show(end))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_and_is_masked() {
        let text = format!("sk-ant-api03-abc{}wxyz", "Q".repeat(88));
        let secret = Secret::new(text.as_bytes());
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "[secret] Some(\n    [secret],\n)");
        assert_eq!(secret.masked(13), "sk-ant-api03-abc...wxyz");
        assert_eq!(Secret::new(b"ghp_0123456789").masked(4), "ghp_...");
        assert_eq!(Secret::new(b"ab").masked(4), "ab...");
    }
}
