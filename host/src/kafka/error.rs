//! Errors of Kafka, and what they ask their caller to do.

use std::fmt;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::meaning::{Meaning, meaning};

/// An error of Kafka or of the way to it.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}{}", Remedy(self.code()))]
pub(crate) struct KafkaError {
    doing: &'static str,
    #[source]
    source: rdkafka::error::KafkaError,
}

impl KafkaError {
    pub(super) fn new(doing: &'static str) -> impl FnOnce(rdkafka::error::KafkaError) -> Self {
        move |source| Self { doing, source }
    }

    fn code(&self) -> Option<Code> {
        self.source.rdkafka_error_code()
    }

    /// Returns what it means for a record that was to be produced.
    pub(crate) fn produce_meaning(&self) -> ProduceMeaning {
        // Without a code the client itself is not as it should be.
        self.code().map_or(ProduceMeaning::Producer, produce_meaning)
    }
}

/// Condition for which a record waits that could not be produced, or the verdict that none helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProduceMeaning {
    /// Record or batch is refused: one of its records, or all together.
    Record,
    /// The time that we gave it is refused.
    Timestamp,
    /// The topic or partition is missing or closed to us: the topic waits for an operator.
    Topic,
    /// The producer's queue is full: in a moment.
    Full,
    /// The partition did not take it in time, or answered what asks for nothing else.
    Partition,
    /// The producer has to be made anew.
    Producer,
}

fn produce_meaning(code: Code) -> ProduceMeaning {
    match meaning(code) {
        Some(Meaning::Data) => ProduceMeaning::Record,
        Some(Meaning::Timestamp) => ProduceMeaning::Timestamp,
        Some(Meaning::Topic | Meaning::Operator(_)) => ProduceMeaning::Topic,
        Some(Meaning::Full) => ProduceMeaning::Full,
        Some(Meaning::Client) => ProduceMeaning::Producer,
        Some(Meaning::Outage | Meaning::Passing | Meaning::Partition | Meaning::OutOfLog | Meaning::Bug)
        | None => ProduceMeaning::Partition,
    }
}

/// A code's remedy behind the error, where an operator must act.
pub(super) struct Remedy(pub(super) Option<Code>);

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.and_then(meaning) {
            Some(Meaning::Operator(remedy)) => write!(f, "; {remedy}"),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_record_is_to_blame_for_is_its_own() {
        for (code, expected) in [
            (Code::MessageSizeTooLarge, ProduceMeaning::Record),
            (Code::MessageBatchTooLarge, ProduceMeaning::Record),
            (Code::InvalidRecord, ProduceMeaning::Record),
            (Code::UnsupportedCompressionType, ProduceMeaning::Topic),
            (Code::TopicAuthorizationFailed, ProduceMeaning::Topic),
            (Code::NotEnoughReplicas, ProduceMeaning::Partition),
            (Code::MessageTimedOut, ProduceMeaning::Partition),
            (Code::InvalidRequest, ProduceMeaning::Partition),
            (Code::QueueFull, ProduceMeaning::Full),
            (Code::Fatal, ProduceMeaning::Producer),
        ] {
            assert_eq!(produce_meaning(code), expected, "{code:?}");
        }
    }

    #[test]
    fn an_error_that_an_operator_ends_says_how() {
        let refused = KafkaError::new("subscribing")(rdkafka::error::KafkaError::Global(
            Code::SaslAuthenticationFailed,
        ));
        assert!(refused.to_string().contains("sasl.password"), "{refused}");
        let away = KafkaError::new("subscribing")(rdkafka::error::KafkaError::Global(Code::AllBrokersDown));
        assert!(!away.to_string().contains(';'), "{away}");
    }
}
