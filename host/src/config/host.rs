//! The sections of `mailroom.toml` about this process and what it does; `servers`, `admin` and `limits` have the others.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mailroom_core::relay::Wake;
use tracing_subscriber::EnvFilter;

use super::declare::{Key, settings};
use super::manifest::{BreakerPolicy, RetryPolicy};
use super::name::WorkerName;
use super::reader::Reader;
use super::{Config, Servers, source};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const MIB: u64 = 1 << 20;
/// Ten Gregorian years, as `humantime` counts them.
const KEPT: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(315_576_000);
/// Calls that run at once, in a process or of a handler.
pub(super) const CONCURRENCY: RangeInclusive<usize> = 1..=1000;

pub(super) fn read(reader: &mut Reader, servers: Servers) -> Config {
    let mut config = Config::read(reader, servers);
    together(reader, &config);
    if config.postgres.direct().is_none() {
        // Nobody could hear what producers say.
        config.relay.wake = Wake::Poll;
    }
    config
}

/// The longest call or publish. Nothing is started that might outlast the host's expiry, since another
/// host could then begin the same; two heartbeats, which come every sixth of the expiry and at least every 5 s, may
/// be missed before nothing is started at all.
pub(super) fn longest_within(expiry: Duration) -> Duration {
    expiry * 2 / 3
}

/// Checks what no single setting can show.
fn together(reader: &mut Reader, config: &Config) {
    let expiry = config.host.expiry;
    let longest = longest_within(expiry);
    if config.limits.call.deadline > longest {
        reader.refuse_pair("limits.deadline", "host.expiry", "must be at most two thirds of");
    }
    if config.relay.publish_timeout > longest {
        reader.refuse_pair("relay.publish-timeout", "host.expiry", "must be at most two thirds of");
    }
    if config.retry.base > config.retry.cap {
        reader.refuse_pair("retry.base", "retry.cap", "must not be longer than");
    }
    if config.limits.call.memory > config.limits.memory_max {
        reader.refuse_pair("limits.memory", "limits.memory-max", "must not be larger than");
    }
    if config.relay.poll_min > config.relay.poll_max {
        reader.refuse_pair("relay.poll-min", "relay.poll-max", "must not be longer than");
    }
}

settings! {
    /// This process (`[host]`).
    #[derive(Debug, Clone)]
    pub struct Host(reader) {
        /// Name by which people know this process.
        worker: WorkerName = "host.worker" => "the machine's name",
            name(&source::hostname(), WorkerName::parse, WorkerName::ALLOWED, WorkerName::unknown());
        /// Time for which this process's lanes stay its own after its last sign of life.
        expiry: Duration = "host.expiry", duration(30 * SECOND, SECOND..=600 * SECOND);
        /// Watched folder of components and manifests.
        handlers: PathBuf = "host.handlers", path("handlers");
        /// Folder of compiled code, so that no component is compiled twice. It is executed: the folder must be this user's
        /// own, and is refused where others may write to it.
        compiled: PathBuf = "host.compiled", path(".mailroom/compiled");
        /// Bytes that the folder of compiled code may hold; what was used the longest time ago goes first. `0` keeps nothing.
        compiled_bytes_max: u64 = "host.compiled-bytes-max", size(1024 * MIB, 0..=1_048_576 * MIB);
        /// Processor time that compiling one component may take, in a process of its own. A component that takes longer is
        /// refused, and the version that runs goes on.
        compile_timeout: Duration = "host.compile-timeout", duration(60 * SECOND, SECOND..=3600 * SECOND);
        /// Memory that compiling one component may take, in a process of its own. Four are compiled at once at most, on a
        /// thread each, two of them for no longer than 2 seconds.
        compile_memory_max: u64 = "host.compile-memory-max", size(1024 * MIB, 64 * MIB..=65_536 * MIB);
        /// Time that a stop may take. Running calls and Kafka's acknowledgements have all of it but 3 seconds (half of a grace
        /// below 6); then whatever still hangs is dropped.
        stop_grace: Duration = "host.stop-grace", duration(25 * SECOND, Duration::ZERO..=600 * SECOND);
    }
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

settings! {
    /// Settings of the way from Kafka into the inbox (`[ingest]`).
    #[derive(Debug, Clone)]
    pub struct Ingest(reader) {
        /// Records that are stored in one transaction.
        batch_rows_max: usize = "ingest.batch-rows-max", count(500, 1..=10_000);
        /// Messages of one handler in memory; beyond it its partitions are paused.
        in_hand_max: usize = "ingest.in-hand-max", count(10_000, 1..=1_000_000);
        /// Bytes that the messages of one handler take in memory, each header and each message with what it costs beside its
        /// content; beyond it its partitions are paused.
        in_hand_bytes_max: usize = "ingest.in-hand-bytes-max", memory(128 * MIB);
        /// Keys of one handler that wait in the inbox and are remembered; beyond it its largest partition is not read.
        waiting_keys_max: usize = "ingest.waiting-keys-max", count(1_000_000, 1..=100_000_000);
        /// Consequence where Kafka no longer has what comes next, or it cannot be read: `"stop"` stops the partition until
        /// somebody decides, `"skip"` goes on behind the gap, with a warning.
        gap: Gap = "ingest.gap", choice(&[("stop", Gap::Stop), ("skip", Gap::Skip)], Gap::Stop);
        /// Name of one more header that is a record's id, such as `"id"`, after `message_id`, `event_id` and `ce_id`.
        id_header: Option<String> = "ingest.id-header",
            text_that(None, ("be", "the name of a header, without spaces around it"), |name| {
                name.trim() == name && !name.chars().any(char::is_control)
            });
    }
}

/// Effect of a gap: Kafka no longer has what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The partition stops until somebody decides.
    Stop,
    /// The partition goes on behind the gap, with a warning.
    Skip,
}

settings! {
    /// Settings of the way from the inbox through the handlers (`[worker]`).
    #[derive(Debug, Clone)]
    pub struct Worker(reader) {
        /// Calls that run at once in this process; also the default of one handler. As many reused instances may be kept
        /// besides, with their memory.
        concurrency: usize = "worker.concurrency", count(16, CONCURRENCY);
        /// Threads that handlers compute on. More take the cores from the host and from whatever else runs there, when
        /// handlers loop.
        threads: usize = "worker.threads" => "one fewer than cores, at least 1", count(threads(), 1..=1024);
        /// Messages that are settled in one transaction.
        settle_rows_max: usize = "worker.settle-rows-max", count(500, 1..=10_000);
        /// Bytes of what calls of one handler left and Postgres does not have yet: emitted messages, state, words. Beyond it
        /// none of its calls begins until some are written; those that run may still add what their limits let them. One
        /// transaction writes a quarter of it at most, or one message.
        effects_bytes_max: usize = "worker.effects-bytes-max", memory(64 * MIB);
    }
}

/// One fewer than cores: guests that never end leave one to the host, and to servers beside it.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

/// Reads the attempts of a failed message, and the delays between them, of the host or of one handler.
pub(super) fn retry(reader: &mut Reader, default: RetryPolicy) -> RetryPolicy {
    let attempts = Key::new("retry.attempts-max", "Counted failures after which a message is dead.");
    let base = Key::new(
        "retry.base",
        "Longest wait after the first failure, doubling up to `retry.cap`; the wait is random below it.",
    );
    let cap = Key::new("retry.cap", "Longest wait after any failure.");
    RetryPolicy {
        attempts_max: reader.count(attempts, default.attempts_max, 1..=1000),
        base: reader.duration(base, default.base, MILLISECOND..=24 * HOUR),
        cap: reader.duration(cap, default.cap, MILLISECOND..=720 * HOUR),
    }
}

/// Reads the breaker's settings, of the host or of one handler.
pub(super) fn breaker(reader: &mut Reader, default: BreakerPolicy) -> BreakerPolicy {
    let threshold = Key::new(
        "breaker.threshold",
        "Consecutive faults after which nothing of a handler is started on any host. No more calls of a handler than that \
         run at once in a host.",
    );
    let recovery = Key::new(
        "breaker.recovery",
        "Time for which nothing of the handler is started; then one probe decides.",
    );
    BreakerPolicy {
        threshold: reader.count(threshold, default.threshold, 1..=1_000_000),
        recovery: reader.duration(recovery, default.recovery, 100 * MILLISECOND..=24 * HOUR),
    }
}

settings! {
    /// Bounds of what handlers reach of the network, where their manifests grant hosts (`[http]`).
    #[derive(Debug, Clone)]
    pub struct Http(reader) {
        /// Ranges such as `"10.1.0.0/16"` that handlers may reach though they are not public.
        addresses: Vec<IpNet> = "http.addresses",
            list_of(|text| text.parse().ok(), "ranges such as \"10.1.0.0/16\" or \"::1/128\"");
        /// Time that a connection of a handler may take, its TLS included.
        connect_timeout: Duration = "http.connect-timeout", duration(5 * SECOND, MILLISECOND..=60 * SECOND);
        /// HTTP requests of this process that are under way at once; one handler has half of them at most, more wait.
        requests_max: usize = "http.requests-max", count(128, 2..=10_000);
        /// Bytes of status line and headers of a response.
        response_head_max: u32 = "http.response-head-max", size(64 << 10, 8 << 10..=1 << 20);
    }
}

settings! {
    /// Settings of the way from the outbox to Kafka (`[relay]`).
    #[derive(Debug, Clone)]
    pub struct Relay(reader) {
        /// Participation of this process in publishing: `false` leaves the outbox to other hosts.
        enabled: bool = "relay.enabled", flag(true);
        /// Rows that are read and marked at once.
        batch_rows_max: usize = "relay.batch-rows-max", count(1000, 1..=10_000);
        /// Records that are not yet acknowledged and marked, as many again of topics that take nothing.
        in_flight_max: usize = "relay.in-flight-max", count(4000, 1..=100_000);
        /// Bytes in memory of records that are not yet acknowledged and marked, as many again of topics that take nothing; one
        /// row is read in any case.
        in_flight_bytes_max: usize = "relay.in-flight-bytes-max", memory(32 * MIB);
        /// Time that a record may wait for its acknowledgement; at most two thirds of `host.expiry`.
        publish_timeout: Duration = "relay.publish-timeout",
            duration(20 * SECOND, 10 * MILLISECOND..=300 * SECOND);
        /// Shortest wait between two looks at the outbox, while there is work.
        poll_min: Duration = "relay.poll-min", duration(2 * MILLISECOND, MILLISECOND..=60 * SECOND);
        /// Longest wait between two looks at the outbox, while there is none.
        poll_max: Duration = "relay.poll-max", duration(500 * MILLISECOND, MILLISECOND..=60 * SECOND);
        /// Means by which the relay hears of work: `"notify"` lets inserts notify it; with `"poll"` they never do, so
        /// applications may use prepared transactions; on all hosts alike.
        wake: Wake = "relay.wake", choice(&[("notify", Wake::Notify), ("poll", Wake::Poll)], Wake::Notify);
    }
}

settings! {
    /// Times for which settled rows stay; `None` is for ever (`[retention]`).
    #[derive(Debug, Clone)]
    pub struct Retention(reader) {
        /// Time for which completed messages of the inbox stay, by which a producer's duplicates are known.
        inbox: Option<Duration> = "retention.inbox", duration_or_never(KEPT);
        /// Time for which published messages of the outbox stay, by which idempotency keys are known.
        outbox: Option<Duration> = "retention.outbox", duration_or_never(KEPT);
        /// Time for which replayed and discarded dead letters stay, and the messages of discarded ones.
        dead: Option<Duration> = "retention.dead", duration_or_never(KEPT);
        /// Rows that are deleted in one transaction.
        batch_rows_max: i64 = "retention.batch-rows-max", count(1000, 1..=100_000);
        /// Wait between two transactions that delete.
        pause: Duration = "retention.pause", duration(100 * MILLISECOND, MILLISECOND..=HOUR);
    }
}

settings! {
    /// Handling of dead letters beyond their rows (`[dead-letters]`), of the host or of one handler.
    #[derive(Debug, Clone)]
    pub struct DeadLetters(reader, default: Option<&str>) {
        /// Kafka topic that gets a copy of each dead message of the inbox, through the outbox.
        topic: Option<Arc<str>> = "dead-letters.topic", topic(default);
    }
}

settings! {
    /// The host's own log, on standard error (`[log]`).
    #[derive(Debug, Clone)]
    pub struct Log(reader) {
        /// Form of a line: `"text"` for people, `"json"` one object a line.
        format: LogFormat = "log.format",
            choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)], LogFormat::Text);
        /// Levels by module, such as `"info,mailroom::worker=debug"`; librdkafka's own lines are `mailroom::kafka=debug`,
        /// those that handlers log `mailroom::guest=debug`.
        filter: String = "log.filter", filter("info");
    }
}

impl Reader {
    fn filter(&mut self, key: Key<'_>, default: &str) -> String {
        let key = key.within("levels by module");
        let filter = self.text(key, Some(default)).unwrap_or_default();
        if let Err(error) = EnvFilter::try_new(&filter) {
            let problem = format!("must be levels by module, such as \"info,mailroom=debug\": {error}");
            self.refuse(key.name, Some(format!("{filter:?}")), problem);
        }
        filter
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}
