//! Builds all that the demo needs and becomes it.

use crate::run::{Result, built, command, finish};
use crate::{guests, install};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Returns only when the demo could not be started: it takes this process over, so that signals reach
/// it and its exit code is ours.
pub(crate) fn run(args: &[String]) -> Result {
    install::install()?;
    guests::build()?;
    finish(command(
        "cargo",
        &["build", "--workspace", "--exclude", "xtask", "--bin", "mailroom", "--bin", "demo"],
    )?)?;
    let mut demo = Command::new(built("demo")?);
    demo.args(args).env("MAILROOM_BIN", built("mailroom")?);
    demo.env("MAILROOM_KAFKA_JARS", mailroom_servers::KafkaRelease::V4.jars());
    Err(format!("cannot start the demo: {}", demo.exec()).into())
}
