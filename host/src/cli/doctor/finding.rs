//! Faults that the doctor knows: each code with its severity and why it matters.

use serde::{Serialize, Serializer};

/// Severity of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Something does not work, or a promise does not hold.
    Error,
    /// Something will not work, or a promise will not hold, when something else happens.
    Warning,
    /// Worth knowing; the exit code does not count it.
    Note,
}

macro_rules! codes {
    ($($name:ident $word:literal $severity:ident $why:literal)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code {
            $(#[doc = $why] $name,)*
        }

        impl Code {
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// The word by which scripts know it.
            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            pub(super) fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),* }
            }

            /// Says why it matters.
            pub(super) fn why(self) -> &'static str {
                match self { $(Self::$name => $why),* }
            }
        }
    };
}

codes! {
    PostgresAway "postgres-away" Error
        "nothing is handled, stored or published without Postgres"
    PostgresOld "postgres-old" Error
        "the schema cannot be made there"
    Encoding "encoding" Error
        "texts of messages could not be stored as they are"
    SchemaBehind "schema-behind" Error
        "hosts of this version refuse to start"
    SchemaNewer "schema-newer" Error
        "hosts of this version refuse to start"
    SchemaChanged "schema-changed" Error
        "hosts of this version refuse to start"
    SchemaDrift "schema-drift" Error
        "statements were made and tested for the schema of the migrations"
    IndexMissing "index-missing" Error
        "statements that should read a few rows read a whole table, or what must be unique is not"
    IndexInvalid "index-invalid" Error
        "no statement uses it, so that those which need it read a whole table"
    TriggerDisabled "trigger-disabled" Error
        "without it the relay may pass over rows, sleep on, or publish bearer tokens"
    TriggerForeign "trigger-foreign" Warning
        "it runs in every transaction of mailroom, and its errors are taken for bad messages"
    RuleForeign "rule-foreign" Error
        "statements do something else than they say"
    TableUnlogged "table-unlogged" Error
        "a crash of Postgres empties it, and no standby has it"
    RowSecurity "row-security" Error
        "rows are hidden from roles without a policy, as if they were not there"
    OwnerForeign "owner-foreign" Warning
        "its owner can change what runs with mailroom's rights, and migrations cannot"
    Grants "grants" Error
        "the host's statements are refused"
    SecretReadable "secret-readable" Error
        "who reads it can settle messages of any host"
    SqlRoleAway "sql-role-away" Error
        "handlers with this grant wait"
    SqlRole "sql-role" Error
        "the host does not run handlers' SQL as this role"
    ReplicaIdentity "replica-identity" Warning
        "once a publication has the table, its updates are refused"
    PoolerUndeclared "pooler-undeclared" Error
        "sessions are shared with others, and hosts refuse to start"
    DirectUrlMissing "direct-url-missing" Warning
        "hosts find new work by polling alone, and `mailroom migrate` cannot run"
    ConnectionsFew "connections-few" Warning
        "statements wait for connections, and hosts look dead to each other"
    CommitAsynchronous "commit-asynchronous" Error
        "a crash forgets what was committed last, though offsets and records on Kafka count on it"
    ServerUnsafe "server-unsafe" Error
        "a crash of the machine can damage all data"
    StandbyAsynchronous "standby-asynchronous" Warning
        "a failover forgets what was committed last, as what applications published"
    TransactionOld "transaction-old" Warning
        "no row that was deleted or changed since can be cleaned up, and the relay looks after its rows"
    PreparedOld "prepared-old" Warning
        "it holds its locks and keeps rows from being cleaned up, over restarts too"
    DeadTuples "dead-tuples" Warning
        "each statement walks over rows that are no more"
    AutovacuumOff "autovacuum-off" Warning
        "dead rows stay, statistics get old, and transaction ids run out"
    Wraparound "wraparound" Warning
        "Postgres refuses all writes at two thousand million"
    SequenceBehind "sequence-behind" Error
        "a number is given out twice: the relay passes over rows below those that it has seen"
    SlotIdle "slot-idle" Warning
        "the log that it keeps fills the disk"
    NotVisible "not-visible" Note
        "long transactions and standbys of others cannot be looked for"
    ClockSkew "clock-skew" Warning
        "times in logs and on records do not fit those in the tables"
    HostClock "host-clock" Warning
        "times in its log and on its records do not fit those in the tables"
    HandlersFolder "handlers-folder" Error
        "a host waits until it is there"
    HandlerRefused "handler-refused" Error
        "its messages wait"
    KafkaAway "kafka-away" Error
        "nothing is read or published without Kafka"
    TopicMissing "topic-missing" Error
        "its messages wait, since mailroom creates no topics"
    TopicLeaderless "topic-leaderless" Error
        "nothing of these partitions is read, and nothing written to them"
    TopicRefused "topic-refused" Error
        "its messages wait"
    GroupRefused "group-refused" Error
        "the handler gets no messages"
    ReplicationFactor "replication-factor" Warning
        "its records are gone with the disks of so few brokers"
    ReplicasInSync "replicas-in-sync" Error
        "nothing that is published there is acknowledged"
    MinInsyncReplicas "min-insync-replicas" Warning
        "a record is acknowledged that a single broker has, and is gone with it"
    UncleanElection "unclean-election" Warning
        "a broker that lags may become leader, and acknowledged records are gone"
    RetentionShort "retention-short" Warning
        "a host that is stopped for longer misses records"
    InboxRetention "inbox-retention" Warning
        "a record that is read again once its row is deleted is no longer known as a duplicate"
    CompactedWithoutKeys "compacted-without-keys" Error
        "brokers refuse records without a key there, which become dead letters"
    CompactedInput "compacted-input" Note
        "a record may be gone before it is read, where a later one has its key"
    MessageSize "message-size" Warning
        "larger records become dead letters"
    NotChecked "not-checked" Warning
        "what could not be looked at may be at fault"
}

impl Code {
    /// The code of this word.
    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.word() == word)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// A fault that was found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) code: Code,
    pub(super) severity: Severity,
    pub(super) what: String,
    pub(super) why: &'static str,
    /// A command, or words where no command does it.
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn new(code: Code, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, severity: code.severity(), what: what.into(), why: code.why(), remedy: remedy.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_and_the_page_of_operations_has_each_with_its_severity() {
        let page = include_str!("../../../../docs/operations.md");
        for code in Code::ALL {
            assert_eq!(Code::of(code.word()), Some(*code), "{} is listed twice", code.word());
            let severity = format!("{:?}", code.severity()).to_lowercase();
            let row = format!("| `{}` | {severity} |", code.word());
            assert!(page.contains(&row), "docs/operations.md lacks the row `{row}`");
        }
    }

    #[test]
    fn each_code_in_a_statement_is_known() {
        let statements =
            [include_str!("../../db/doctor_catalogue.sql"), include_str!("../../db/doctor_sql_role.sql")];
        let words = statements.iter().flat_map(|sql| sql.lines()).filter_map(|line| {
            let rest = line.trim_start().strip_prefix("select '")?;
            let (word, rest) = rest.split_once('\'')?;
            (rest.starts_with(',') || rest.starts_with(" as code")).then_some(word)
        });
        let words: Vec<&str> = words.collect();
        assert!(words.len() > 20, "{words:?}");
        for word in words {
            assert!(Code::of(word).is_some(), "{word}");
        }
    }
}
