//! The program; everything is in the library.

use std::process::ExitCode;

/// Messages are made on one thread and dropped on another all the time, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mailroom::cli::main()
}
