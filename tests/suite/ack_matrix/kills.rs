//! SIGKILL before and after each statement that stores or settles, in all cells at once: a proxy freezes the host at
//! the statement in every cell, and what is stored then says how each message has to end.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, bail, ensure};
use mailroom_tests::{Host, Keep, Proxy, Request, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::json;

use super::CONNECTIONS;
use super::cells::{Cell, Matrix};
use super::plan::{DONE, End, Planned};

const WIDE: &[(&str, &str)] = &[("MAILROOM__POSTGRES__CONNECTIONS_MAX", CONNECTIONS)];

/// Cells, of which half hand over at most once.
const CELLS: i64 = 8;
/// Messages of a round in each cell.
const ROUND: usize = 3;
/// Messages of a round that may be handed over once, as they are counted here and in Postgres.
const ONCE: usize = 12;
const BEGUN: i64 = 12;

/// A step to die at.
struct Point {
    request: Request,
    keep: Keep,
    /// Tells from what is seen of the round whether all cells that come there are there.
    stands: fn(&Seen) -> bool,
    /// Number of messages that are handed over by then and have no end.
    interrupted: RangeInclusive<usize>,
}

/// Counts that are seen of a round.
#[derive(Debug, Default)]
struct Seen {
    frozen: i64,
    stored: i64,
    /// Noted as handed over.
    begun: i64,
    completed: i64,
    failed: i64,
}

impl Seen {
    async fn of(world: &World, proxy: &Proxy, round: usize) -> Result<Self> {
        let query = "select array[count(*), count(*) filter (where begun),
                                  count(*) filter (where status = 'completed'),
                                  count(*) filter (where status = 'failed')]
                       from mailroom.inbox where message_id like $1";
        let counts = sqlx::query_scalar::<_, Vec<i64>>(query).bind(format!("%/{round}-%"));
        let counts = counts.fetch_one(world.db.pool()).await?;
        let Ok([stored, begun, completed, failed]) = <[i64; 4]>::try_from(counts) else {
            bail!("the query gives other columns");
        };
        Ok(Self { frozen: i64::try_from(proxy.frozen())?, stored, begun, completed, failed })
    }
}

/// Plans a message that completes, one that is tried again, and one that is rejected.
fn round(cell: &Cell, number: usize) -> Vec<Planned> {
    let retry = json!({"behave": "retry", "until_attempt": 2});
    let retried = match cell.is_once() {
        true => End::Exhausted { failures: 1, fault: None },
        false => End::Completed { failures: 1 },
    };
    vec![
        Planned::new(format!("{number}-succeeds"), json!({"peek": "other"}), DONE),
        Planned::new(format!("{number}-retries"), retry, retried),
        Planned::new(format!("{number}-rejected"), json!({"behave": "reject"}), End::Rejected),
    ]
}

/// Plans the first message of a cell and so many rounds.
fn rounds(cell: &Cell, count: usize, interrupted: &BTreeSet<String>) -> Vec<Planned> {
    let mut plan = vec![warm()];
    plan.extend((0..count).flat_map(|number| round(cell, number)));
    for planned in plan.iter_mut().filter(|planned| interrupted.contains(&cell.id(&planned.name))) {
        planned.end = End::Interrupted;
    }
    plan
}

fn warm() -> Planned {
    Planned::new("warm", json!({}), DONE)
}

/// Makes a round for each point: into the trap, a kill there, and to its end with the next host.
fn dies_at(points: &[Point]) {
    in_world(Setup { env: WIDE, ..Setup::default() }, async |world| {
        let proxy = Proxy::of_postgres(&world.db.address()).await?;
        let (matrix, mut host) = Matrix::start(world, "behind-dead = \"block\"", Some(&proxy)).await?;
        let mut interrupted = BTreeSet::new();
        matrix.send(|_| vec![warm()]).await?;
        matrix.end_as(|_| vec![warm()]).await?;
        matrix.relayed().await?;
        for (number, point) in points.iter().enumerate() {
            if number > 0 {
                // Whoever takes a lane from the dead stores before it calls: another host, which takes it from a
                // living one, goes the ordinary way.
                host = host.stop().await?.restart()?;
            }
            let killed = dies(world, &matrix, &proxy, host, (number, point)).await?;
            interrupted.extend(killed.interrupted);
            host = killed.next;
            matrix.end_as(|cell| rounds(cell, number + 1, &interrupted)).await?;
            matrix.relayed().await?;
        }

        matrix.effects_once().await?;
        matrix.calls_fit(&host, |cell| rounds(cell, points.len(), &interrupted), as_promised)?;
        world.mailroom(&["dead", "discard", "--all"]).await?.ok()?;
        matrix.tells("Kafka is told the end of the log", |_| 1 + ROUND * points.len()).await?;
        host.stop().await?;
        Ok(())
    });
}

/// Tells whether a message was called at most once where that is promised, else at least as often as it was settled.
fn as_promised(cell: &Cell, end: End, calls: i32) -> bool {
    if !cell.is_once() {
        return calls >= end.deliveries();
    }
    calls == end.deliveries() || (end == End::Interrupted && calls == 0)
}

/// The host after one that was killed.
struct Killed {
    next: Host,
    /// Ids of the messages whose end was lost.
    interrupted: Vec<String>,
}

async fn dies(
    world: &World,
    matrix: &Matrix<'_>,
    proxy: &Proxy,
    host: Host,
    (number, point): (usize, &Point),
) -> Result<Killed> {
    let at = format!("{:?} of {:?}", point.keep, point.request);
    proxy.freeze(point.request, point.keep);
    matrix.send(|cell| round(cell, number)).await?;
    let mut seen = Seen::default();
    let stands = eventually("the host stands where it should", SOON, async || {
        seen = Seen::of(world, proxy, number).await?;
        Ok((point.stands)(&seen))
    });
    let stands = stands.await;
    stands.with_context(|| format!("at {at}: {seen:?}"))?;

    let killed = host.kill().await?;
    proxy.cut();
    becomes("the dead host's sessions are gone", 0, SOON, async || world.db.busy_sessions().await).await?;
    // A slow host may have given up waiting for a reply: it took the lane anew, and ended what it found begun.
    let lost = "select message_id from mailroom.inbox
                 where message_id like $1 and (status = 'pending' and begun or failed_reason = 'interrupted')";
    let lost = sqlx::query_scalar(lost).bind(format!("%/{number}-%"));
    let interrupted: Vec<String> = lost.fetch_all(world.db.pool()).await?;
    ensure!(
        point.interrupted.contains(&interrupted.len()),
        "at {at} the end of {} messages is lost, expected {:?}: {interrupted:?}",
        interrupted.len(),
        point.interrupted
    );
    Ok(Killed { next: killed.restart()?, interrupted })
}

#[test]
fn a_kill_while_records_are_stored_loses_nothing_and_repeats_no_effect_in_any_cell() {
    let before = |request| Point {
        request,
        keep: Keep::Request,
        stands: |seen| seen.frozen >= CELLS && seen.stored == 0,
        interrupted: 0..=0,
    };
    dies_at(&[
        before(Request::Statement("set next_offset = w.next")),
        before(Request::Statement("insert into mailroom.inbox")),
        before(Request::CommitAfter("insert into mailroom.inbox")),
        Point {
            request: Request::CommitAfter("insert into mailroom.inbox"),
            keep: Keep::Reply,
            stands: |seen| seen.frozen >= CELLS && seen.stored >= CELLS,
            // A host that gives up waiting reads what is stored, and goes on.
            interrupted: 0..=ONCE,
        },
    ]);
}

#[test]
fn a_kill_from_the_hand_over_on_repeats_calls_at_least_once_and_interrupts_messages_at_most_once() {
    dies_at(&[
        Point {
            request: Request::Statement("begun = i.begun or"),
            keep: Keep::Request,
            stands: |seen| seen.frozen >= BEGUN && seen.begun == 0,
            interrupted: 0..=0,
        },
        Point {
            request: Request::Statement("begun = i.begun or"),
            keep: Keep::Reply,
            stands: |seen| seen.frozen >= BEGUN && seen.begun == BEGUN,
            interrupted: ONCE..=ONCE,
        },
        Point {
            // Two cells settle a message as they store it.
            request: Request::Statement("set status = s.status"),
            keep: Keep::Request,
            stands: |seen| seen.frozen >= 6 && seen.begun >= 4 && seen.completed + seen.failed <= 6,
            interrupted: 4..=ONCE,
        },
        Point {
            request: Request::Statement("mailroom.emit("),
            keep: Keep::Request,
            stands: |seen| seen.frozen >= CELLS && seen.begun >= 4 && seen.completed == 0,
            interrupted: 1..=ONCE,
        },
    ]);
}

#[test]
fn a_kill_while_a_success_is_settled_leaves_all_of_it_or_nothing_in_every_cell() {
    dies_at(&[
        Point {
            // What a call read does not matter where it cannot be repeated.
            request: Request::Statement("mailroom.stale_reads("),
            keep: Keep::Request,
            stands: |seen| seen.frozen >= 4 && seen.stored >= 4,
            interrupted: 0..=ONCE,
        },
        Point {
            request: Request::Statement("mailroom.write_state("),
            keep: Keep::Request,
            stands: |seen| seen.frozen >= CELLS && seen.completed == 0,
            interrupted: 1..=ONCE,
        },
        Point {
            request: Request::CommitAfter("mailroom.emit("),
            keep: Keep::Request,
            stands: |seen| seen.frozen >= CELLS && seen.completed == 0,
            interrupted: 1..=ONCE,
        },
        Point {
            request: Request::CommitAfter("mailroom.emit("),
            keep: Keep::Reply,
            stands: |seen| seen.frozen >= CELLS && seen.completed >= CELLS,
            interrupted: 0..=ONCE,
        },
    ]);
}

#[test]
fn a_kill_while_a_failure_is_settled_leaves_one_letter_of_each_dead_message_in_every_cell() {
    let before = |request| Point {
        request,
        keep: Keep::Request,
        stands: |seen| seen.frozen >= CELLS && seen.failed == 0,
        interrupted: 1..=ONCE,
    };
    dies_at(&[
        before(Request::Statement("insert into mailroom.attempt")),
        before(Request::Statement("insert into mailroom.dead_letter")),
        before(Request::Statement("insert into mailroom.blocked_key")),
        Point {
            request: Request::CommitAfter("insert into mailroom.dead_letter"),
            keep: Keep::Reply,
            stands: |seen| seen.frozen >= CELLS && seen.failed >= CELLS,
            interrupted: 0..=ONCE,
        },
    ]);
}
