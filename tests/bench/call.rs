//! One call of the example handler `invoice`, without servers: what a new instance costs, and a reused one.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use mailroom_tests::{Start, guest, paths};

use crate::figure::{Call, Figure, Measured};
use crate::stage::Stage;

const EXAMPLE: &str = "invoice";

/// Number of calls, so large that the first ones, in which memory is touched for the first time, do not
/// count.
const CALLS: &str = "50000";

/// Number of runs, of which the best counts: what else the machine does makes a run slower, never faster.
const ROUNDS: u32 = 3;

/// Calls in new instances and in reused ones, in turn.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    let folder = stage.folder.join(format!("call{}", stage.number()));
    fs::create_dir_all(&folder)?;
    let config = folder.join("mailroom.toml");
    fs::write(&config, "")?;
    let start = Start { binary: paths::binary()?, config, env: Vec::new(), log: folder.join("mailroom.log") };
    let granted = fs::read_to_string(example().join(format!("{EXAMPLE}.toml")))?;
    let (new, reuse) = (folder.join("new.toml"), folder.join("reuse.toml"));
    fs::write(&new, &granted)?;
    fs::write(&reuse, format!("instances = \"reuse\"\n{granted}"))?;
    let (mut of_new, mut of_reuse) = (Call::slowest(Some(20.0)), Call::slowest(None));
    for _ in 0..ROUNDS {
        run(&start, &new, &mut of_new).await?;
        run(&start, &reuse, &mut of_reuse).await?;
    }
    Ok(vec![
        Figure { of: "a call of the example `invoice`, new instance", is: Measured::Call(of_new) },
        Figure { of: "a call of the example `invoice`, reused instance", is: Measured::Call(of_reuse) },
    ])
}

async fn run(start: &Start, manifest: &Path, best: &mut Call) -> Result<()> {
    let (median_us, p99_us) =
        invoke(start, [&guest(EXAMPLE)?, manifest, &example().join("message.json")], CALLS).await?;
    best.add(median_us, p99_us);
    Ok(())
}

/// Calls a component with its manifest and a message so many times; gives the median, and what 99 of 100 stay below, in
/// microseconds.
pub(crate) async fn invoke(start: &Start, files: [&Path; 3], times: &str) -> Result<(f64, f64)> {
    let [component, manifest, message] = files.map(Path::to_string_lossy);
    let args = [
        "handler",
        "invoke",
        &component,
        "--manifest",
        &manifest,
        "--message",
        &message,
        "--times",
        times,
        "--json",
    ];
    let told = start.ran(&args).await?.json()?;
    let number = |name: &str| {
        told.pointer(&format!("/calls/{name}"))
            .and_then(serde_json::Value::as_f64)
            .context("no figure was told")
    };
    Ok((number("median_us")?, number("p99_us")?))
}

fn example() -> std::path::PathBuf {
    paths::root().join("handlers").join(EXAMPLE)
}
