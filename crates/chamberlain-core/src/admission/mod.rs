//! Who may pass: keys, policy, limits, budgets, and every way to say no.

pub mod breaker;
pub mod gate;
pub mod key;
pub mod limit;
pub mod memory;
pub mod policy;
pub mod refusal;
pub mod retry;
pub mod turns;
