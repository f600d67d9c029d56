//! Ends of a message while nothing goes wrong but what its handler does.

use mailroom_tests::{Setup, in_world};
use serde_json::json;

use super::STEADY;
use super::cells::{Cell, Matrix};
use super::plan::{DONE, End, Planned};

/// Failures after which a message is dead: as the suite's settings say, or one where it is handed over once.
fn exhausted(cell: &Cell, fault: Option<&'static str>) -> End {
    End::Exhausted { failures: if cell.is_once() { 1 } else { 3 }, fault }
}

/// End of a message that would complete after so many failures.
fn mended(cell: &Cell, failures: i32, fault: Option<&'static str>) -> End {
    if cell.is_once() { exhausted(cell, fault) } else { End::Completed { failures } }
}

/// Sends each cell its messages and looks at everything that comes of it.
fn ends_as_planned(line: &str, plan: fn(&Cell) -> Vec<Planned>) {
    in_world(Setup { env: STEADY, ..Setup::default() }, async |world| {
        let (matrix, host) = Matrix::start(world, line, None).await?;
        matrix.send(plan).await?;

        matrix.end_as(plan).await?;
        matrix.calls_fit(&host, plan, |_, end, calls| calls == end.deliveries())?;
        assert_eq!(matrix.effects_once().await?, 0, "records are repeated without a crash");
        matrix.tells("Kafka is told the end of the log", |cell| plan(cell).len()).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn success_skip_and_rejection_end_at_the_first_call_in_every_cell() {
    ends_as_planned("", |_| {
        vec![
            Planned::new("succeeds", json!({}), DONE),
            Planned::new("skipped", json!({"behave": "skip"}), End::Skipped),
            Planned::new("rejected", json!({"behave": "reject"}), End::Rejected),
            Planned::new("behind", json!({}), DONE).behind("rejected"),
        ]
    });
}

#[test]
fn a_failure_is_called_again_at_least_once_and_is_dead_after_its_only_call_at_most_once() {
    ends_as_planned("", |cell| {
        let until = |behave: &str, attempt: i32| json!({"behave": behave, "until_attempt": attempt});
        let mut plan = vec![
            Planned::new("retries", until("retry", 2), mended(cell, 1, None)),
            Planned::new("behind", json!({}), DONE).behind("retries"),
            Planned::new("always-retries", json!({"behave": "retry"}), exhausted(cell, None)),
            Planned::new("fails", json!({"behave": "fail"}), exhausted(cell, Some("failure"))),
            Planned::new("panics", json!({"behave": "panic"}), exhausted(cell, Some("trap"))),
            Planned::new("is-mended", until("panic", 3), mended(cell, 2, Some("trap"))),
        ];
        if cell.is_once() {
            // Elsewhere it would be called a hundred times.
            plan.push(Planned::new("uncounted", json!({"behave": "retry-uncounted"}), exhausted(cell, None)));
        }
        plan
    });
}

#[test]
fn a_call_beyond_its_deadline_is_made_again_at_least_once_and_was_the_only_one_at_most_once() {
    // Its time is over before its fuel is.
    ends_as_planned("limits.deadline = \"2s\"\nlimits.fuel = 1000000000000000", |cell| {
        vec![
            Planned::new("loops", json!({"behave": "loop"}), exhausted(cell, Some("deadline"))),
            Planned::new("behind", json!({}), DONE).behind("loops"),
            Planned::new("other", json!({}), DONE),
        ]
    });
}

#[test]
fn a_producers_duplicate_has_its_effects_once_and_kafka_is_told_beyond_it_in_every_cell() {
    let planned = |names: &[&str]| -> Vec<Planned> {
        names.iter().map(|&name| Planned::new(name, json!({}), DONE).behind("key")).collect()
    };
    in_world(Setup { env: STEADY, ..Setup::default() }, async |world| {
        let (matrix, host) = Matrix::start(world, "", None).await?;
        matrix.send(|_| planned(&["twice", "twice", "behind"])).await?;
        matrix.end_as(|_| planned(&["twice", "behind"])).await?;
        matrix.send(|_| planned(&["twice", "last"])).await?;

        let rows = ["twice", "behind", "last"];
        matrix.end_as(|_| planned(&rows)).await?;
        let once_where_stored_first =
            |cell: &Cell, _: End, calls: i32| calls == 1 || (!cell.stores_first() && calls > 1);
        matrix.calls_fit(&host, |_| planned(&rows), once_where_stored_first)?;
        assert_eq!(matrix.effects_once().await?, 0, "records are repeated without a crash");
        matrix.tells("Kafka is told the end of the log", |_| 5).await?;
        host.stop().await?;
        Ok(())
    });
}
