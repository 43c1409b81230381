//! Sealing and opening the keys that Chamberlain guards; the one room that knows encryption.
//!
//! Every secret is encrypted with a data key of its own, and the data key with a key derived from
//! the *master key*, which an operator gives at the start ([`master`], [`seal`]). What is sealed may
//! be stored and copied; what is opened lives in a [`keyring::Keyring`] and goes nowhere but into an
//! upstream request ([`keyring::UpstreamSecret`]). This crate refuses to know HTTP, SQL, the clock
//! and the environment; the only files it touches are master key files, to read them.
//!
//! # What wiping can and cannot do
//!
//! Master keys, data keys, opened secrets and the signing seed are overwritten with zeros when they
//! are dropped. That covers the copies this crate makes. It does not cover:
//!
//! - the copy inside an HTTP header of a call in flight, and what the HTTP and TLS libraries and the
//!   kernel buffer of it: freed with the call, not overwritten;
//! - registers, and stack space that the compiler used for temporaries;
//! - pages written to swap, and core dumps: the binary switches core dumps off, an operator should
//!   encrypt or disable swap;
//! - whoever may read the memory of the process (root, or a debugger as the same user).
//!
//! So after [`keyring::Keyring::close`] the keys are gone once the calls in flight have ended and
//! their buffers have been reused. Against somebody who owns the machine, nothing here helps.

pub mod admin_key;
pub mod backup;
pub mod keyring;
pub mod master;
pub mod parcel;
pub mod seal;
pub mod sealed_box;
pub mod upstream_key;
pub mod vault;

mod derive;

#[cfg(test)]
mod testing;
