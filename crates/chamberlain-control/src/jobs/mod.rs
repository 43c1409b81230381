//! What is done without being asked: on a clock, or when somebody says "look now".

pub mod driver;
pub mod exceed;
