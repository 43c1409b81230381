//! What no compiler checks: that the walls stand where the documents say, that the documents speak
//! of what is there, and that nothing is committed that must not be.
//!
//! Each test reads the repository as it lies on the disk and says all that it found at once.

mod documents;
mod files;
mod logging;
mod manifests;
pub(crate) mod repository;
mod sources;
