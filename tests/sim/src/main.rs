//! Runs the machines of delivery against models of their servers, seed by seed, and shrinks what breaks a promise.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailroom_sim::main()
}
