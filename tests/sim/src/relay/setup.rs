//! Set-up of a run of the relay, drawn first.

use std::sync::Arc;
use std::time::Duration;

use mailroom_core::relay::{Settings, Wake};

use crate::choices::Choices;

/// The time after which a silent host is buried.
pub(crate) const EXPIRY: u64 = 3000;
/// The longest that a command may take.
pub(crate) const COMMAND_LIMIT: u64 = EXPIRY / 3;
/// Longest wait of a record for its acknowledgement: two thirds of the expiry at most.
pub(crate) const PUBLISH_TIMEOUT: u64 = 1500;

/// Kinds of things that are done to a run, each switched on by itself so that runs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hazard {
    /// An application begins a transaction.
    Insert,
    TimeJump,
    /// Postgres' reply to a command is lost.
    LostReply,
    /// Postgres refuses a statement, or cannot be reached with it.
    Refusal,
    /// A request to a broker, or its answer, is lost and sent again.
    LostRequest,
    /// A producer fails for good.
    Fatal,
    /// A topic is closed, or deleted, or there again.
    Missing,
    /// A topic has no leader, or one again.
    Leaderless,
    /// A topic takes larger or smaller requests, or other times.
    Limits,
    Kill,
    Freeze,
    /// A host does not reach Postgres.
    Cut,
    /// A host does not reach Kafka.
    CutKafka,
    Stop,
    Operator,
    /// The standby catches up, or takes over.
    Failover,
}

/// Hazards with their weights beside 100 steps of ordinary progress.
pub(crate) const HAZARDS: [(Hazard, u32); 16] = [
    (Hazard::Insert, 8),
    (Hazard::TimeJump, 8),
    (Hazard::LostReply, 4),
    (Hazard::Refusal, 4),
    (Hazard::LostRequest, 4),
    (Hazard::Fatal, 1),
    (Hazard::Missing, 2),
    (Hazard::Leaderless, 2),
    (Hazard::Limits, 2),
    (Hazard::Kill, 1),
    (Hazard::Freeze, 1),
    (Hazard::Cut, 1),
    (Hazard::CutKafka, 1),
    (Hazard::Stop, 1),
    (Hazard::Operator, 2),
    (Hazard::Failover, 2),
];

/// The shape of a run.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) hosts: usize,
    pub(crate) lanes: i32,
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) partitions: usize,
    pub(crate) keys: u32,
    pub(crate) transactions: u32,
    pub(crate) hazards: Vec<(Hazard, u32)>,
    pub(crate) settings: Settings,
    /// Requests of a partition that a producer has under way at most.
    pub(crate) requests_max: usize,
    /// Records that a producer has room for.
    pub(crate) queue_max: usize,
    /// Percentages of rows that wait for their time, that no broker takes, that can be seen to be unfit.
    pub(crate) scheduled: u32,
    pub(crate) poison: u32,
    pub(crate) unfit: u32,
    /// Percentage of transactions that stay open.
    pub(crate) long: u32,
    /// The seed of the fair schedule after the faults.
    pub(crate) calm_seed: u64,
}

impl Setup {
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        let hosts = 1 + choices.weighted(&[4, 4, 2]);
        let lanes = 1 + i32::try_from(choices.draw(4)).unwrap_or(0);
        let names = ["a", "b", "c", "d", "e", "f"];
        let topics = names.iter().take(1 + choices.weighted(&[3, 4, 3, 1, 1, 1]));
        let topics = topics.map(|name| Arc::from(*name)).collect();
        let partitions = 1 + choices.weighted(&[2, 1]);
        let keys = 1 + choices.draw(3);
        let transactions = 1 + choices.draw(8);
        let hazards = HAZARDS.iter().filter(|_| choices.percent(45)).copied().collect();
        let mut of = |sizes: &[usize]| choices.pick(sizes).unwrap_or(1);
        let batch_rows_max = of(&[100, 100, 4, 2, 1]);
        let in_flight_max = of(&[100, 100, 8, 3, 1]);
        let in_flight_bytes_max = of(&[1_000_000, 1_000_000, 2_000, 500, 1]);
        let requests_max = of(&[5, 5, 1]);
        let queue_max = of(&[1000, 1000, 3, 1]);
        let wake = if choices.percent(50) { Wake::Notify } else { Wake::Poll };
        let mut percent = |of: &[u32]| choices.pick(of).unwrap_or(0);
        let scheduled = percent(&[0, 0, 15, 40]);
        let poison = percent(&[0, 0, 5, 20]);
        let unfit = percent(&[0, 0, 5]);
        let long = percent(&[0, 20, 50]);
        let settings = Settings {
            batch_rows_max,
            in_flight_max,
            in_flight_bytes_max,
            publish_timeout: Duration::from_millis(PUBLISH_TIMEOUT),
            poll_min: Duration::from_millis(5),
            poll_max: Duration::from_millis(500),
            wake,
        };
        let calm_seed = u64::from(choices.draw(65_536));
        Self {
            hosts,
            lanes,
            topics,
            partitions,
            keys,
            transactions,
            hazards,
            settings,
            requests_max,
            queue_max,
            scheduled,
            poison,
            unfit,
            long,
            calm_seed,
        }
    }
}
