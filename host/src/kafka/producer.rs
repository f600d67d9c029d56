//! The relay's producer: idempotent, pipelined, one delivery report a record, told apart by a ticket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as RdKafkaError;
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, PurgeConfig,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::login::Login;
use super::voice;
use super::{KafkaError, client};
use crate::config;
use crate::message::{Header, HeaderName};

/// Length of a poll for delivery reports; one that comes ends the wait at once. The client spins through the
/// last millisecond of each, so that the tenth of a second of its own polling thread costs an idle host 1 %
/// of a core.
const POLL: Duration = Duration::from_millis(500);

/// A record with this time has none, to Kafka and to whoever reads it.
const NO_TIMESTAMP: i64 = -1;

/// A purge is a matter of milliseconds, unless the client hangs.
const PURGE_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks whether all reports of a purge were taken.
const REPORTS_POLL: Duration = Duration::from_millis(1);

/// Result of producing one record.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The number given to [`Producer::send`].
    pub(crate) ticket: usize,
    /// Partition and offset where the broker put it.
    pub(crate) result: Result<(i32, i64), KafkaError>,
}

struct Context {
    deliveries: mpsc::UnboundedSender<Delivery>,
    /// True from when Kafka refuses the login until it is renewed.
    is_refused: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        voice::log(level, facility, message);
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code.is_some_and(Login::is_refusal) {
            self.is_refused.store(true, Ordering::Relaxed);
        }
        voice::error(code, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: usize) {
        let result = match report {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(KafkaError::new("publishing")(error.clone())),
        };
        // A relay that is gone has no use for it: its rows are not marked, and are published again.
        if self.deliveries.send(Delivery { ticket, result }).is_err() {
            tracing::trace!(ticket, "A delivery report came after the relay ended");
        }
    }
}

/// The producer. After an outage longer than the publish timeout it has to be made anew: the gapless
/// guarantee makes the timeout of one record fatal for the producer.
pub(crate) struct Producer {
    inner: Arc<BaseProducer<Context>>,
    _polling: Polling,
}

/// The thread that takes delivery reports and renews the login, until this is dropped.
struct Polling {
    ended: Arc<AtomicBool>,
}

impl Polling {
    fn start(producer: Arc<BaseProducer<Context>>, login: Login) -> Result<Self, KafkaError> {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let poll = move || {
            while !end.load(Ordering::Relaxed) {
                producer.poll(POLL);
                if producer.context().is_refused.swap(false, Ordering::Relaxed) {
                    login.renew(producer.client().native_ptr());
                }
            }
        };
        thread::Builder::new().name("delivery-report".to_owned()).spawn(poll).map_err(|error| {
            KafkaError::new("making the producer")(RdKafkaError::ClientCreation(error.to_string()))
        })?;
        Ok(Self { ended })
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// A record to publish.
#[derive(Debug)]
pub(crate) struct Outbound<'r> {
    pub(crate) topic: &'r str,
    pub(crate) key: Option<&'r [u8]>,
    pub(crate) payload: Option<&'r [u8]>,
    pub(crate) headers: &'r [Header],
    /// True if it gets the time of now; else it has none.
    pub(crate) timestamp: bool,
}

impl Producer {
    /// Makes a producer whose delivery reports go to `deliveries`.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub(crate) fn new(
        kafka: &config::Kafka,
        publish_timeout: Duration,
        deliveries: mpsc::UnboundedSender<Delivery>,
    ) -> Result<Self, KafkaError> {
        let inner = client::producer(kafka, publish_timeout)
            .create_with_context(Context { deliveries, is_refused: AtomicBool::new(false) })
            .map_err(KafkaError::new("making the producer"))?;
        let inner = Arc::new(inner);
        Ok(Self { _polling: Polling::start(Arc::clone(&inner), Login::of(kafka))?, inner })
    }

    /// Hands a record over; its delivery report comes with the ticket.
    pub(crate) fn send(&self, ticket: usize, outbound: &Outbound<'_>) -> Result<(), KafkaError> {
        let mut record = BaseRecord::with_opaque_to(outbound.topic, ticket);
        if let Some(key) = outbound.key {
            record = record.key(key);
            if key.is_empty() {
                // The client's partitioner takes it for no key, and would scatter what has an order.
                record = record.partition(0);
            }
        }
        if !outbound.timestamp {
            record = record.timestamp(NO_TIMESTAMP);
        }
        if let Some(payload) = outbound.payload {
            record = record.payload(payload);
        }
        let mut headers = OwnedHeaders::new_with_capacity(outbound.headers.len());
        for header in outbound.headers {
            if let HeaderName::Text(name) = &header.name {
                headers = headers.insert(KafkaHeader { key: name, value: header.value.as_deref() });
            }
        }
        self.inner.send(record.headers(headers)).map_err(|(error, _)| KafkaError::new("publishing")(error))
    }

    /// Ends it at once, records in flight too: none of them may follow a successor later. Once this is done its
    /// reports are there, of what was acknowledged and of what was purged.
    pub(crate) async fn purge(self) {
        let inner = Arc::clone(&self.inner);
        let reported = async move {
            let purging = tokio::task::spawn_blocking(move || {
                inner.purge(PurgeConfig::default().queue().inflight());
                inner
            });
            if let Ok(inner) = purging.await {
                // Counted until its report was taken.
                while inner.in_flight_count() > 0 {
                    sleep(REPORTS_POLL).await;
                }
            }
        };
        if timeout(PURGE_WITHIN, reported).await.is_err() {
            tracing::debug!("The producer did not end in time");
        }
        // The client itself ends with its thread, after a last poll that nobody waits for.
    }
}
