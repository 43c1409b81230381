//! Sinks: places outside Chamberlain that are given a key, because a program there cannot call
//! through the gateway.
//!
//! Here is what a sink is ([`settings`]), what may go into which ([`admit`]), and what is known
//! after something was tried ([`fault`]): pure rules, all of them asked before anything outside
//! changes. Files, processes and the network are the control plane's.

pub mod admit;
pub mod env_text;
pub mod fault;
pub mod hook;
pub mod manifest;
pub mod masked;
pub mod names;
pub mod settings;
pub mod written;
