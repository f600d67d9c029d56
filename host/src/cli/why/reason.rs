//! The reasons for which something waits: a closed list, with words for people and scripts.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

macro_rules! reasons {
    ($($name:ident $word:literal $means:literal)*) => {
        /// A cause for which something waits, or that it waits for nothing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Reason {
            $(#[doc = $means] $name,)*
        }

        impl Reason {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// The word by which scripts know it.
            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The reason in a sentence.
            pub(super) fn means(self) -> &'static str {
                match self { $(Self::$name => $means),* }
            }
        }
    };
}

reasons! {
    Completed "completed" "it is done and waits for nothing"
    Dead "dead" "it failed for good"
    Running "running" "its handler has it"
    Paused "paused" "an operator paused its handler"
    BreakerOpen "breaker-open" "the circuit breaker of its handler is open"
    NoVersion "no-version" "no living host runs a version of its handler"
    LaneWithoutOwner "lane-without-owner" "no living host has its lane"
    BehindDeadLetter "behind-dead-letter" "an earlier message of its key is dead, and its handler does not go on without it"
    KeyBusy "key-busy" "an earlier message of its key is not done"
    Backoff "backoff" "its last attempt failed, and the next has its time"
    Scheduled "scheduled" "its time has not come"
    MemoryFull "memory-full" "its host has no room for more messages"
    PartitionStopped "partition-stopped" "its host stopped reading the partition, until somebody decides"
    PartitionDamaged "partition-damaged" "its host stopped reading the partition at records that cannot be read"
    TopicMissing "topic-missing" "the topic does not exist"
    TopicSick "topic-sick" "the topic gives or takes nothing for now"
    KafkaTransaction "kafka-transaction" "a transaction of a producer is open, which hides what comes after its beginning"
    KafkaAway "kafka-away" "its host does not reach Kafka"
    PostgresAway "postgres-away" "its host does not reach Postgres, or is refused"
    StandbyAway "standby-away" "Postgres waits for a synchronous standby with what is committed"
    Turn "turn" "it waits for its turn alone"
    Nothing "nothing" "nothing waits"
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// A reason as it holds for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Cause {
    pub(super) reason: Reason,
    /// The reason in a sentence.
    pub(super) means: &'static str,
    /// Moment at which it began, where that is known.
    pub(super) since: Option<DateTime<Utc>>,
    /// Moment at which it ends by itself, where it has one.
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) detail: Option<String>,
    /// A command that ends it, where one does.
    pub(super) remedy: Option<String>,
}

impl Cause {
    pub(super) fn new(reason: Reason) -> Self {
        Self { reason, means: reason.means(), since: None, until: None, detail: None, remedy: None }
    }

    pub(super) fn since(self, since: impl Into<Option<DateTime<Utc>>>) -> Self {
        Self { since: since.into(), ..self }
    }

    pub(super) fn until(self, until: impl Into<Option<DateTime<Utc>>>) -> Self {
        Self { until: until.into(), ..self }
    }

    pub(super) fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_operations_has_each_reason_as_it_is_said() {
        let page = include_str!("../../../../docs/operations.md");
        for (at, reason) in Reason::ALL.iter().enumerate() {
            let row = format!("| `{}` | {} |", reason.word(), reason.means());
            assert!(page.contains(&row), "docs/operations.md lacks the row `{row}`");
            let others = Reason::ALL.iter().skip(at + 1);
            assert!(others.clone().all(|other| other.word() != reason.word()), "{} twice", reason.word());
        }
    }
}
