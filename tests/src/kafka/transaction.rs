//! A producer with transactions.

use std::time::Duration;

use anyhow::Result;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::Message;

const LIMIT: Duration = Duration::from_secs(20);

/// Sends the messages in a transaction and aborts it: they and the marker behind them take offsets, and no consumer that
/// reads what is committed gets any of them. Headers are left out.
pub(super) fn send_and_abort(brokers: &str, messages: &[Message]) -> Result<()> {
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
    Ok(producer.abort_transaction(LIMIT)?)
}
