//! A handler's manifest, `handlers/NAME.toml`: its group, its grants, and where it differs from the host's
//! defaults. A handler without one has the defaults and no grants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
pub use mailroom_core::verdict::{Ack, BehindDead, BreakerPolicy, RetryPolicy};

use super::handler_values::granted;
use super::host::{HTTP_REQUESTS, MIB, MILLISECOND, SECOND, breaker, longest_within, retry};
use super::origin::{ORIGINS, Origin};
use super::reader::Reader;
use super::{Config, ConfigErrors, Secret, source};

/// Manifest of one handler, as an operator writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Name by which people know this version; for `handler list` and `status`.
    pub version: Option<String>,
    /// The consumer group; `None` is [`super::HandlerName::default_group`].
    pub group: Option<String>,
    /// Start of a partition that the group has never read.
    pub start: Start,
    /// Wins over what the component says about itself.
    pub subscribe: Option<Subscribe>,
    /// Rights of the handler; none by default.
    pub grants: Grants,
    /// Attempts of its failed messages, and the delays between them.
    pub retry: RetryPolicy,
    /// Rule by which it is left alone for a while.
    pub breaker: BreakerPolicy,
    /// Limits of one of its calls.
    pub limits: CallLimits,
    /// True if messages of one key are handled one after another (`order = "key"`).
    pub ordered: bool,
    /// Fate of a key's later messages once one of them is dead.
    pub behind_dead: BehindDead,
    /// The Kafka topic that gets a copy of each of its dead messages.
    pub dead_letter_topic: Option<Arc<str>>,
    /// Calls of this handler that run at once in a host.
    pub concurrency: usize,
    /// Use of its instances, for one call or for several; `None` is [`Instances::New`], and reuse for a
    /// script.
    pub instances: Option<Instances>,
    /// Guarantee about how often a message may be handed over.
    pub ack: Ack,
    /// Offset that Kafka is told.
    pub commit_offset: CommitOffset,
    /// Way in which messages are settled.
    pub settle: Settle,
}

/// Offset that Kafka is told for people's tools; Postgres has the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOffset {
    /// Offset behind what is stored.
    OnPersist,
    /// Offset before the first message that is not settled.
    OnSuccess,
}

/// Number of calls that an instance of a component has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One: each call has a new instance.
    New,
    /// Several: each instance has so many calls at most. Its memory goes from one message to the next.
    Reuse {
        /// The calls after which it is thrown away.
        calls_max: u32,
    },
}

/// Way in which messages are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Many in one transaction.
    Bulk,
    /// Each in a transaction of its own.
    Single,
}

/// Start of a partition that has no offset yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Start at its oldest record.
    Earliest,
    /// Start behind its newest record.
    Latest,
    /// Start at its first record that is not older; behind the newest where there is none.
    At(DateTime<Utc>),
}

/// Filter of the messages that a handler takes; an empty list means any, except of topics, which are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Names of Kafka topics.
    pub topics: Vec<String>,
    /// Patterns by dot-separated segments: `*` is one, a last `**` is the rest.
    pub event_types: Vec<String>,
    /// Patterns like those of types.
    pub sources: Vec<String>,
    /// Prefixes of segments: `1` takes `1.2.3`.
    pub schema_versions: Vec<String>,
    /// Form in which the handler gets payloads.
    pub form: Form,
}

/// Form in which a payload reaches a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Text; a payload that is not UTF-8 is quarantined.
    Text,
    /// Bytes, whatever they are.
    Binary,
}

/// Rights of a handler besides reading its message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Topics that it may publish to.
    pub publish: Vec<String>,
    /// True if it may keep state.
    pub state: bool,
    /// The section `[sql.NAME]` of the host's configuration whose role its SQL runs as.
    pub sql: Option<Arc<str>>,
    /// Origins to which it may send HTTP requests.
    pub http: Vec<Origin>,
    /// Values of the host's configuration that it may read, by the names that it asks by.
    pub config: BTreeMap<String, Secret>,
    /// The most detailed lines that it may write to the host's log.
    pub log: LogLevel,
}

/// Level of detail of a log's lines; each has those before it in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// No lines at all.
    #[default]
    Off,
    /// Lines about what went wrong.
    Error,
    /// Lines about what may go wrong too.
    Warn,
    /// Lines about what was done too.
    Info,
    /// Lines about how it was done too.
    Debug,
    /// Each step.
    Trace,
}

impl LogLevel {
    const WORDS: [(&str, Self); 6] = [
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// Returns the word that a manifest has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, level)| *level == self).map_or("", |(word, _)| word)
    }
}

/// Limits of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimits {
    /// Wall-clock time, at most two thirds of the host's expiry.
    pub deadline: Duration,
    /// Instructions, in units of fuel.
    pub fuel: u64,
    /// Linear memory in bytes.
    pub memory: u64,
    /// Elements of each table.
    pub table_elements: u64,
    /// Messages and state writes.
    pub effects: u32,
    /// Bytes of all effects.
    pub output_bytes: u64,
    /// Requests over HTTP that a call may send.
    pub http_requests: u32,
    /// Bytes of what the call prints that are kept.
    pub log_bytes: u32,
    /// Lines that it may log.
    pub log_lines: u32,
    /// Values of state that it may load from one scope.
    pub state_values: u32,
    /// Bytes of them, with their names.
    pub state_bytes: u64,
}

/// Calls of a reused instance, where nobody says otherwise.
const CALLS_MAX: u32 = 1000;

impl Manifest {
    /// Returns how many calls an instance has.
    #[must_use]
    pub(crate) fn instances(&self) -> Instances {
        self.instances.unwrap_or(Instances::New)
    }

    /// The same for a script, which every new instance reads anew: it is reused unless the manifest has another word.
    pub(crate) fn of_script(&self) -> Self {
        let instances = self.instances.or(Some(Instances::Reuse { calls_max: CALLS_MAX }));
        Self { instances, ..self.clone() }
    }

    /// Reads a manifest over the host's defaults.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn parse(text: &str, config: &Config) -> Result<Self, ConfigErrors> {
        let table = source::parse(text).map_err(ConfigErrors::file)?;
        let mut reader = Reader::new(table, BTreeMap::new());
        let manifest = read(&mut reader, config);
        reader.finish().map(|_| manifest)
    }

    /// Returns what holds for a component without a manifest.
    #[must_use]
    pub fn default_for(config: &Config) -> Self {
        read(&mut Reader::default(), config)
    }
}

fn read(reader: &mut Reader, config: &Config) -> Manifest {
    let subscribed = reader.has("subscribe");
    let subscribe = subscribe(reader);
    if subscribed && subscribe.topics.is_empty() && !reader.refused("subscribe.topics") {
        let problem =
            format!("is missing: [subscribe] takes the place of what the component asks for; list {TOPICS}");
        reader.refuse("subscribe.topics", None, problem);
    }
    let acks = [
        ("exactly-once", Ack::ExactlyOnce),
        ("at-least-once", Ack::AtLeastOnce),
        ("at-most-once", Ack::AtMostOnce),
    ];
    let ack = reader.choice("ack", &acks, Ack::ExactlyOnce);
    let manifest = Manifest {
        version: version(reader),
        group: group(reader),
        start: reader.start("start"),
        subscribe: subscribed.then_some(subscribe),
        grants: grants(reader, config),
        retry: retry(reader, config.retry),
        breaker: breaker(reader, config.breaker),
        limits: limits(reader, config),
        ordered: reader.choice("order", &[("key", true), ("none", false)], true),
        behind_dead: reader.choice(
            "behind-dead",
            &[("skip", BehindDead::Skip), ("block", BehindDead::Block), ("park", BehindDead::Park)],
            BehindDead::Skip,
        ),
        dead_letter_topic: dead_letter_topic(reader, config.dead_letters.topic.as_deref()),
        concurrency: reader.count("concurrency", config.worker.concurrency, 1..=1000),
        instances: instances(reader),
        ack,
        commit_offset: reader.choice(
            "commit-offset",
            &[("on-persist", CommitOffset::OnPersist), ("on-success", CommitOffset::OnSuccess)],
            if ack == Ack::ExactlyOnce { CommitOffset::OnSuccess } else { CommitOffset::OnPersist },
        ),
        settle: reader.choice("settle", &[("bulk", Settle::Bulk), ("single", Settle::Single)], Settle::Bulk),
    };
    if !manifest.ordered && manifest.behind_dead != BehindDead::Skip {
        reader.refuse_pair("behind-dead", "order", "needs order = \"key\", not");
    }
    if manifest.retry.base > manifest.retry.cap {
        reader.refuse_pair("retry.base", "retry.cap", "must not be longer than");
    }
    manifest
}

fn grants(reader: &mut Reader, config: &Config) -> Grants {
    Grants {
        publish: reader.list("grants.publish", is_topic, TOPICS),
        state: reader.flag("grants.state", false),
        sql: sql(reader, config),
        http: http(reader),
        config: granted(reader, config),
        log: reader.choice("grants.log", &LogLevel::WORDS, LogLevel::Off),
    }
}

fn instances(reader: &mut Reader) -> Option<Instances> {
    let is_said = reader.has("instances");
    let bounded = reader.has("instances-calls-max");
    let calls_max = reader.count("instances-calls-max", CALLS_MAX, 2..=1_000_000);
    let reuse = reader.choice("instances", &[("new", false), ("reuse", true)], false);
    if bounded && !reuse {
        reader.refuse_pair("instances-calls-max", "instances", "means nothing with");
    }
    is_said.then_some(if reuse { Instances::Reuse { calls_max } } else { Instances::New })
}

fn limits(reader: &mut Reader, config: &Config) -> CallLimits {
    let limits = &config.limits;
    let (deadline_max, expiry) = (longest_within(config.host.expiry), config.host.expiry);
    let deadline = reader.duration("limits.deadline", limits.deadline, MILLISECOND..=600 * SECOND);
    if deadline > deadline_max {
        let text = humantime::format_duration;
        let problem = format!(
            "must be at most {:?}, two thirds of this host's host.expiry = {:?}; shorten it, or raise that",
            text(deadline_max).to_string(),
            text(expiry).to_string(),
        );
        reader.refuse("limits.deadline", Some(format!("{:?}", text(deadline).to_string())), problem);
    }
    CallLimits {
        deadline,
        fuel: reader.count("limits.fuel", limits.fuel, 1..=1_000_000_000_000_000),
        memory: reader.size("limits.memory", limits.memory, MIB..=limits.memory_max),
        table_elements: reader.count(
            "limits.table-elements",
            limits.table_elements,
            1..=limits.table_elements_max(),
        ),
        effects: reader.count("limits.effects", limits.effects, 0..=100_000),
        output_bytes: reader.size("limits.output-bytes", limits.output_bytes, 0..=1024 * MIB),
        http_requests: reader.count("limits.http-requests", limits.http_requests, HTTP_REQUESTS),
        log_bytes: reader.size("limits.log-bytes", limits.log_bytes, 0..=16 << 20),
        log_lines: reader.count("limits.log-lines", limits.log_lines, 0..=1_000_000),
        state_values: reader.count("limits.state-values", limits.state_values, 1..=1_000_000),
        state_bytes: reader.size("limits.state-bytes", limits.state_bytes, 1..=1024 * MIB),
    }
}

fn http(reader: &mut Reader) -> Vec<Origin> {
    let origins = reader.list("grants.http", |text| Origin::parse(text).is_some(), ORIGINS);
    origins.iter().filter_map(|text| Origin::parse(text)).collect()
}

fn sql(reader: &mut Reader, config: &Config) -> Option<Arc<str>> {
    let role = reader.text("grants.sql", None)?;
    if !config.sql.contains_key(&role) {
        let known: Vec<&str> = config.sql.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let problem = format!(
            "must name a section [sql.NAME] of the host's configuration, which says whom its SQL runs as; there are: {known}"
        );
        reader.refuse("grants.sql", Some(format!("{role:?}")), problem);
    }
    Some(Arc::from(role))
}

fn version(reader: &mut Reader) -> Option<String> {
    let version = reader.text("version", None)?;
    if version.len() > 100 || version.chars().any(char::is_control) {
        let problem = "must have at most 100 bytes and no control characters".to_owned();
        reader.refuse("version", Some(format!("{version:?}")), problem);
    }
    Some(version)
}

fn group(reader: &mut Reader) -> Option<String> {
    let group = reader.text("group", None)?;
    if group.len() > 255 || group.trim() != group || group.chars().any(char::is_control) {
        let problem = "must have at most 255 bytes, no control characters and no spaces around it".to_owned();
        reader.refuse("group", Some(format!("{group:?}")), problem);
    }
    Some(group)
}

/// Reads the topic to which copies of dead letters go, of the host or of one handler.
pub(super) fn dead_letter_topic(reader: &mut Reader, default: Option<&str>) -> Option<Arc<str>> {
    let topic = reader.text("dead-letters.topic", default)?;
    if !is_topic(&topic) {
        let problem = "must be the name of a Kafka topic: 1 to 249 letters, digits, \".\", \"_\" and \"-\"";
        reader.refuse("dead-letters.topic", Some(format!("{topic:?}")), problem.to_owned());
    }
    Some(Arc::from(topic))
}

fn subscribe(reader: &mut Reader) -> Subscribe {
    let pattern = "patterns such as \"order.*\", none of them blank";
    Subscribe {
        topics: reader.list("subscribe.topics", is_topic, TOPICS),
        event_types: reader.list("subscribe.event-types", is_pattern, pattern),
        sources: reader.list("subscribe.sources", is_pattern, pattern),
        schema_versions: reader.list(
            "subscribe.schema-versions",
            is_pattern,
            "versions such as \"1\", none of them blank",
        ),
        form: reader.choice("subscribe.form", &[("text", Form::Text), ("binary", Form::Binary)], Form::Text),
    }
}

const TOPICS: &str = "names of Kafka topics: 1 to 249 letters, digits, \".\", \"_\" and \"-\"";

/// Tells whether Kafka can have a topic of this name.
pub(crate) fn is_topic(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=249).contains(&text.len()) && text != "." && text != ".." && text.chars().all(allowed)
}

/// Tells whether it may stand as a pattern of event types, sources or versions.
pub(crate) fn is_pattern(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && text.len() <= 255
}
