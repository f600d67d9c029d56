//! librdkafka's mock cluster, for `mailroom dev` where there is no Apache Kafka: one broker in this
//! process, which speaks Kafka's protocol on the loopback interface and keeps everything in memory. It
//! keeps no promise of Kafka's, so nothing but `mailroom dev` may use it.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::{KafkaError, native};

/// A running mock cluster. Dropping it ends it, and its messages are gone.
pub(crate) struct MockKafka {
    brokers: String,
    /// Owns the cluster; nothing is sent with it.
    _owner: BaseProducer,
}

impl MockKafka {
    /// Description of what it does otherwise than Kafka, for whoever is about to use it.
    pub(crate) const LIMITS: &str = "It guarantees nothing: of each partition it keeps the last 5 MiB \
        or 100,000 messages, transactions on it are none, and it forgets everything when it stops. A \
        topic is made on first use, with 4 partitions; there is no other way to make or change one.";

    /// Properties that its clients should be given: it lets a group wait for nearly a session's length
    /// whenever a member comes or goes.
    pub(crate) const PROPERTIES: [(&str, &str); 2] =
        [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "300")];

    /// Starts it on a free port.
    pub(crate) fn start() -> Result<Self, KafkaError> {
        let mut client = ClientConfig::new();
        client.set("test.mock.num.brokers", "1").set_log_level(RDKafkaLogLevel::Error);
        let owner: BaseProducer = client.create().map_err(KafkaError::new("starting a mock cluster"))?;
        let brokers =
            owner.client().mock_cluster().map(|cluster| cluster.bootstrap_servers()).unwrap_or_default();
        native::mend_mock_cluster(owner.client().native_ptr());
        Ok(Self { brokers, _owner: owner })
    }

    /// Returns its address, as `kafka.brokers` takes it.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }
}
