//! The binary: everything is in the library beside it, so that the fuzzer can reach it too.

use std::process::ExitCode;

/// A call makes and drops a few hundred small things; this one is quicker at it than the system's,
/// and gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chamberlain::run()
}
