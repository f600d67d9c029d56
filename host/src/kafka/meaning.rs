//! The table of librdkafka's error codes: each has a meaning that was chosen for it, whoever meets it.

use rdkafka::types::RDKafkaErrorCode as Code;

/// Meaning of an error: what it says about the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A server or the way to it is away: it is waited for.
    Outage,
    /// The trouble passes, and librdkafka or the caller asks again.
    Passing,
    /// The record or batch: it cannot be written as it is, or cannot be read.
    Data,
    /// The time that was given with the record.
    Timestamp,
    /// The log does not have the offset that was asked for.
    OutOfLog,
    /// Topic or partition is missing or closed to us.
    Topic,
    /// The partition is there, and neither takes nor gives anything for now.
    Partition,
    /// The client's own queue is full.
    Full,
    /// The client can do nothing more: another one takes its place.
    Client,
    /// An operator must act, in this way. It is waited for.
    Operator(&'static str),
    /// Nothing that this host does is answered so.
    Bug,
}

const LOGIN: &str =
    "check security.protocol, sasl.mechanism, sasl.username and sasl.password in [kafka.properties]";
const OLD_BROKER: &str = "the broker is older than this host needs: Apache Kafka 2.8 or later";
const TOKENS: &str = "check the delegation token that is given as sasl.username and sasl.password";

/// Codes by their meaning.
const TABLE: [(Meaning, &[Code]); 10] = [
    (
        Meaning::Outage,
        &[
            Code::BrokerTransportFailure,
            Code::Resolve,
            Code::AllBrokersDown,
            Code::OperationTimedOut,
            Code::UnknownBroker,
            Code::DestroyBroker,
            Code::BrokerNotAvailable,
            Code::NetworkException,
            Code::CoordinatorNotAvailable,
        ],
    ),
    (
        Meaning::Passing,
        &[
            Code::Fail,
            Code::NodeUpdate,
            Code::WaitingForCoordinator,
            Code::UnknownGroup,
            Code::InProgress,
            Code::PreviousInProgress,
            Code::AssignPartitions,
            Code::RevokePartitions,
            Code::NoOffset,
            Code::Outdated,
            Code::WaitCache,
            Code::Interrupted,
            Code::NoEnt,
            Code::Retry,
            Code::PollExceeded,
            Code::AssignmentLost,
            Code::Noop,
            Code::PartitionEOF,
            Code::StaleControllerEpoch,
            Code::CoordinatorLoadInProgress,
            Code::NotCoordinator,
            Code::NotController,
            Code::IllegalGeneration,
            Code::UnknownMemberId,
            Code::RebalanceInProgress,
            Code::ConcurrentTransactions,
            Code::OperationNotAttempted,
            Code::ReassignmentInProgress,
            Code::GroupIdNotFound,
            Code::FetchSessionIdNotFound,
            Code::InvalidFetchSessionEpoch,
            Code::StaleBrokerEpoch,
            Code::MemberIdRequired,
            Code::UnstableOffsetCommit,
            Code::ThrottlingQuotaExceeded,
            Code::FencedMemberEpoch,
            Code::StaleMemberEpoch,
            Code::UnknownSubscriptionId,
            Code::TelemetryTooLarge,
            Code::RebootstrapRequired,
        ],
    ),
    (
        Meaning::Data,
        &[
            Code::BadMessage,
            Code::BadCompression,
            Code::NotImplemented,
            Code::Partial,
            Code::Underflow,
            Code::InvalidDifferentRecord,
            Code::InvalidMessage,
            Code::InvalidMessageSize,
            Code::MessageSizeTooLarge,
            Code::MessageBatchTooLarge,
            Code::InvalidRecord,
            Code::InvalidTopic,
        ],
    ),
    (Meaning::Timestamp, &[Code::InvalidTimestamp]),
    (Meaning::OutOfLog, &[Code::AutoOffsetReset, Code::LogTruncation, Code::OffsetOutOfRange]),
    (
        Meaning::Topic,
        &[
            Code::UnknownPartition,
            Code::UnknownTopic,
            Code::UnknownTopicOrPartition,
            Code::UnknownTopicId,
            Code::TopicAuthorizationFailed,
            Code::InvalidReplicationFactor,
            Code::PolicyViolation,
        ],
    ),
    (
        Meaning::Partition,
        &[
            Code::MessageTimedOut,
            Code::TimedOutQueue,
            Code::ISRInsufficient,
            Code::Unknown,
            Code::LeaderNotAvailable,
            Code::NotLeaderForPartition,
            Code::RequestTimedOut,
            Code::ReplicaNotAvailable,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::KafkaStorageError,
            Code::LogDirNotFound,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::OffsetNotAvailable,
            Code::PreferredLeaderNotAvailable,
            Code::EligibleLeadersNotAvailable,
        ],
    ),
    (Meaning::Full, &[Code::QueueFull]),
    (
        Meaning::Client,
        &[
            Code::BrokerDestroy,
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::Fatal,
            Code::Inconsistent,
            Code::GaplessGuarantee,
            Code::Fenced,
            Code::GroupAuthorizationFailed,
            Code::FencedInstanceId,
            Code::UnreleasedInstanceId,
            Code::OutOfOrderSequenceNumber,
            Code::DuplicateSequenceNumber,
            Code::InvalidProducerEpoch,
            Code::InvalidProducerIdMapping,
            Code::InvalidTransactionalState,
            Code::TransactionCoordinatorFenced,
            Code::UnknownProducerId,
            Code::ProducerFenced,
        ],
    ),
    (
        Meaning::Bug,
        &[
            Code::InvalidArgument,
            Code::ExistingSubscription,
            Code::Conflict,
            Code::State,
            Code::KeySerialization,
            Code::ValueSerialization,
            Code::KeyDeserialization,
            Code::ValueDeserialization,
            Code::ReadOnly,
            Code::InvalidType,
            Code::NotConfigured,
            Code::Application,
            Code::Begin,
            Code::End,
            Code::NoError,
            Code::EndAll,
            Code::OffsetMetadataTooLarge,
            Code::InvalidRequiredAcks,
            Code::InvalidCommitOffsetSize,
            Code::TopicAlreadyExists,
            Code::InvalidPartitions,
            Code::InvalidReplicaAssignment,
            Code::InvalidConfig,
            Code::InvalidRequest,
            Code::InvalidTransactionTimeout,
            Code::TransactionalIdAuthorizationFailed,
            Code::SecurityDisabled,
            Code::InvalidPrincipalType,
            Code::NonEmptyGroup,
            Code::TopicDeletionDisabled,
            Code::ElectionNotNeeded,
            Code::NoReassignmentInProgress,
            Code::GroupSubscribedToTopic,
            Code::ResourceNotFound,
            Code::DuplicateResource,
            Code::UnacceptableCredential,
            Code::InconsistentVoterSet,
            Code::InvalidUpdateVersion,
            Code::FeatureUpdateFailed,
            Code::PrincipalDeserializationFailure,
        ],
    ),
];

/// Codes that an operator ends, by what there is to do.
const REMEDIES: [(&str, &[Code]); 15] = [
    (
        "the system gives no more threads, memory or file descriptors: raise `ulimit -n` and `ulimit -u`",
        &[Code::CriticalSystemResource],
    ),
    ("check the files that [kafka.properties] names", &[Code::FileSystem]),
    ("check ssl.* in [kafka.properties] and the broker's certificate", &[Code::SSL]),
    (
        LOGIN,
        &[
            Code::Authentication,
            Code::SaslAuthenticationFailed,
            Code::UnsupportedSASLMechanism,
            Code::IllegalSASLState,
        ],
    ),
    ("check that kafka.brokers names Kafka's own listeners", &[Code::UnknownProtocol]),
    (OLD_BROKER, &[Code::UnsupportedFeature, Code::UnsupportedVersion]),
    (
        "allow this host's user IdempotentWrite on the cluster, or Write on the topics that it publishes to",
        &[Code::ClusterAuthorizationFailed],
    ),
    (
        TOKENS,
        &[
            Code::DelegationTokenAuthDisabled,
            Code::DelegationTokenNotFound,
            Code::DelegationTokenOwnerMismatch,
            Code::DelegationTokenRequestNotAllowed,
            Code::DelegationTokenAuthorizationFailed,
            Code::DelegationTokenExpired,
        ],
    ),
    (
        "raise the topic's message.format.version: records with headers need 0.11 or later",
        &[Code::UnsupportedForMessageFormat],
    ),
    (
        "choose another compression.type in [kafka.properties], or raise the topic's message format",
        &[Code::UnsupportedCompressionType],
    ),
    (
        "another program uses this consumer group in another way: give the handler a `group` of its own",
        &[Code::InconsistentGroupProtocol, Code::UnsupportedAssignor],
    ),
    ("give the handler another `group` in its manifest", &[Code::InvalidGroupId]),
    (
        "set session.timeout.ms in [kafka.properties] within the broker's group.min.session.timeout.ms and \
             group.max.session.timeout.ms",
        &[Code::InvalidSessionTimeout],
    ),
    ("run fewer hosts, or raise the broker's group.max.size", &[Code::GroupMaxSizeReached]),
    ("give each broker the listener that the others have (advertised.listeners)", &[Code::ListenerNotFound]),
];

/// The meaning of a code; none for one that a newer librdkafka has and these tables do not.
pub(super) fn meaning(code: Code) -> Option<Meaning> {
    let of_table = TABLE.iter().find(|(_, codes)| codes.contains(&code)).map(|(meaning, _)| *meaning);
    of_table.or_else(|| {
        let remedy = REMEDIES.iter().find(|(_, codes)| codes.contains(&code));
        remedy.map(|(remedy, _)| Meaning::Operator(remedy))
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    /// All that the crate has, by the numbers of librdkafka's own enumeration.
    fn all_codes() -> Vec<Code> {
        (-300..=1_000).filter_map(|number| RDKafkaRespErr::try_from(number).ok()).map(Code::from).collect()
    }

    #[test]
    fn every_code_has_a_meaning_that_was_chosen_for_it_in_one_place() {
        let codes = all_codes();
        assert!(codes.len() > 150, "{} codes", codes.len());
        let of_table = TABLE.iter().flat_map(|(_, codes)| codes.iter());
        let chosen: Vec<Code> =
            of_table.chain(REMEDIES.iter().flat_map(|(_, codes)| codes.iter())).copied().collect();
        for code in codes {
            assert_eq!(chosen.iter().filter(|other| **other == code).count(), 1, "meanings of {code:?}");
        }
    }

    #[test]
    fn what_kafka_calls_retriable_is_neither_the_records_fault_nor_an_operators() {
        // As org.apache.kafka.common.protocol.Errors has them.
        for code in [
            Code::LeaderNotAvailable,
            Code::NotLeaderForPartition,
            Code::RequestTimedOut,
            Code::NetworkException,
            Code::CoordinatorLoadInProgress,
            Code::CoordinatorNotAvailable,
            Code::NotCoordinator,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::NotController,
            Code::KafkaStorageError,
            Code::FetchSessionIdNotFound,
            Code::InvalidFetchSessionEpoch,
            Code::ListenerNotFound,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::OffsetNotAvailable,
            Code::EligibleLeadersNotAvailable,
            Code::UnstableOffsetCommit,
            Code::ThrottlingQuotaExceeded,
            Code::ConcurrentTransactions,
        ] {
            let meaning = meaning(code).unwrap();
            let waits = matches!(
                meaning,
                Meaning::Outage | Meaning::Passing | Meaning::Partition | Meaning::Operator(_)
            );
            assert!(waits, "{code:?} is {meaning:?}");
        }
    }

    #[test]
    fn the_page_of_errors_has_every_remedy() {
        let page = include_str!("../../../docs/errors.md");
        for (remedy, codes) in REMEDIES {
            assert!(page.contains(remedy), "{codes:?}: {remedy}");
        }
    }

    #[test]
    fn what_an_operator_chose_wrongly_kills_no_record() {
        for code in [
            Code::UnsupportedCompressionType,
            Code::UnsupportedForMessageFormat,
            Code::ClusterAuthorizationFailed,
            Code::SaslAuthenticationFailed,
            Code::UnsupportedVersion,
        ] {
            assert!(matches!(meaning(code), Some(Meaning::Operator(_))), "{code:?}");
        }
    }
}
