//! The offset that Kafka is told while a message is not settled and others behind it are.

use anyhow::Result;
use mailroom_tests::{SOON, Setup, eventually, in_world};
use serde_json::json;

use super::cells::{Cell, Matrix};
use super::plan::{DONE, End, Planned};
use super::{CONNECTIONS, STEADY};

/// A call that sleeps is not over before the test has looked at it.
const PATIENT: &[(&str, &str)] = &[
    ("MAILROOM__HOST__EXPIRY", "9s"),
    ("MAILROOM__LIMITS__DEADLINE", "6s"),
    ("MAILROOM__POSTGRES__CONNECTIONS_MAX", CONNECTIONS),
];

/// Plans four messages; the second and the third are of one key.
fn four(name: &str, says: serde_json::Value, [second, third]: [End; 2]) -> Vec<Planned> {
    vec![
        Planned::new("before", json!({}), DONE),
        Planned::new(name, says, second),
        Planned::new("behind", json!({}), third).behind(name),
        Planned::new("other", json!({}), DONE),
    ]
}

/// Plans one more, which shows that an offset stays where it is although there is something to tell.
fn another() -> Planned {
    Planned::new("another", json!({}), DONE)
}

fn with_another(mut plan: Vec<Planned>) -> Vec<Planned> {
    plan.push(another());
    plan
}

#[test]
fn kafka_is_told_up_to_what_waits_for_its_retry_on_success_and_beyond_it_on_persist() {
    let later = json!({"behave": "retry-after", "after_ms": 3_600_000, "until_attempt": 2});
    let retries = |cell: &Cell, at_least_once: [End; 2]| {
        let at_most_once = [End::Exhausted { failures: 1, fault: None }, DONE];
        four("waits", later.clone(), if cell.is_once() { at_most_once } else { at_least_once })
    };
    let waits = |cell: &Cell| retries(cell, [End::Pending { failures: 1 }, End::Pending { failures: 0 }]);
    // Nothing waits where a retry is a death.
    let told = |cell: &Cell, end| if cell.is_on_success() && !cell.is_once() { 1 } else { end };
    in_world(Setup { env: STEADY, ..Setup::default() }, async |world| {
        let (matrix, host) = Matrix::start(world, "", None).await?;
        matrix.send(waits).await?;
        matrix.end_as(waits).await?;
        matrix.tells("Kafka is told of what does not wait", |cell| told(cell, 4)).await?;
        matrix.send(|_| vec![another()]).await?;
        matrix.end_as(|cell| with_another(waits(cell))).await?;
        matrix.tells("Kafka is told no more", |cell| told(cell, 5)).await?;

        let stopped = host.stop().await?;
        world.db.execute("update mailroom.inbox set scheduled_at = now() where status = 'pending'").await?;
        let host = stopped.restart()?;

        let done = |cell: &Cell| with_another(retries(cell, [End::Completed { failures: 1 }, DONE]));
        matrix.end_as(done).await?;
        matrix.calls_fit(&host, done, |_, end, calls| calls == end.deliveries())?;
        matrix.effects_once().await?;
        matrix.tells("Kafka is told the end of the log", |_| 5).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn kafka_is_told_up_to_the_letter_that_blocks_its_key_on_success_and_beyond_it_on_persist() {
    let rejects = |behind: End| four("dies", json!({"behave": "reject"}), [End::Rejected, behind]);
    let waits = || rejects(End::Pending { failures: 0 });
    let told = |cell: &Cell, end| if cell.is_on_success() { 2 } else { end };
    in_world(Setup { env: STEADY, ..Setup::default() }, async |world| {
        let (matrix, host) = Matrix::start(world, "behind-dead = \"block\"", None).await?;
        matrix.send(|_| waits()).await?;
        matrix.end_as(|_| waits()).await?;
        matrix.tells("Kafka is told of what does not wait", |cell| told(cell, 4)).await?;
        matrix.send(|_| vec![another()]).await?;
        matrix.end_as(|_| with_another(waits())).await?;
        matrix.tells("Kafka is told no more", |cell| told(cell, 5)).await?;

        world.mailroom(&["dead", "discard", "--all"]).await?.ok()?;

        let done = |_: &Cell| with_another(rejects(DONE));
        matrix.end_as(done).await?;
        matrix.calls_fit(&host, done, |_, end, calls| calls == end.deliveries())?;
        matrix.effects_once().await?;
        matrix.tells("Kafka is told the end of the log", |_| 5).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_was_being_handled_as_its_host_died_is_called_again_at_least_once_and_interrupted_at_most_once() {
    let sleeps = json!({"behave": "sleep", "until_attempt": 2});
    let plan = |ends: [End; 2]| four("handled", sleeps.clone(), ends);
    let runs = |_: &Cell| plan([End::Pending { failures: 0 }; 2]);
    let ended = |cell: &Cell| {
        plan([if cell.is_once() { End::Interrupted } else { End::Completed { failures: 1 } }, DONE])
    };
    in_world(Setup { env: PATIENT, ..Setup::default() }, async |world| {
        let (matrix, host) = Matrix::start(world, "", None).await?;
        matrix.send(runs).await?;
        let handled = |_: &Cell| vec![Planned::new("handled", json!({}), DONE)];
        let is_called = async || -> Result<bool> {
            Ok(matrix.calls_fit(&host, handled, |_, _, calls| calls == 1).is_ok())
        };
        eventually("it is called in every cell", SOON, is_called).await?;
        matrix.end_as(runs).await?;
        let told = |cell: &Cell| if cell.is_on_success() { 1 } else { 4 };
        matrix.tells("Kafka is told of what is not being handled", told).await?;
        // Nothing of it had ended while that was looked at.
        matrix.end_as(runs).await?;

        let host = host.kill().await?.restart()?;

        matrix.end_as(ended).await?;
        let repeated = |cell: &Cell, end: End, calls: i32| {
            if cell.is_once() { calls == 1 } else { calls >= end.deliveries() }
        };
        matrix.calls_fit(&host, ended, repeated)?;
        matrix.effects_once().await?;
        matrix.tells("Kafka is told the end of the log", |_| 4).await?;
        host.stop().await?;
        Ok(())
    });
}
