//! The store through its public face, on real files.

mod books;
mod calls;
mod faults;
mod recovery;
mod support;
