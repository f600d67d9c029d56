//! Set-up of a run, drawn first.

use std::sync::Arc;
use std::time::Duration;

use mailroom_core::handler_machine::Settings;
use mailroom_core::handler_machine::version::Version;
use mailroom_core::ids::TopicPartition;
use mailroom_core::verdict::{BehindDead, BreakerPolicy, RetryPolicy};

use crate::choices::Choices;
use crate::guest::{ACTS, Act, BYTES};

/// The time after which a silent host is buried.
pub const EXPIRY: u64 = 6000;
/// The most calls at once of any version.
pub(crate) const CONCURRENCY_MAX: usize = 8;
/// The longest that a command may take.
pub(crate) const COMMAND_LIMIT: u64 = 2000;

/// Kinds of things that are done to a run, each switched on by itself so that runs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hazard {
    Produce,
    TimeJump,
    LostReply,
    Refusal,
    Kill,
    Freeze,
    Cut,
    Stop,
    Rebalance,
    Operator,
    Reload,
    Foreign,
    Displace,
}

/// Hazards with their weights beside 100 steps of ordinary progress.
pub(crate) const HAZARDS: [(Hazard, u32); 13] = [
    (Hazard::Produce, 6),
    (Hazard::TimeJump, 8),
    (Hazard::LostReply, 4),
    (Hazard::Refusal, 4),
    (Hazard::Kill, 1),
    (Hazard::Freeze, 2),
    (Hazard::Cut, 2),
    (Hazard::Stop, 1),
    (Hazard::Rebalance, 2),
    (Hazard::Operator, 6),
    (Hazard::Reload, 2),
    (Hazard::Foreign, 2),
    (Hazard::Displace, 1),
];

/// The shape of a run.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) hosts: usize,
    pub(crate) partitions: Vec<TopicPartition>,
    pub(crate) keys: u32,
    pub(crate) records: u32,
    /// Behaviours of calls; one that stands there twice is drawn twice as often.
    pub(crate) acts: Vec<Act>,
    pub(crate) hazards: Vec<(Hazard, u32)>,
    pub(crate) in_hand_max: usize,
    pub(crate) in_hand_bytes_max: usize,
    pub(crate) effects_bytes_max: usize,
    pub(crate) batch_rows_max: usize,
    pub(crate) settle_rows_max: usize,
    pub(crate) waiting_keys_max: usize,
    pub(crate) version: Version,
    /// The seed of the fair schedule after the faults.
    pub(crate) calm_seed: u64,
}

impl Setup {
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        let hosts = 1 + choices.weighted(&[3, 5, 2]);
        let partition_count = 1 + choices.weighted(&[5, 3, 1]);
        let partition = |index: i32| TopicPartition {
            topic: if index == 2 { "b".into() } else { "a".into() },
            partition: index % 2,
        };
        let partitions = (0..3).take(partition_count).map(partition).collect();
        let keys = 1 + choices.draw(3);
        let records = 1 + choices.draw(12);
        let acts = draw_acts(choices);
        let hazards = HAZARDS.iter().filter(|_| choices.percent(45)).copied().collect();
        let mut of = |sizes: &[usize]| choices.pick(sizes).unwrap_or(1);
        let in_hand_max = of(&[1000, 1000, 20, 8, 4, 2, 1]);
        let in_hand_bytes_max = of(&[10_000_000, 10_000_000, 10_000, 1000]);
        let effects_bytes_max = of(&[10_000_000, 10_000_000, 4 * BYTES, 2 * BYTES, 1]);
        let batch_rows_max = of(&[1000, 1000, 3, 1]);
        let settle_rows_max = of(&[1000, 1000, 4, 2, 1]);
        let waiting_keys_max = of(&[1000, 1000, 3, 1]);
        let once = choices.percent(10);
        let version = draw_version(choices, 1, once);
        let calm_seed = u64::from(choices.draw(65_536));
        Self {
            hosts,
            partitions,
            keys,
            records,
            acts,
            hazards,
            in_hand_max,
            in_hand_bytes_max,
            effects_bytes_max,
            batch_rows_max,
            settle_rows_max,
            waiting_keys_max,
            version,
            calm_seed,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            in_hand_max: self.in_hand_max,
            in_hand_bytes_max: self.in_hand_bytes_max,
            effects_bytes_max: self.effects_bytes_max,
            batch_rows_max: self.batch_rows_max,
            settle_rows_max: self.settle_rows_max,
            expiry: Duration::from_millis(EXPIRY),
            command_limit: Duration::from_millis(COMMAND_LIMIT),
            waiting_keys_max: self.waiting_keys_max,
        }
    }
}

/// Behaviours that hand values on: it shows only where such calls follow one another.
const HANDING_ON: [Act; 7] =
    [Act::Complete, Act::Count, Act::LongCount, Act::LongCount, Act::SayOwn, Act::SayOwn, Act::SayShared];

/// Behaviours with transactions of their own: what becomes of those in hosts that lose their lanes is rare elsewhere.
const OWN_TRANSACTIONS: [Act; 5] = [Act::Complete, Act::Sql, Act::Sql, Act::Sql, Act::Count];

/// A few of the things that calls can do; completing is always among them.
fn draw_acts(choices: &mut Choices) -> Vec<Act> {
    match choices.weighted(&[75, 15, 10]) {
        1 => return HANDING_ON.to_vec(),
        2 => return OWN_TRANSACTIONS.to_vec(),
        _ => {}
    }
    let others = ACTS.iter().skip(1).filter(|_| choices.percent(35)).copied();
    let mut acts: Vec<Act> = vec![Act::Complete];
    acts.extend(others);
    acts
}

/// A version of the handler.
pub(crate) fn draw_version(choices: &mut Choices, id: u64, once: bool) -> Version {
    let behind = [BehindDead::Skip, BehindDead::Block, BehindDead::Park];
    Version {
        id,
        concurrency: choices.pick(&[CONCURRENCY_MAX, CONCURRENCY_MAX, 3, 1]).unwrap_or(1),
        deadline: Duration::from_secs(1),
        breaker: BreakerPolicy {
            threshold: choices.pick(&[20, 20, 2]).unwrap_or(20),
            recovery: Duration::from_secs(1),
        },
        retry: RetryPolicy { attempts_max: 3, base: Duration::from_millis(200), cap: Duration::from_secs(1) },
        behind_dead: choices.pick(&behind).unwrap_or(BehindDead::Skip),
        once,
        single: choices.percent(15),
        stored_first: once || choices.percent(20),
        dead_letter_topic: None,
    }
}

/// Wraps a version for the calls that travel with it.
pub(crate) fn shared(version: &Version) -> Arc<Version> {
    Arc::new(version.clone())
}
