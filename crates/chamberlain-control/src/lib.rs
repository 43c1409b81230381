//! The control plane: the one door for operators, the jobs on a clock, and the published view.
//!
//! Everything that changes something is a [`command::Command`], executed in one store transaction
//! together with its audit record. This room refuses to forward calls (the gateway does) and to
//! read configuration files (the binary does, and hands over [`settings::Settings`]).

pub mod admin_api;
pub mod backup;
pub mod checkpoint;
pub mod client;
pub mod command;
pub mod commander;
pub mod door;
pub mod error;
pub mod exposure;
pub mod fault;
pub mod house;
pub mod inventory;
pub mod jobs;
pub mod key_table;
pub mod prices;
pub mod prober;
pub mod publish;
pub mod rekey;
pub mod reply;
pub mod scope;
pub mod settings;
pub mod sink;
pub mod socket;
#[cfg(test)]
mod testing;
pub mod view;
pub mod virtual_key;
pub mod web;
pub mod when;
pub mod wire;
