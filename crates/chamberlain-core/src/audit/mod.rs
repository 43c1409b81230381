//! The audit log: a Merkle log of records with signed checkpoints.
//!
//! A record is a line of JSON, stored as hashed ([`record`]). Its leaf hash goes into an RFC 6962
//! tree ([`merkle`], [`proof`]) and, as `prev`, into the next record, so a break is found at its
//! place ([`verify`]). The tree's head is signed now and then ([`note`], [`checkpoint`]) and kept
//! elsewhere as well; whoever holds one checkpoint notices a log that was cut or rolled back.
//! [`tlog_proof`] carries a single record to somebody who has nothing but the public key.
//!
//! Nothing here stores, signs with a key of its own, or knows the time.

pub mod canonical;
pub mod checkpoint;
pub mod log;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod record;
pub mod tlog_proof;
pub mod verify;
