//! A secret on its way from one room to the next.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A text that must not be seen: it prints as `[secret]`, cannot be serialized or cloned, and is
/// overwritten with zeros when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over; the caller's copy, if any, is the caller's to wipe.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself. Each place that calls this is listed in the tidy test.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
