//! A producer with transactions.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::Message;

const LIMIT: Duration = Duration::from_secs(20);

/// A transaction that stays open until it is committed or aborted.
pub struct OpenTransaction(BaseProducer);

impl OpenTransaction {
    /// Sends the messages in a transaction. Headers are left out.
    pub(super) fn with(brokers: &str, messages: &[Message]) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("transactional.id", uuid::Uuid::now_v7().to_string());
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(LIMIT)?;
        producer.begin_transaction()?;
        for message in messages {
            let record =
                BaseRecord::<[u8], [u8]>::to(&message.topic).key(message.key.as_deref().unwrap_or_default());
            let record = record.payload(message.payload.as_deref().unwrap_or_default());
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(LIMIT)?;
        Ok(Self(producer))
    }

    /// Commits it.
    ///
    /// # Errors
    /// The broker's own.
    pub async fn commit(self) -> Result<()> {
        tokio::task::spawn_blocking(move || Ok(self.0.commit_transaction(LIMIT)?)).await?
    }

    /// Aborts it: its records and the marker behind them take offsets, and no consumer that reads what is committed gets
    /// any of them.
    ///
    /// # Errors
    /// The broker's own.
    pub fn abort(self) -> Result<()> {
        Ok(self.0.abort_transaction(LIMIT)?)
    }
}

impl fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenTransaction").finish()
    }
}
