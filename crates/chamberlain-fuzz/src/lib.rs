//! What must hold for any bytes at all: one function for each place where Chamberlain reads what
//! somebody else wrote. Each panics when it does not hold.
//!
//! The fuzzer (`fuzz/`, outside the workspace because it needs a compiler's help) calls them with
//! bytes it invents; the tests of this crate call them with the bytes it kept, `fuzz/corpus/`.

mod audit;
mod config;
mod key;
mod request;
mod stream;

/// A function that panics on bytes for which something does not hold.
pub type Target = fn(&[u8]);

/// Every target by the name that the fuzzer, its folder of kept bytes and the tests call it.
pub const TARGETS: [(&str, Target); 5] = [
    ("audit", audit::holds),
    ("config", config::holds),
    ("key", key::holds),
    ("request", request::holds),
    ("stream", stream::holds),
];

/// Runs one target.
///
/// # Panics
/// When what must hold does not, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.unwrap_or_else(|| panic!("there is no target {name:?}"));
    target(bytes);
}
