//! The inventory of upstream keys: what is known of each, what its name should say, when it is to
//! be replaced, and what does not fit with what Anthropic lists.
//!
//! Dates of rotation are derived and never typed. Nothing here holds a key or can ask for one.

pub mod finding;
pub mod listed;
pub mod name;
pub mod policy_file;
pub mod profile;
pub mod reconcile;
pub mod schedule;
pub mod yaml;
