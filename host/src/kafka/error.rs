//! What an error of Kafka asks its caller to do.

use rdkafka::types::RDKafkaErrorCode as Code;

/// An error of Kafka or of the way to it.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
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

    /// What it means for a record that was to be produced.
    pub(crate) fn produce_meaning(&self) -> ProduceMeaning {
        match self.code() {
            Some(
                Code::InvalidTopic
                | Code::InvalidMessage
                | Code::InvalidMessageSize
                | Code::MessageSizeTooLarge
                | Code::InvalidRecord,
            ) => ProduceMeaning::Record,
            Some(Code::InvalidTimestamp) => ProduceMeaning::Timestamp,
            Some(
                Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed,
            ) => ProduceMeaning::Topic,
            Some(Code::QueueFull) => ProduceMeaning::Full,
            Some(
                Code::Fatal
                | Code::Fenced
                | Code::BrokerDestroy
                | Code::PurgeQueue
                | Code::PurgeInflight
                | Code::GaplessGuarantee
                | Code::OutOfOrderSequenceNumber
                | Code::InvalidProducerEpoch
                | Code::InvalidProducerIdMapping
                | Code::UnknownProducerId,
            )
            | None => ProduceMeaning::Producer,
            _ => ProduceMeaning::Partition,
        }
    }
}

/// What a record that could not be produced waits for, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProduceMeaning {
    /// Record or batch is refused: one of its records, or all together.
    Record,
    /// The time that we gave it is refused.
    Timestamp,
    /// Its topic or partition is missing or closed to us: the topic waits for an operator.
    Topic,
    /// The producer's queue is full: in a moment.
    Full,
    /// The partition did not take it in time, or answered what asks for nothing else.
    Partition,
    /// The producer has to be made anew.
    Producer,
}
