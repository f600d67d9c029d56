//! The simulator, built optimised since it runs millions of steps.

use crate::run::{Result, command, finish};

/// Builds it and has it try every interleaving of small scenarios.
pub(crate) fn model(names: &[String]) -> Result {
    run(&[&["model".to_owned()], names].concat())
}

/// Builds and runs it with these arguments.
pub(crate) fn run(args: &[String]) -> Result {
    let mut sim =
        command("cargo", &["run", "--quiet", "--profile", "sim", "--package", "mailroom-sim", "--"])?;
    sim.args(args);
    finish(sim)
}
