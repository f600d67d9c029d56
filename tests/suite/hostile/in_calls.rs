//! Hostile in `handle`, or at the start of the instance that a call gets.

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mailroom_tests::wat::{Core, NOTHING};
use mailroom_tests::{Setup, in_world};
use serde_json::{Value, json};

use super::stage::{Ending, Guest, Hostile, Stage};
use super::{FUEL, SHORT};

/// Hostile handlers that are called at once.
const AT_ONCE: usize = 4;
/// Deadline long enough for a guest that works much and ends by another limit, however slow the machine is.
const LONG: &str = "limits.deadline = \"20s\"";
/// Allows a deadline as long as that.
const PATIENT: &[(&str, &str)] = &[("MAILROOM__HOST__EXPIRY", "60s")];

/// Returns what a scripted guest does, lines of its manifest, and its fault; without one it may.
fn scripts(output: &str) -> Vec<(&'static str, Value, Vec<&'static str>, Option<&'static str>)> {
    let behave = |behave: &str| json!({"behave": behave});
    vec![
        ("endless-loop", behave("loop"), vec![SHORT, FUEL], Some("deadline")),
        ("costly-loop", behave("loop"), vec!["limits.fuel = 10000000"], Some("out-of-fuel")),
        ("sleeper", behave("sleep"), vec![SHORT], Some("deadline")),
        ("memory-bomb", behave("memory-bomb"), vec![], Some("memory")),
        ("recursion", behave("recurse"), vec![], Some("stack")),
        ("panic", behave("panic"), vec![], Some("trap")),
        ("small-allocations", behave("allocate"), vec![LONG], None),
        ("too-many-allocations", behave("allocate"), vec![LONG, "limits.memory = \"8MiB\""], Some("memory")),
        ("flood", behave("flood"), vec![LONG], Some("trap")),
        ("endless-flood", behave("print-for-ever"), vec![SHORT, FUEL], Some("deadline")),
        (
            "log-lines",
            json!({"log": [["info", "", "again and again"]], "log_times": 1_000_000}),
            vec![LONG, "grants.log = \"info\""],
            Some("log-lines"),
        ),
        ("long-failure", behave("fail-at-length"), vec![], Some("failure")),
        ("too-long-failure", behave("fail-at-length"), vec!["limits.output-bytes = 0"], Some("host-memory")),
        ("effects", json!({"topic": output, "count": 1_000_000}), vec![LONG], Some("failure")),
        (
            "endless-effects",
            json!({"topic": output, "behave": "publish-for-ever"}),
            vec![SHORT, FUEL],
            Some("deadline"),
        ),
        ("endless-state", behave("store-for-ever"), vec![SHORT, FUEL], Some("deadline")),
        (
            "headers",
            json!({"topic": output, "headers": 1_000_000}),
            vec![LONG, "limits.memory = \"128MiB\""],
            Some("host-memory"),
        ),
    ]
}

/// Guest whose state is granted in a call, and not at the load: so that it loads, and misbehaves at the next
/// start.
const AT_THE_START_OF_A_CALL: &str = r#"
    (import "mailroom:contract/state@0.1.0" "get" (func $get (param i32 i32 i32 i32)))
    (data (i32.const 100) "n")
    (func (export "_initialize")
      (call $get (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 200))
      (if (i32.eqz (i32.load8_u (i32.const 200))) (then MISBEHAVE)))"#;
/// The replies' first bytes: a case that there is not, and a failure whose words are no UTF-8.
const REPLIES: &str = r#"
    (data (i32.const 32) "\63")
    (data (i32.const 64) "\01")
    (data (i32.const 72) "\80\00\00\00\01\00\00\00")
    (data (i32.const 128) "\ff")"#;

fn cores<'t>(loops: &'t str, traps: &'t str) -> Vec<(&'static str, Core<'t>, &'static str)> {
    let handle = |handle| Core { handle, declares: REPLIES, ..Core::default() };
    vec![
        ("start-loops", Core { declares: loops, ..Core::default() }, "deadline"),
        ("start-traps", Core { declares: traps, ..Core::default() }, "trap"),
        ("bare-trap", handle("unreachable"), "trap"),
        (
            "table-bomb",
            Core {
                declares: "(table $t 1 funcref)",
                handle: "(loop (br_if 0 (i32.ne (i32.const -1)
                           (table.grow $t (ref.null func) (i32.const 10000))))) unreachable",
                ..Core::default()
            },
            "table",
        ),
        ("reply-from-nowhere", handle("i32.const -8"), "bad-reply"),
        ("reply-of-no-case", handle("i32.const 32"), "bad-reply"),
        ("reply-in-no-text", handle("i32.const 64"), "bad-reply"),
        ("reply-of-nothing", handle(NOTHING), ""),
    ]
}

fn ended(fault: Option<&str>) -> Ending {
    let fault = fault.map(str::to_owned);
    let attempts = if fault.is_some() { 2 } else { 0 };
    Ending {
        status: if fault.is_some() { "failed" } else { "completed" }.to_owned(),
        failed_reason: fault.as_ref().map(|_| "exhausted".to_owned()),
        attempts_made: attempts,
        faults: fault.iter().flat_map(|fault| [fault.clone(), fault.clone()]).collect(),
        letter: fault,
    }
}

pub(super) async fn each_ends_as_expected(
    stage: &Stage<'_>,
    all: Vec<(Hostile<'_>, Option<&str>)>,
) -> Result<()> {
    let ends = stream::iter(&all).map(async |(hostile, fault)| {
        let ending = stage.run(hostile).await.with_context(|| format!("guest {}", hostile.name))?;
        assert_eq!(ending, ended(*fault), "guest {}", hostile.name);
        anyhow::Ok(())
    });
    ends.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    // What an operator sees.
    let letters = stage.world.mailroom(&["dead", "list", "--json"]).await?.json()?;
    for (hostile, fault) in &all {
        let of = |letter: &&Value| letter["handler"] == hostile.name;
        let found = letters.as_array().and_then(|letters| letters.iter().find(of));
        assert_eq!(found.and_then(|letter| letter["fault"].as_str()), *fault, "guest {}", hostile.name);
    }
    Ok(())
}

#[test]
fn a_guest_that_does_its_worst_in_a_call_ends_within_its_limits_and_nobody_else_notices() {
    in_world(Setup::default(), async |world| {
        let output = world.kafka.topic("out", 1).await?;
        Stage::with(world, PATIENT, async |stage| {
            let all = scripts(&output).into_iter().map(|(name, payload, manifest, fault)| {
                let (guest, publishes) = (Guest::Built("scripted"), vec![output.as_str()]);
                (Hostile { name, guest, manifest, publishes, reaches: vec![], payload }, fault)
            });
            each_ends_as_expected(stage, all.collect()).await
        })
        .await?;
        let emitted = world.kafka.read_all(&output).await?.len();
        assert_eq!(emitted, 0, "what did not complete has no effects");
        Ok(())
    });
}

#[test]
fn a_component_that_no_compiler_made_ends_within_its_limits_and_nobody_else_notices() {
    in_world(Setup::default(), async |world| {
        Stage::with(world, &[], async |stage| {
            let misbehave = |how| AT_THE_START_OF_A_CALL.replace("MISBEHAVE", how);
            let (loops, traps) = (misbehave("(loop (br 0))"), misbehave("unreachable"));
            let all = cores(&loops, &traps).into_iter().map(|(name, core, fault)| {
                let (guest, manifest) = (Guest::Core(core), vec![SHORT, FUEL]);
                let fault = Some(fault).filter(|fault| !fault.is_empty());
                (
                    Hostile { name, guest, manifest, publishes: vec![], reaches: vec![], payload: json!({}) },
                    fault,
                )
            });
            each_ends_as_expected(stage, all.collect()).await
        })
        .await
    });
}
