//! The wire of Anthropic's API: read, never rewritten.

pub mod error;
pub mod handed;
pub mod json;
pub mod meter;
pub mod request;
pub mod sse;
