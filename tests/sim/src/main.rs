//! Runs the machines of delivery against models of their servers, seed by seed, and shrinks what breaks a promise.

use std::process::ExitCode;

/// A world is cloned at every step of the exhaustive model.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mailroom_sim::main()
}
