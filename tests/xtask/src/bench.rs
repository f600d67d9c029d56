//! Builds all that the benchmark needs, optimised, and becomes it.

use crate::run::{Result, built, command, finish};
use crate::{guests, install};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Returns only when the benchmark could not be started: it takes this process over.
pub(crate) fn run(args: &[String]) -> Result {
    install::install()?;
    guests::build()?;
    let mut build = command("cargo", &["build", "--release", "--workspace", "--exclude", "xtask"])?;
    build.args(["--bin", "mailroom", "--bin", "native-host", "--bin", "bench"]);
    finish(build)?;
    let mut bench = Command::new(built("../release/bench")?);
    bench.args(args).env("MAILROOM_BIN", built("../release/mailroom")?);
    bench.env("MAILROOM_KAFKA_JARS", mailroom_servers::KafkaRelease::V4.jars());
    Err(format!("cannot start the benchmark: {}", bench.exec()).into())
}
