//! Backups: what one says of itself, what it is called, when one is due, which are kept, and which
//! is too old to be put back without a word.
//!
//! A backup is one encrypted file. What it holds is the store as it was at one moment, and before
//! that its [`manifest`], signed with the vault's own key. The rules here know no file and no clock.

pub mod due;
pub mod keep;
pub mod manifest;
pub mod name;
pub mod stale;
