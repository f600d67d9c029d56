//! Two hosts under load, killed again and again: what they leave is judged as a whole.
//!
//! `MAILROOM_HISTORY_MESSAGES` sets how many messages there are, 40,000 if it is not set, and
//! `MAILROOM_HISTORY_SEED` repeats the choices of a run, which prints its seed.

mod disturb;
mod run;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use mailroom_tests::history::{Evidence, Watch, check, gather};
use mailroom_tests::{Setup, World, in_world};

use crate::arrange::number;
use run::Run;

/// Hosts of the tests have an expiry of three seconds.
const EXPIRY: Duration = Duration::from_secs(3);
/// Number of breaches of one promise that are told.
const TOLD: usize = 5;

#[test]
fn two_hosts_that_are_killed_again_and_again_keep_every_promise() {
    in_world(Setup::default(), async |world| {
        let seed = number("MAILROOM_HISTORY_SEED")?.unwrap_or_else(|| fastrand::u64(..1 << 32));
        let messages = number("MAILROOM_HISTORY_MESSAGES")?.unwrap_or(40_000);
        eprintln!("history of {messages} messages, MAILROOM_HISTORY_SEED={seed}");
        let mut run = Run::begin(world, seed).await?;
        let watch = Watch::default();
        tokio::select! {
            disturbed = run.disturbed(messages) => disturbed?,
            watched = watch.run(&world.db) => drop(watched?),
        }

        let breaches = check(&evidence(world, &run, &watch).await?);

        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        let mut told = String::new();
        for breach in &breaches {
            let of_promise = count.entry(breach.promise).or_default();
            *of_promise += 1;
            if *of_promise <= TOLD {
                told.push_str(&format!("\n  {breach}"));
            }
        }
        ensure!(breaches.is_empty(), "MAILROOM_HISTORY_SEED={seed}: breaches {count:?}:{told}");
        run.end().await
    });
}

async fn evidence(world: &World, run: &Run<'_>, watch: &Watch) -> Result<Evidence> {
    let mut published = Vec::new();
    for topic in run.topics() {
        published.extend(gather::published(&world.kafka, topic).await?);
    }
    Ok(Evidence {
        sent: run.sent().to_vec(),
        handled: gather::handled(&world.db).await?,
        rows: gather::rows(&world.db).await?,
        published,
        sums: gather::sums(world).await?,
        gaps: watch.gaps(),
        // Whoever takes over may have to wait for a processor as long again.
        gap_milliseconds_max: i64::try_from((2 * EXPIRY).as_millis())?,
    })
}
