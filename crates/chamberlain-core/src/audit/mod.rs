//! The audit log: a Merkle log of records with signed checkpoints.

pub mod checkpoint;
pub mod merkle;
pub mod record;
pub mod verify;
