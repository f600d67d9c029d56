//! One test from beginning to end: its world is made, used, and removed or reported on.

use anyhow::{Context as _, Result};

use crate::{PoolMode, Releases, Setup, World};

/// Runs one test in a world of its own. Where it fails, the logs' ends are printed and the database and
/// the folder are left as they are.
///
/// # Panics
/// Where `body` fails.
pub fn in_world(setup: Setup, body: impl AsyncFnOnce(&World) -> Result<()>) {
    run(async { World::new(&setup).await }, body);
}

/// The same on other releases of Postgres and Kafka.
///
/// # Panics
/// Where `body` fails.
pub fn in_world_on(releases: Releases, setup: Setup, body: impl AsyncFnOnce(&World) -> Result<()>) {
    run(async { World::on(&setup, releases).await }, body);
}

/// The same in a world whose own Kafka stands behind a proxy.
///
/// # Panics
/// Where `body` fails.
pub fn in_world_with_kafka_proxy(setup: Setup, body: impl AsyncFnOnce(&World) -> Result<()>) {
    run(async { World::with_kafka_proxy(&setup).await }, body);
}

/// The same in a world whose database stands behind PgBouncer.
///
/// # Panics
/// Where `body` fails.
pub fn in_world_with_pooler(setup: Setup, mode: PoolMode, body: impl AsyncFnOnce(&World) -> Result<()>) {
    run(async { World::with_pooler(&setup, mode).await }, body);
}

#[expect(clippy::panic, reason = "a test that fails panics")]
fn run(world: impl Future<Output = Result<World>>, body: impl AsyncFnOnce(&World) -> Result<()>) {
    let run = async {
        let world = world.await?;
        let done = body(&world).await;
        if done.is_ok() { world.remove().await } else { done }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Err(error) = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run)) {
        panic!("{error:#}{}", lines_of_the_suite(&error));
    }
}

/// Returns where in the suite the error came up, if `RUST_BACKTRACE` is set: the rest of a backtrace is
/// noise.
fn lines_of_the_suite(error: &anyhow::Error) -> String {
    let backtrace = error.backtrace().to_string();
    let lines =
        backtrace.lines().map(str::trim).filter(|line| line.starts_with("at ") && line.contains("/suite/"));
    lines.map(|line| format!("\n  {line}")).collect()
}
