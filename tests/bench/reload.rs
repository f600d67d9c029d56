//! Reload: the time from the close of a component's file, or a script's, to the first message that its new
//! version completed, while messages flow.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use mailroom_tests::{SOON, eventually, guest};

use crate::figure::{Delays, Figure, Measured};
use crate::ground::{Ground, Handler, NOOP, SCRIPT};
use crate::latency::send_one_by_one;
use crate::stage::Stage;

/// Versions that are compiled, and are swapped in once more afterwards.
const VERSIONS: u8 = 20;

/// Pause between two messages: 500 a second.
const PACE: Duration = Duration::from_millis(2);

/// More than are sent before the last swap.
const MESSAGES: u32 = 1_000_000;

/// A component, cold and warm, and a script.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    let plain = fs::read(guest(NOOP)?)?;
    let components: Vec<Vec<u8>> = (0..VERSIONS).map(|version| version_of(&plain, version)).collect();
    let scripts: Vec<Vec<u8>> =
        (0..VERSIONS).map(|version| format!("{SCRIPT}// {version}\n").into_bytes()).collect();
    // Each component twice: what is seen for the first time is compiled.
    let [cold, warm] = swapped(stage, Handler::Component, [&components, &components]).await?;
    let [edited] = swapped(stage, Handler::Script, [&scripts]).await?;
    let figure = |of, delays, aim| -> Result<Figure> {
        let delays = Delays::of(delays).context("nothing was swapped")?;
        Ok(Figure { of, is: Measured::Delays(delays, aim) })
    };
    Ok(vec![
        figure("file closed → first message on the new version, cold", cold, "")?,
        figure("file closed → first message on the new version, warm", warm, "≤ 50 ms")?,
        figure("script closed → first message on the new version", edited, "≤ 50 ms")?,
    ])
}

/// The delays of the versions of each list, one after another on one host.
async fn swapped<const LISTS: usize>(
    stage: &Stage,
    handler: Handler,
    versions: [&Vec<Vec<u8>>; LISTS],
) -> Result<[Vec<f64>; LISTS]> {
    let ground = Ground::new(stage, "reload", handler).await?;
    let host = ground.host_up().await?;
    let mut delays = [const { Vec::new() }; LISTS];
    let swapping = async {
        for (delays, versions) in delays.iter_mut().zip(versions) {
            for version in versions {
                delays.push(swap_ms(&ground, version).await?);
            }
        }
        Ok(())
    };
    tokio::select! {
        sent = send_one_by_one(&ground, MESSAGES, PACE) => sent.and(Err(anyhow::anyhow!("too few messages"))),
        swapped = swapping => swapped,
    }?;
    host.stop().await?;
    ground.remove().await?;
    Ok(delays)
}

/// The same component with another digest: a custom section of one byte, whose name is `v`.
fn version_of(component: &[u8], version: u8) -> Vec<u8> {
    let section = [0, 3, 1, b'v', version];
    [component, &section].concat()
}

async fn swap_ms(ground: &Ground, version: &[u8]) -> Result<f64> {
    // Before it is written, by the clock of the rows: what that takes is counted, a round trip is not hidden.
    let begun: DateTime<Utc> = ground.db.one("select clock_timestamp()").await?;
    ground.replace(version)?;
    let first = "select min(completed_at) from mailroom.inbox where completed_at > $1
                    and handler_digest = encode(sha256($2), 'hex')";
    let mut found: Option<DateTime<Utc>> = None;
    eventually("the new version completes a message", SOON, async || {
        found = sqlx::query_scalar(first).bind(begun).bind(version).fetch_one(ground.db.pool()).await?;
        Ok(found.is_some())
    })
    .await?;
    let took = found.context("no message")? - begun;
    Ok(took.as_seconds_f64() * 1000.0)
}
