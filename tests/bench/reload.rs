//! From the close of a component's file to the first message that its new version completed, while messages
//! flow.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use mailroom_tests::{Host, SOON, eventually, guest};

use crate::figure::{Delays, Figure, Measured};
use crate::ground::{Ground, Handler, NOOP};
use crate::latency::send_one_by_one;
use crate::stage::Stage;

/// Versions that are compiled, and are swapped in once more afterwards.
const VERSIONS: u8 = 20;

/// Between two messages: 500 a second.
const PACE: Duration = Duration::from_millis(2);

/// More than are sent before the last swap.
const MESSAGES: u32 = 1_000_000;

/// Cold and warm.
pub(crate) async fn measure(stage: &Stage) -> Result<Vec<Figure>> {
    let ground = Ground::new(stage, "reload", Handler::Component).await?;
    let host = ground.host_up().await?;
    let measured = tokio::select! {
        sent = send_one_by_one(&ground, MESSAGES, PACE) => sent.and(Err(anyhow::anyhow!("too few messages"))),
        measured = swapped(&ground) => measured,
    };
    let [cold, warm] = measured?;
    end(ground, host).await?;
    let figure = |of, delays, aim| -> Result<Figure> {
        let delays = Delays::of(delays).context("nothing was swapped")?;
        Ok(Figure { of, is: Measured::Delays(delays, aim) })
    };
    Ok(vec![
        figure("file closed → first message on the new version, cold", cold, "")?,
        figure("file closed → first message on the new version, warm", warm, "≤ 50 ms")?,
    ])
}

async fn end(ground: Ground, host: Host) -> Result<()> {
    host.stop().await?;
    ground.remove().await
}

/// Each version twice: what is seen for the first time is compiled.
async fn swapped(ground: &Ground) -> Result<[Vec<f64>; 2]> {
    let plain = fs::read(guest(NOOP)?)?;
    let mut delays = [Vec::new(), Vec::new()];
    for of_these in &mut delays {
        for version in 0..VERSIONS {
            let component = version_of(&plain, version);
            of_these.push(swap_ms(ground, &component).await?);
        }
    }
    Ok(delays)
}

/// The same component with another digest: a custom section of one byte, whose name is `v`.
fn version_of(component: &[u8], version: u8) -> Vec<u8> {
    let section = [0, 3, 1, b'v', version];
    [component, &section].concat()
}

async fn swap_ms(ground: &Ground, component: &[u8]) -> Result<f64> {
    // Before it is written, by the clock of the rows: what that takes is counted, a round trip is not hidden.
    let begun: DateTime<Utc> = ground.db.one("select clock_timestamp()").await?;
    ground.replace_component(component)?;
    let first = "select min(completed_at) from mailroom.inbox where completed_at > $1
                    and handler_digest = encode(sha256($2), 'hex')";
    let mut found: Option<DateTime<Utc>> = None;
    eventually("the new version completes a message", SOON, async || {
        found = sqlx::query_scalar(first).bind(begun).bind(component).fetch_one(ground.db.pool()).await?;
        Ok(found.is_some())
    })
    .await?;
    let took = found.context("no message")? - begun;
    Ok(took.as_seconds_f64() * 1000.0)
}
