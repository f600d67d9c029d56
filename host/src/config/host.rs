//! Reads the sections of `mailroom.toml`: a key, its default and its bounds stand here and in
//! `servers`, and nowhere else.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use mailroom_core::relay::Wake;
use tracing_subscriber::EnvFilter;

use super::admin::admin;
use super::handler_values::handler_values;
use super::manifest::{BreakerPolicy, RetryPolicy, dead_letter_topic};
use super::name::{Namespace, WorkerName};
use super::reader::Reader;
use super::section::{
    DeadLetters, Gap, Host, Http, Ingest, Limits, Log, LogFormat, Relay, Retention, Worker,
};
use super::servers::{kafka, postgres, sql_roles};
use super::{Config, Servers, source};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// A Gregorian year, as `humantime` counts one.
const YEAR: Duration = Duration::from_secs(31_557_600);
pub(super) const MIB: u64 = 1 << 20;

pub(super) fn read(reader: &mut Reader, servers: Servers) -> Config {
    let namespace = reader.name("namespace", "mailroom", Namespace::parse);
    let host = host(reader);
    let mut config = Config {
        namespace: namespace.unwrap_or_else(Namespace::standard),
        postgres: postgres(reader, servers, host.expiry),
        host,
        admin: admin(reader),
        sql: sql_roles(reader),
        handler_config: handler_values(reader),
        kafka: kafka(reader, servers),
        ingest: ingest(reader),
        worker: worker(reader),
        retry: retry(reader, RetryPolicy::DEFAULT),
        breaker: breaker(reader, BreakerPolicy::DEFAULT),
        limits: limits(reader),
        http: http(reader),
        relay: relay(reader),
        retention: retention(reader),
        dead_letters: DeadLetters { topic: dead_letter_topic(reader, None) },
        log: log(reader),
    };
    together(reader, &config);
    if config.postgres.direct().is_none() {
        // Nobody could hear what producers say.
        config.relay.wake = Wake::Poll;
    }
    config
}

/// The longest call or publish. Nothing is started that might outlast the host's expiry, since another
/// host could then begin the same; two heartbeats, a sixth of the expiry each, may be missed before
/// nothing is started at all.
pub(super) fn longest_within(expiry: Duration) -> Duration {
    expiry * 2 / 3
}

/// Checks what no single setting can show.
fn together(reader: &mut Reader, config: &Config) {
    let expiry = config.host.expiry;
    let longest = longest_within(expiry);
    if config.limits.deadline > longest {
        reader.refuse_pair("limits.deadline", "host.expiry", "must be at most two thirds of");
    }
    if config.relay.publish_timeout > longest {
        reader.refuse_pair("relay.publish-timeout", "host.expiry", "must be at most two thirds of");
    }
    if config.retry.base > config.retry.cap {
        reader.refuse_pair("retry.base", "retry.cap", "must not be longer than");
    }
    if config.limits.memory > config.limits.memory_max {
        reader.refuse_pair("limits.memory", "limits.memory-max", "must not be larger than");
    }
    if config.relay.poll_min > config.relay.poll_max {
        reader.refuse_pair("relay.poll-min", "relay.poll-max", "must not be longer than");
    }
}

fn host(reader: &mut Reader) -> Host {
    let worker = reader.name("host.worker", &source::hostname(), WorkerName::parse);
    Host {
        worker: worker.unwrap_or_else(WorkerName::unknown),
        expiry: reader.duration("host.expiry", 30 * SECOND, SECOND..=600 * SECOND),
        handlers: PathBuf::from(reader.text("host.handlers", Some("handlers")).unwrap_or_default()),
        compiled: PathBuf::from(reader.text("host.compiled", Some(".mailroom/compiled")).unwrap_or_default()),
        compiled_bytes_max: reader.size("host.compiled-bytes-max", 1024 * MIB, 0..=1_048_576 * MIB),
        compile_timeout: reader.duration("host.compile-timeout", 60 * SECOND, SECOND..=3600 * SECOND),
        compile_memory_max: reader.size("host.compile-memory-max", 1024 * MIB, 64 * MIB..=65_536 * MIB),
        stop_grace: reader.duration("host.stop-grace", 25 * SECOND, Duration::ZERO..=600 * SECOND),
    }
}

fn ingest(reader: &mut Reader) -> Ingest {
    Ingest {
        batch_rows_max: reader.count("ingest.batch-rows-max", 500, 1..=10_000),
        in_hand_max: reader.count("ingest.in-hand-max", 10_000, 1..=1_000_000),
        in_hand_bytes_max: memory(reader, "ingest.in-hand-bytes-max", 128 * MIB),
        waiting_keys_max: reader.count("ingest.waiting-keys-max", 1_000_000, 1..=100_000_000),
        gap: reader.choice("ingest.gap", &[("stop", Gap::Stop), ("skip", Gap::Skip)], Gap::Stop),
        id_header: id_header(reader),
    }
}

/// Bytes of something in this process.
fn memory(reader: &mut Reader, key: &'static str, default: u64) -> usize {
    usize::try_from(reader.size(key, default, MIB..=65_536 * MIB)).unwrap_or(usize::MAX)
}

fn id_header(reader: &mut Reader) -> Option<String> {
    let name = reader.text("ingest.id-header", None)?;
    if name.trim() != name || name.chars().any(char::is_control) {
        let problem = "must be the name of a header, without spaces around it".to_owned();
        reader.refuse("ingest.id-header", Some(format!("{name:?}")), problem);
    }
    Some(name)
}

fn worker(reader: &mut Reader) -> Worker {
    Worker {
        concurrency: reader.count("worker.concurrency", 16, 1..=1000),
        threads: reader.count("worker.threads", threads(), 1..=1024),
        settle_rows_max: reader.count("worker.settle-rows-max", 500, 1..=10_000),
        effects_bytes_max: memory(reader, "worker.effects-bytes-max", 64 * MIB),
    }
}

/// One fewer than cores: guests that never end leave one to the host, and to servers beside it.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

/// Reads the attempts of a failed message and the delays between them, of the host or of one handler.
pub(super) fn retry(reader: &mut Reader, default: RetryPolicy) -> RetryPolicy {
    RetryPolicy {
        attempts_max: reader.count("retry.attempts-max", default.attempts_max, 1..=1000),
        base: reader.duration("retry.base", default.base, MILLISECOND..=24 * HOUR),
        cap: reader.duration("retry.cap", default.cap, MILLISECOND..=720 * HOUR),
    }
}

/// The breaker's settings, of the host or of one handler.
pub(super) fn breaker(reader: &mut Reader, default: BreakerPolicy) -> BreakerPolicy {
    BreakerPolicy {
        threshold: reader.count("breaker.threshold", default.threshold, 1..=1_000_000),
        recovery: reader.duration("breaker.recovery", default.recovery, 100 * MILLISECOND..=24 * HOUR),
    }
}

fn limits(reader: &mut Reader) -> Limits {
    Limits {
        deadline: reader.duration("limits.deadline", 10 * SECOND, MILLISECOND..=600 * SECOND),
        fuel: reader.count("limits.fuel", 20_000_000_000, 1..=1_000_000_000_000_000),
        memory: reader.size("limits.memory", 64 * MIB, MIB..=4096 * MIB),
        memory_max: reader.size("limits.memory-max", 256 * MIB, MIB..=4096 * MIB),
        table_elements: reader.count("limits.table-elements", Limits::TABLE_ELEMENTS, 1..=1_000_000),
        stack: reader.size("limits.stack", 512 << 10, 64 << 10..=16 * MIB),
        effects: reader.count("limits.effects", 1000, 0..=100_000),
        output_bytes: reader.size("limits.output-bytes", 8 * MIB, 0..=1024 * MIB),
        http_requests: reader.count("limits.http-requests", 100, HTTP_REQUESTS),
        log_bytes: reader.size("limits.log-bytes", 64 << 10, 0..=16 << 20),
        log_lines: reader.count("limits.log-lines", 1000, 0..=1_000_000),
        state_values: reader.count("limits.state-values", 10_000, 1..=1_000_000),
        state_bytes: reader.size("limits.state-bytes", 16 * MIB, 1..=1024 * MIB),
    }
}

/// Bounds of `limits.http-requests`, of the host or of one handler.
pub(super) const HTTP_REQUESTS: RangeInclusive<u32> = 0..=10_000;

fn http(reader: &mut Reader) -> Http {
    let is_range = |text: &str| text.parse::<IpNet>().is_ok();
    let ranges = reader.list("http.addresses", is_range, "ranges such as \"10.1.0.0/16\" or \"::1/128\"");
    Http {
        addresses: ranges.iter().filter_map(|range| range.parse().ok()).collect(),
        connect_timeout: reader.duration("http.connect-timeout", 5 * SECOND, MILLISECOND..=60 * SECOND),
        requests_max: reader.count("http.requests-max", 128, 2..=10_000),
        response_head_max: reader.size("http.response-head-max", 64 << 10, 8 << 10..=1 << 20),
    }
}

fn relay(reader: &mut Reader) -> Relay {
    Relay {
        enabled: reader.flag("relay.enabled", true),
        batch_rows_max: reader.count("relay.batch-rows-max", 1000, 1..=10_000),
        in_flight_max: reader.count("relay.in-flight-max", 4000, 1..=100_000),
        in_flight_bytes_max: memory(reader, "relay.in-flight-bytes-max", 32 * MIB),
        publish_timeout: reader.duration(
            "relay.publish-timeout",
            20 * SECOND,
            10 * MILLISECOND..=300 * SECOND,
        ),
        poll_min: reader.duration("relay.poll-min", 2 * MILLISECOND, MILLISECOND..=60 * SECOND),
        poll_max: reader.duration("relay.poll-max", 500 * MILLISECOND, MILLISECOND..=60 * SECOND),
        wake: reader.choice("relay.wake", &[("notify", Wake::Notify), ("poll", Wake::Poll)], Wake::Notify),
    }
}

fn retention(reader: &mut Reader) -> Retention {
    let kept = 60 * SECOND..=10 * YEAR;
    Retention {
        inbox: reader.duration_or_never("retention.inbox", kept.clone()),
        outbox: reader.duration_or_never("retention.outbox", kept.clone()),
        dead: reader.duration_or_never("retention.dead", kept),
        batch_rows_max: reader.count("retention.batch-rows-max", 1000, 1..=100_000),
        pause: reader.duration("retention.pause", 100 * MILLISECOND, MILLISECOND..=HOUR),
    }
}

fn log(reader: &mut Reader) -> Log {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = reader.choice("log.format", &formats, LogFormat::Text);
    let filter = reader.text("log.filter", Some("info")).unwrap_or_default();
    if let Err(error) = EnvFilter::try_new(&filter) {
        let problem = format!("must be levels by module, such as \"info,mailroom=debug\": {error}");
        reader.refuse("log.filter", Some(format!("{filter:?}")), problem);
    }
    Log { format, filter }
}
