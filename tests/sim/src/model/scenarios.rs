//! Scenarios that are explored, and the bound of each.

use std::time::Duration;

use mailroom_core::handler_machine::version::Version;
use mailroom_core::ids::TopicPartition;
use mailroom_core::verdict::{BehindDead, BreakerPolicy, RetryPolicy};

use super::horizon;
use crate::guest::{Act, Script};
use crate::kafka::Record;
use crate::setup::{CONCURRENCY_MAX, Setup};
use crate::world::{Faults, Pace, Scenario};

/// A scenario, its name and what is in it.
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) story: &'static str,
    pub(crate) what: What,
}

/// Subject of an exploration.
pub(crate) enum What {
    Lanes(Box<Scenario>),
    Horizon(horizon::Plans),
}

/// Description of what every scenario has in common.
pub(crate) const COMMON: &str = "\
Two hosts with memory for two messages each. A run begins where the first host fetches all partitions. Heartbeats
arrive. What is due, looks, and what Kafka tells, come first at their moment, unless it says `apart`; a transaction's
statements up to its commit are one step, a call is one from its read to its end. Time passes where nothing else is
left to do. A commit that nobody waits for comes within 150 ms; a process that was frozen goes on within 150 ms of its
burial and finds out within 150 more; who dies or is buried does so while the other host has nothing under way.";

const THREE: &str = "the relay; three transactions, one with its id long before it draws, and one that may be rolled \
back, draw a place each; four looks between, each with a sample or without, three at the end; every order";
const SUBTRANSACTION: &str = "the same with two transactions and five places, one of a subtransaction that is kept or \
rolled back; every order";

const NONE: Faults =
    Faults { lost: 0, killed: 0, buried: 0, replayed: 0, rebalanced: 0, jumps: 0, foreign: 0 };
const TOGETHER: Pace = Pace { statements: false, looks: false, polls: false, poll_max: 3, swaps: None };

impl Named {
    /// Says what is tried, and to which bound.
    pub(crate) fn bound(&self) -> String {
        let What::Lanes(scenario) = &self.what else { return self.story.to_owned() };
        let Faults { lost, killed, buried, replayed, rebalanced, jumps, foreign } = scenario.faults;
        let faults = [
            (lost, "lost command"),
            (killed, "death of a host"),
            (buried, "burial of a living host"),
            (replayed, "operator's replay"),
            (rebalanced, "rebalance"),
            (jumps, "time jump"),
            (foreign, "foreign write of state"),
        ];
        let mut words = vec![self.story.to_owned()];
        words.extend(
            faults
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, name)| format!("{name} up to {count}")),
        );
        let pace = scenario.pace;
        let apart =
            [(pace.statements, "statements"), (pace.looks, "looks"), (pace.polls, "what Kafka tells")];
        words.extend(apart.iter().filter(|(is_apart, _)| *is_apart).map(|(_, name)| format!("{name} apart")));
        words.push(match pace.swaps {
            None => "every order".to_owned(),
            Some(swaps) => format!("every order that takes up to {swaps} things out of turn"),
        });
        words.join("; ")
    }
}

/// A record's partition, key and message, and what is done at its deliveries.
type Given = (usize, u32, &'static str, &'static [Act]);

/// Lists the scenarios that are explored.
pub(crate) fn all() -> Vec<Named> {
    let of = |name, story, scenario| Named { name, story, what: What::Lanes(Box::new(scenario)) };
    let lost = |lost| Faults { lost, ..NONE };
    let every = TOGETHER;
    let swaps = |swaps| Pace { swaps: Some(swaps), ..TOGETHER };
    vec![
        of("lost", "one lane: a retry, a producer's duplicate, a death", one_lane(lost(2), every)),
        of("replay", "the same lane, and an operator", one_lane(Faults { replayed: 1, ..lost(1) }, every)),
        of("key", "one lane: a key whose records come while it waits", one_key(lost(1))),
        of("late", "the lane of `key`", one_key(Faults { jumps: 1, ..NONE })),
        of(
            "skip",
            "one lane: a key that goes on behind a death",
            skipping(Faults { replayed: 1, ..lost(1) }, Pace { looks: true, ..every }),
        ),
        of("state", "one lane: values that calls read and write", state(Faults { foreign: 1, ..lost(1) })),
        of(
            "slow",
            "one lane: a value that is handed on beside a settlement, when it is old",
            handed_on(NONE),
        ),
        of("once", "one lane: calls that are made once", once(lost(1))),
        of("jumps", "the lane of `lost`", one_lane(Faults { replayed: 1, jumps: 1, ..NONE }, every)),
        of(
            "statements",
            "the lane of `lost`",
            one_lane(Faults { replayed: 1, ..lost(1) }, Pace { statements: true, ..every }),
        ),
        of(
            "rebalance",
            "two lanes of one host",
            two_lanes(Faults { rebalanced: 1, ..NONE }, false, 0, every),
        ),
        of("take-over", "two lanes of two hosts", two_lanes(Faults { killed: 1, ..NONE }, true, 1, swaps(2))),
        of("killed", "the lane of `lost`", one_lane(Faults { killed: 1, ..NONE }, every)),
        of("buried", "the lane of `lost`", one_lane(Faults { buried: 1, ..NONE }, swaps(3))),
        Named { name: "horizon", story: THREE, what: What::Horizon(horizon::THREE) },
        Named { name: "horizon-sub", story: SUBTRANSACTION, what: What::Horizon(horizon::SUBTRANSACTION) },
    ]
}

fn scenario(partitions: i32, records: Vec<Given>, faults: Faults, pace: Pace) -> Scenario {
    let records = records.into_iter().map(|(partition, key, message, acts)| {
        let record = Record {
            key: Some(key),
            message_id: message.to_owned(),
            matched: true,
            unfit: false,
            refusal: None,
        };
        (partition, record, Script(acts.to_vec()))
    });
    Scenario { setup: setup(partitions), records: records.collect(), late: 0, by_turns: false, faults, pace }
}

/// Three records of two keys, one of which is a producer's duplicate: a retry that waits in Postgres, and a death.
fn one_lane(faults: Faults, pace: Pace) -> Scenario {
    let retry: &[Act] = &[Act::RetryLater, Act::Complete];
    let records = vec![(0, 0, "m1", retry), (0, 1, "m2", &[Act::Reject, Act::Say]), (0, 0, "m1", retry)];
    scenario(1, records, faults, pace)
}

/// One key whose records come while others of it wait.
fn one_key(faults: Faults) -> Scenario {
    let records = vec![
        (0, 0, "m1", &[Act::RetryLater, Act::Say] as &[Act]),
        (0, 0, "m2", &[Act::Say]),
        (0, 0, "m3", &[Act::Say]),
    ];
    Scenario { late: 2, ..scenario(1, records, faults, TOGETHER) }
}

/// A key that goes on behind its dead message, which an operator replays.
fn skipping(faults: Faults, pace: Pace) -> Scenario {
    let records = vec![(0, 0, "m1", &[Act::Reject, Act::Say] as &[Act]), (0, 0, "m2", &[Act::Say])];
    let mut scenario = Scenario { late: 1, ..scenario(1, records, faults, pace) };
    scenario.setup.version.behind_dead = BehindDead::Skip;
    scenario
}

/// Values that a key has for itself, and one that all share.
fn state(faults: Faults) -> Scenario {
    let records = vec![
        (0, 0, "m1", &[Act::CountShared] as &[Act]),
        (0, 0, "m2", &[Act::Count]),
        (0, 0, "m3", &[Act::SayOwn]),
    ];
    let mut scenario = scenario(1, records, faults, Pace { poll_max: 3, ..TOGETHER });
    scenario.setup.in_hand_max = 4;
    scenario
}

/// A value that a key hands on longer after it was read than it may be, while the lane is settled for another key.
fn handed_on(faults: Faults) -> Scenario {
    let records = vec![
        (0, 1, "m1", &[Act::Long] as &[Act]),
        (0, 0, "m2", &[Act::LongCount]),
        (0, 0, "m3", &[Act::SayOwn]),
    ];
    let mut scenario = scenario(1, records, faults, TOGETHER);
    scenario.setup.in_hand_max = 4;
    scenario
}

/// Calls that may be made once.
fn once(faults: Faults) -> Scenario {
    let records = vec![(0, 0, "m1", &[Act::Say] as &[Act]), (0, 0, "m2", &[Act::Say])];
    let mut scenario = scenario(1, records, faults, TOGETHER);
    (scenario.setup.version.once, scenario.setup.version.stored_first) = (true, true);
    scenario
}

/// Two lanes with a record each, or two.
fn two_lanes(faults: Faults, by_turns: bool, late: usize, pace: Pace) -> Scenario {
    let say: &[Act] = &[Act::Say];
    let records = vec![(1, 0, "m2", say), (0, 0, "m1", say), (0, 0, "m3", say)];
    Scenario { by_turns, late, ..scenario(2, records, faults, pace) }
}

fn setup(partitions: i32) -> Setup {
    Setup {
        hosts: 2,
        partitions: (0..partitions)
            .map(|partition| TopicPartition { topic: "a".into(), partition })
            .collect(),
        keys: 2,
        records: 0,
        acts: Vec::new(),
        hazards: Vec::new(),
        in_hand_max: 2,
        in_hand_bytes_max: 10_000_000,
        effects_bytes_max: 10_000_000,
        batch_rows_max: 1000,
        settle_rows_max: 1000,
        waiting_keys_max: 1000,
        version: Version {
            id: 1,
            concurrency: CONCURRENCY_MAX,
            deadline: Duration::from_secs(1),
            breaker: BreakerPolicy { threshold: 20, recovery: Duration::from_secs(1) },
            retry: RetryPolicy {
                attempts_max: 3,
                base: Duration::from_millis(200),
                cap: Duration::from_secs(1),
            },
            behind_dead: BehindDead::Block,
            once: false,
            single: false,
            stored_first: false,
            dead_letter_topic: None,
        },
        calm_seed: 0,
    }
}
