//! A handler's manifest, `handlers/NAME.toml`: its group, its grants, and where it differs from the host's
//! defaults. A handler without one has the defaults and no grants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
pub use mailroom_core::verdict::{Ack, BehindDead, BreakerPolicy, RetryPolicy};

use super::declare::{ByDefault, Declaration, Key, settings};
use super::host::{CONCURRENCY, DeadLetters, breaker, longest_within, retry};
use super::limits::CallLimits;
use super::origin::{ORIGINS, Origin};
use super::reader::Reader;
use super::{Config, ConfigErrors, Secret, Servers, source};

settings! {
    /// Manifest of one handler, as an operator writes it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Manifest(reader, config: &Config) {
        /// Name that you call this version by, for `handler list` and `status`.
        version: Option<String> = "version",
            text_that(None, ("have", "at most 100 bytes and no control characters"), |version| {
                version.len() <= 100 && !version.chars().any(char::is_control)
            });
        /// Consumer group; it belongs to one handler, another that claims it waits until that is gone from all hosts.
        group: Option<String> = "group" => "`\"NAMESPACE.NAME\"`",
            text_that(
                None,
                ("have", "at most 255 bytes, no control characters and no spaces around it"),
                |group| group.len() <= 255 && group.trim() == group && !group.chars().any(char::is_control)
            );
        /// Place where a topic is begun that was never read: its oldest record, behind its newest, or its first record that
        /// is not older than a moment. It is resolved once, for all partitions together; one that is added later begins at
        /// its first record.
        start: Start = "start", start();
        /// Deliveries of a message. `"at-most-once"`: it is handed over once, and a call that ended is settled as it ended: of
        /// two that wrote one value of state the last one stands. One whose end is lost with its host is a dead letter,
        /// `interrupted`; a statement more a message. `"at-least-once"` differs from the default in what `commit-offset` is.
        ack: Ack = "ack",
            choice(
                &[
                    ("exactly-once", Ack::ExactlyOnce),
                    ("at-least-once", Ack::AtLeastOnce),
                    ("at-most-once", Ack::AtMostOnce)
                ],
                Ack::ExactlyOnce
            );
        /// Offset that Kafka is told, for its tools: before the first message that is not settled, or behind what is stored.
        commit_offset: CommitOffset = "commit-offset"
            => "`\"on-success\"`; for the other `ack`s `\"on-persist\"`",
            choice(
                &[("on-persist", CommitOffset::OnPersist), ("on-success", CommitOffset::OnSuccess)],
                if ack == Ack::ExactlyOnce { CommitOffset::OnSuccess } else { CommitOffset::OnPersist }
            );
        /// Transactions that settle messages: one for many, or with `"single"` one for each.
        settle: Settle = "settle",
            choice(&[("bulk", Settle::Bulk), ("single", Settle::Single)], Settle::Bulk);
        /// Order in which messages are handled: with `"key"` those of one key one after another, with `"none"` they need not
        /// wait for each other.
        ordered: bool = "order", choice(&[("key", true), ("none", false)], true);
        /// Fate of a key's later messages once one is dead, in whatever way: with `"skip"` they go on, with `"block"` they
        /// wait, with `"park"` they become dead letters too; until the first is replayed or discarded.
        behind_dead: BehindDead = "behind-dead",
            choice(
                &[("skip", BehindDead::Skip), ("block", BehindDead::Block), ("park", BehindDead::Park)],
                BehindDead::Skip
            );
        /// Calls of this handler that run at once in a host.
        concurrency: usize = "concurrency" => "the host's `worker.concurrency`",
            count(config.worker.concurrency, CONCURRENCY);
        /// Instances for calls: with `"new"` each call has one of its own; with `"reuse"` an instance has many, one after
        /// another, which pays where an instance takes long to begin, as Python's do. What one message leaves in its memory
        /// the next may find.
        instances: Option<Instances> = "instances" => "`\"new\"`; for a script `\"reuse\"`", instances();
    } and {
        /// Origin of its messages; wins over what the component says about itself.
        subscribe: Option<Subscribe> = subscribe(reader);
        /// Rights of the handler; none by default.
        grants: Grants = Grants::read(reader, config);
        /// The Kafka topic that gets a copy of each of its dead messages.
        dead_letter_topic: Option<Arc<str>> =
            DeadLetters::read(reader, config.dead_letters.topic.as_deref()).topic;
        /// Attempts of its failed messages, and the delays between them.
        retry: RetryPolicy = retry(reader, config.retry);
        /// Rule by which it is left alone for a while.
        breaker: BreakerPolicy = breaker(reader, config.breaker);
        /// Limits of one of its calls.
        limits: CallLimits = CallLimits::read(reader, Some(&config.limits));
    }
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

settings! {
    /// Filter of the messages that a handler takes; an empty list means any, except of topics, which are named.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Subscribe(reader) {
        /// Topics. `[subscribe]` takes the place of what the component asks for; topics are then required. A component may ask
        /// for 1000 names and patterns, and for topics by their names only.
        topics: Vec<String> = "subscribe.topics" => "the component's", list(is_topic, TOPICS);
        /// Types by dot-separated segments: `*` is one, a last `**` is the rest.
        event_types: Vec<String> = "subscribe.event-types" => "any", list(is_pattern, PATTERNS);
        /// Sources by dot-separated segments: `*` is one, a last `**` is the rest.
        sources: Vec<String> = "subscribe.sources" => "any", list(is_pattern, PATTERNS);
        /// Prefixes of segments of versions: `1` takes `1.2.3`.
        schema_versions: Vec<String> = "subscribe.schema-versions" => "any",
            list(is_pattern, "versions such as \"1\", none of them blank");
        /// Form of payloads: with `"text"` one that is not UTF-8 is quarantined.
        form: Form = "subscribe.form", choice(&[("text", Form::Text), ("binary", Form::Binary)], Form::Text);
    }
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

settings! {
    /// Rights of a handler besides reading its message.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Grants(reader, config: &Config) {
        /// Topics that it may publish to.
        publish: Vec<String> = "grants.publish", list(is_topic, TOPICS);
        /// Right to keep state, by `state` or by `wasi:keyvalue`, which is the same under another name.
        state: bool = "grants.state", flag(false);
        /// Section `[sql.NAME]` of `mailroom.toml` whose role its SQL runs as.
        sql: Option<Arc<str>> = "grants.sql", sql_role(config);
        /// Hosts that it may send HTTP requests to.
        http: Vec<Origin> = "grants.http", list_of(Origin::parse, ORIGINS);
        /// Keys of `[handler-config]` that it may read by `wasi:config/store`, under the names that stand here, such as
        /// `"API_TOKEN"`.
        config: BTreeMap<String, Secret> = "grants.config", granted(config);
        /// Most detailed lines that it may write to the host's log by `wasi:logging/logging`. More detailed ones are dropped.
        log: LogLevel = "grants.log", choice(&LogLevel::WORDS, LogLevel::Off);
    }
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
    /// Lines of each step.
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

    /// Lists all settings of a manifest as they are declared. Those that the host has under the same key have its value by
    /// default.
    #[must_use]
    pub fn declared() -> Vec<Declaration> {
        let config = Config::read(&mut Reader::default(), Servers::Unneeded);
        let mut reader = Reader::default();
        Self::read(&mut reader, &config);
        let of_host: BTreeSet<String> = Config::declared().into_iter().map(|setting| setting.key).collect();
        let with_default = |setting: Declaration| match of_host.contains(&setting.key) {
            true => Declaration { default: ByDefault::Words("the host's"), ..setting },
            false => setting,
        };
        reader.declared().into_iter().map(with_default).collect()
    }

    /// Returns what holds for a component without a manifest.
    #[must_use]
    pub fn default_for(config: &Config) -> Self {
        read(&mut Reader::default(), config)
    }
}

fn read(reader: &mut Reader, config: &Config) -> Manifest {
    let manifest = Manifest::read(reader, config);
    if !manifest.ordered && manifest.behind_dead != BehindDead::Skip {
        reader.refuse_pair("behind-dead", "order", "needs order = \"key\", not");
    }
    if manifest.retry.base > manifest.retry.cap {
        reader.refuse_pair("retry.base", "retry.cap", "must not be longer than");
    }
    let (deadline, deadline_max) = (manifest.limits.deadline, longest_within(config.host.expiry));
    if deadline > deadline_max {
        let text = |duration| format!("{:?}", humantime::format_duration(duration).to_string());
        let problem = format!(
            "must be at most {}, two thirds of this host's host.expiry = {}; shorten it, or raise that",
            text(deadline_max),
            text(config.host.expiry),
        );
        reader.refuse("limits.deadline", Some(text(deadline)), problem);
    }
    manifest
}

fn subscribe(reader: &mut Reader) -> Option<Subscribe> {
    let is_given = reader.has("subscribe");
    let subscribe = Subscribe::read(reader);
    if is_given && subscribe.topics.is_empty() && !reader.refused("subscribe.topics") {
        let problem =
            format!("is missing: [subscribe] takes the place of what the component asks for; list {TOPICS}");
        reader.refuse("subscribe.topics", None, problem);
    }
    is_given.then_some(subscribe)
}

impl Reader {
    fn instances(&mut self, key: Key<'_>) -> Option<Instances> {
        const CALLS_KEY: &str = "instances-calls-max";
        let is_said = self.has(key.name);
        let is_bounded = self.has(CALLS_KEY);
        let calls = Key::new(
            CALLS_KEY,
            "Calls of a reused instance; it is thrown away earlier after any fault or refusal, after a reload, and after a \
             minute without a call.",
        );
        let reuse = self.choice(key, &[("new", false), ("reuse", true)], false);
        let calls_max = self.count(calls, CALLS_MAX, 2..=1_000_000);
        if is_bounded && !reuse {
            self.refuse_pair(CALLS_KEY, key.name, "means nothing with");
        }
        is_said.then_some(if reuse { Instances::Reuse { calls_max } } else { Instances::New })
    }

    fn sql_role(&mut self, key: Key<'_>, config: &Config) -> Option<Arc<str>> {
        let role = self.text(key, None)?;
        if !config.sql.contains_key(&role) {
            let known: Vec<&str> = config.sql.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let problem = format!(
                "must name a section [sql.NAME] of the host's configuration, which says whom its SQL runs as; there are: {known}"
            );
            self.refuse(key.name, Some(format!("{role:?}")), problem);
        }
        Some(Arc::from(role))
    }
}

const PATTERNS: &str = "patterns such as \"order.*\", none of them blank";
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
