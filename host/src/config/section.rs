//! The sections of `mailroom.toml` as plain values; `host` reads them, everyone else uses them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mailroom_core::relay::Wake;

use super::{PostgresUrl, Secret, WorkerName};

/// `[host]`: this process.
#[derive(Debug, Clone)]
pub struct Host {
    /// Name by which people know this process; the machine's name by default.
    pub worker: WorkerName,
    /// Time that its lanes stay its own after its last sign of life.
    pub expiry: Duration,
    /// The watched folder of components and manifests.
    pub handlers: PathBuf,
    /// The folder of compiled code, of this user alone.
    pub compiled: PathBuf,
    /// Bytes of compiled code that are kept; 0 keeps none.
    pub compiled_bytes_max: u64,
    /// Processor time that compiling one component may take.
    pub compile_timeout: Duration,
    /// Bytes of memory that compiling one component may take.
    pub compile_memory_max: u64,
    /// Longest time that a stop may take.
    pub stop_grace: Duration,
}

impl Host {
    /// Part of the grace that is left for giving back lanes and connections.
    const WIND_DOWN: Duration = Duration::from_secs(3);

    /// Returns how long a stop waits for running calls, their settlements and Kafka's acknowledgements.
    #[must_use]
    pub fn calls_grace(&self) -> Duration {
        self.stop_grace.saturating_sub(Self::WIND_DOWN).max(self.stop_grace / 2)
    }
}

/// `[admin]`: what can be read of this process over HTTP.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Address at which it listens; `None` where nothing does.
    pub listen: Option<SocketAddr>,
    /// True if somebody set that: what somebody set has to be had.
    pub is_listen_given: bool,
    /// Token that a request has to show, from `token` or from the file that `token-file` names; always there
    /// where others than this machine can ask.
    pub token: Option<Secret>,
    /// Pause between two counts of what waits in the database.
    pub backlog_every: Duration,
}

/// `[postgres]`: the database.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Address of the server and who we are there, from `url` or from the file that `url-file` names.
    pub url: PostgresUrl,
    /// Address of the server past a pooler, from `direct-url` or its file.
    pub direct_url: Option<PostgresUrl>,
    /// Mode of the pooler before it, if one is there.
    pub pool_mode: PoolMode,
    /// Connections of this process.
    pub connections_max: u32,
    /// Longest time that a statement waits for a lock; in a host at most as [`Postgres::of_host`] says.
    pub lock_timeout: Duration,
    /// Longest time that a statement may take; in a host likewise.
    pub statement_timeout: Duration,
    /// Longest time that a command of the host may take with all of its statements, and a transaction be idle
    /// before Postgres ends it: a third of the host's expiry, at least a second.
    pub limit: Duration,
    /// Names of those of the two timeouts that somebody set to more than a host has.
    pub above_limit: Vec<&'static str>,
}

/// Time for which a connection to Postgres keeps its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// Mode in which a connection keeps it as long as it lasts: Postgres itself, or a pooler in session mode.
    Session,
    /// Mode in which a connection keeps it for a transaction: a pooler in transaction mode. Nothing of a
    /// session is relied on.
    Transaction,
}

impl Postgres {
    /// The same with a connection whose session is ours, past a pooler; `None` where the way is not known.
    #[must_use]
    pub fn direct(&self) -> Option<Self> {
        match (&self.direct_url, self.pool_mode) {
            (Some(url), _) => Some(Self { url: url.clone(), pool_mode: PoolMode::Session, ..self.clone() }),
            (None, PoolMode::Session) => Some(self.clone()),
            (None, PoolMode::Transaction) => None,
        }
    }

    /// The host's own timeouts of statements and of locks: Postgres gives up before the host does, so that the host
    /// hears why.
    #[must_use]
    pub fn of_host(&self) -> (Duration, Duration) {
        let most = Self::most(self.limit);
        (self.statement_timeout.min(most), self.lock_timeout.min(most))
    }

    /// Returns what a statement may have of a command's limit.
    pub(super) fn most(limit: Duration) -> Duration {
        limit * 4 / 5
    }
}

/// `[sql.NAME]`: a role of the database that handlers may be granted, by the section's name.
#[derive(Debug, Clone)]
pub struct SqlRole {
    /// Address of the database and who the role is, from `url` or from the file that `url-file` names.
    pub url: PostgresUrl,
    /// Connections of this process as the role: calls that use SQL at once.
    pub connections_max: u32,
}

/// `[kafka]`: the broker.
#[derive(Clone)]
pub struct Kafka {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Passed to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for Kafka {
    /// Names of properties only: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("Kafka").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}

/// `[ingest]`: from Kafka into the inbox.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Records that are stored in one transaction.
    pub batch_rows_max: usize,
    /// Messages of one handler that are kept in memory; beyond it they are read again from the inbox.
    pub in_hand_max: usize,
    /// Bytes of these: payloads, keys and headers.
    pub in_hand_bytes_max: usize,
    /// Keys of one handler that wait in the inbox and are remembered; beyond it partitions are not read.
    pub waiting_keys_max: usize,
    /// Effect of a gap between the stored offset and the log.
    pub gap: Gap,
    /// One more header whose value is a record's id.
    pub id_header: Option<String>,
}

/// Effect of a gap: Kafka no longer has what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The partition stops until somebody decides.
    Stop,
    /// The partition goes on behind the gap, with a warning.
    Skip,
}

/// `[worker]`: from the inbox through the handlers.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Calls that run at once in this process; also the default for one handler.
    pub concurrency: usize,
    /// Threads that guests compute on.
    pub threads: usize,
    /// Messages that are settled in one transaction.
    pub settle_rows_max: usize,
    /// Bytes of what one handler's calls left and Postgres does not have; beyond it none of them begins.
    pub effects_bytes_max: usize,
}

/// `[limits]`: what one call may use, the defaults of every handler.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Wall-clock time of a call, at most two thirds of the host's expiry.
    pub deadline: Duration,
    /// Instructions of a call, in units of fuel.
    pub fuel: u64,
    /// Linear memory in bytes.
    pub memory: u64,
    /// Bound of what a manifest may ask for, in bytes.
    pub memory_max: u64,
    /// Elements of each of a call's tables.
    pub table_elements: u64,
    /// Bytes of a guest's stack, the same for all handlers.
    pub stack: u64,
    /// Messages and state writes of a call.
    pub effects: u32,
    /// Bytes of all effects of a call.
    pub output_bytes: u64,
    /// HTTP requests of a call.
    pub http_requests: u32,
    /// Bytes of what a call prints that are kept.
    pub log_bytes: u32,
    /// Lines that a call may log.
    pub log_lines: u32,
    /// Values of state that a call may load from one scope.
    pub state_values: u32,
    /// Bytes of them, with their names.
    pub state_bytes: u64,
}

impl Limits {
    /// Python's toolchain makes tables of some ten thousand elements.
    pub(super) const TABLE_ELEMENTS: u64 = 40_000;

    /// The largest table that a manifest may ask for, for which the pool has room.
    #[must_use]
    pub fn table_elements_max(&self) -> u64 {
        self.table_elements.max(Self::TABLE_ELEMENTS)
    }
}

/// `[http]`: what handlers reach of the network, where their manifests grant hosts.
#[derive(Debug, Clone)]
pub struct Http {
    /// Addresses that are not public and may be connected to all the same.
    pub addresses: Vec<IpNet>,
    /// Longest time that a connection may take, its TLS included.
    pub connect_timeout: Duration,
    /// Requests of this process that are under way at once; one handler has half of them at most.
    pub requests_max: usize,
    /// Bytes of a response's head.
    pub response_head_max: u32,
}

/// `[relay]`: from the outbox to Kafka.
#[derive(Debug, Clone)]
pub struct Relay {
    /// True if this process takes part.
    pub enabled: bool,
    /// Rows that are read and marked at once.
    pub batch_rows_max: usize,
    /// Records that the broker has not acknowledged yet.
    pub in_flight_max: usize,
    /// Bytes of these.
    pub in_flight_bytes_max: usize,
    /// Longest wait of a record for its acknowledgement, at most two thirds of the host's expiry.
    pub publish_timeout: Duration,
    /// The shortest wait between two looks, while there is work.
    pub poll_min: Duration,
    /// The longest wait between two looks, while there is none.
    pub poll_max: Duration,
    /// Means by which the relay hears that there is work.
    pub wake: Wake,
}

/// `[retention]`: how long what is settled stays; `None` is for ever.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Completed messages of the inbox, by which a producer's duplicates are known.
    pub inbox: Option<Duration>,
    /// Published messages of the outbox, by which idempotency keys are known.
    pub outbox: Option<Duration>,
    /// Closed dead letters, and the messages of discarded ones.
    pub dead: Option<Duration>,
    /// Rows that are deleted in one transaction.
    pub batch_rows_max: i64,
    /// Pause between two transactions.
    pub pause: Duration,
}

/// `[dead-letters]`: what else becomes of them.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// The Kafka topic that gets a copy of each dead message of the inbox.
    pub topic: Option<Arc<str>>,
}

/// `[log]`: what the host writes to standard error.
#[derive(Debug, Clone)]
pub struct Log {
    /// One line each, for people or for machines.
    pub format: LogFormat,
    /// Levels by module, as `tracing` reads them: `info,mailroom=debug`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}
