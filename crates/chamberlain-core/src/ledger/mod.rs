//! What calls cost, what they may cost at most, and the books they are charged to.

pub mod account;
pub mod book;
pub mod bound;
pub mod cost;
pub mod cut;
pub mod price;
