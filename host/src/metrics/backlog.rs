//! Backlog of the whole database and of Kafka, looked at now and then: counting costs Postgres something, and
//! no reader of metrics makes it count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{GROUP, HANDLER, Metrics, STATE, TOPIC, definitions};
use crate::db::status::{self, Backlog};
use crate::db::{Db, DbError};
use crate::kafka::{LogEnds, Topics};

/// A look takes at most this part of the time, as one in so many: where counting is slow it is rarer.
const AT_MOST_ONE_IN: u32 = 20;

/// The loop that looks at what waits.
pub(crate) struct BacklogWatch {
    pub(crate) db: Db,
    pub(crate) topics: Topics,
    /// Addresses of Kafka, for people.
    pub(crate) brokers: String,
    /// Pause between two looks.
    pub(crate) every: Duration,
    pub(crate) metrics: Metrics,
}

/// Findings of one look.
struct Found {
    outbox: Backlog,
    inbox: Vec<Backlog>,
    /// Open dead letters by origin, handler and reason: codes are the handlers' own, and any number.
    letters: BTreeMap<(String, String, String), i64>,
    blocked_keys: Vec<(String, i64)>,
    /// Lags by consumer group and topic.
    lags: BTreeMap<(String, String), i64>,
}

/// The last look, `None` where it failed: an old number would be taken for one of now.
type Last = Arc<Mutex<Option<Arc<Found>>>>;

impl BacklogWatch {
    /// Looks until it is stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let last = Last::default();
        observe(&self.metrics, &last);
        loop {
            let began = Instant::now();
            let found = tokio::select! {
                () = stop.cancelled() => return,
                found = self.look() => found,
            };
            let found =
                found.inspect_err(|error| tracing::debug!(%error, "Counting what waits, for metrics"));
            *last.lock().unwrap_or_else(PoisonError::into_inner) = found.ok().map(Arc::new);
            let pause = self.every.max(began.elapsed() * (AT_MOST_ONE_IN - 1));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Each statement has the limit that commands of a host have, and all questions to Kafka together 5 seconds.
    async fn look(&self) -> Result<Found, DbError> {
        let reads = status::offsets(&self.db).await?;
        let ends = LogEnds::ask_by(&self.topics, &self.brokers, &status::partitions(&reads)).await;
        let mut lags: BTreeMap<(String, String), Option<i64>> = BTreeMap::new();
        for read in &reads {
            let lag = ends.lag(read).map(|lag| lag.max(0));
            let of_topic = lags.entry((read.consumer_group.clone(), read.topic.clone())).or_insert(Some(0));
            // The lag of some partitions would be taken for that of all.
            *of_topic = of_topic.zip(lag).map(|(sum, lag)| sum + lag);
        }
        let mut letters = BTreeMap::new();
        for death in status::deaths(&self.db).await? {
            let cause = (death.origin, death.handler.unwrap_or_default(), death.reason);
            *letters.entry(cause).or_insert(0) += death.letters;
        }
        Ok(Found {
            outbox: status::backlog_outbox(&self.db).await?,
            inbox: status::backlog_inbox(&self.db).await?,
            letters,
            blocked_keys: status::blocked_keys(&self.db).await?,
            lags: lags.into_iter().filter_map(|(of, lag)| Some((of, lag?))).collect(),
        })
    }
}

/// Has the last look told to whoever reads.
fn observe(metrics: &Metrics, last: &Last) {
    let of = |tell: fn(&Found, &dyn AsyncInstrument<f64>)| {
        let last = Arc::clone(last);
        move |gauge: &dyn AsyncInstrument<f64>| {
            let found = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(found) = found {
                tell(&found, gauge);
            }
        }
    };
    let meter = &metrics.0.meter;
    definitions::OUTBOX_PENDING.observed(meter, of(outbox_pending));
    definitions::OUTBOX_OLDEST_AGE.observed(meter, of(outbox_oldest_age));
    definitions::INBOX_PENDING.observed(meter, of(inbox_pending));
    definitions::INBOX_OLDEST_AGE.observed(meter, of(inbox_oldest_age));
    definitions::INBOX_LAG.observed(meter, of(inbox_lag));
    definitions::DEAD_LETTERS.observed(meter, of(dead_letters));
    definitions::KEYS_BLOCKED.observed(meter, of(keys_blocked));
}

fn outbox_pending(found: &Found, gauge: &dyn AsyncInstrument<f64>) {
    let outbox = &found.outbox;
    for (state, messages) in [("pending", outbox.pending), ("behind", outbox.behind)] {
        gauge.observe(number(messages), &[KeyValue::new(STATE, state)]);
    }
}

fn outbox_oldest_age(found: &Found, gauge: &dyn AsyncInstrument<f64>) {
    gauge.observe(found.outbox.oldest_secs.unwrap_or(0.0), &[]);
}

fn inbox_pending(found: &Found, gauge: &dyn AsyncInstrument<f64>) {
    for inbox in &found.inbox {
        for (state, messages) in
            [("pending", inbox.pending), ("waiting", inbox.waiting), ("behind", inbox.behind)]
        {
            gauge.observe(number(messages), &[group(inbox), KeyValue::new(STATE, state)]);
        }
    }
}

fn inbox_oldest_age(found: &Found, gauge: &dyn AsyncInstrument<f64>) {
    for inbox in &found.inbox {
        gauge.observe(inbox.oldest_secs.unwrap_or(0.0), &[group(inbox)]);
    }
}

fn inbox_lag(found: &Found, gauge: &dyn AsyncInstrument<f64>) {
    for ((group, topic), records) in &found.lags {
        let attributes = [KeyValue::new(GROUP, group.clone()), KeyValue::new(TOPIC, topic.clone())];
        gauge.observe(number(*records), &attributes);
    }
}

fn dead_letters(found: &Found, gauge: &dyn AsyncInstrument<f64>) {
    for ((origin, handler, reason), letters) in &found.letters {
        let attributes = [
            KeyValue::new("origin", origin.clone()),
            KeyValue::new(HANDLER, handler.clone()),
            KeyValue::new("reason", reason.clone()),
        ];
        gauge.observe(number(*letters), &attributes);
    }
}

fn keys_blocked(found: &Found, gauge: &dyn AsyncInstrument<f64>) {
    for (group, keys) in &found.blocked_keys {
        gauge.observe(number(*keys), &[KeyValue::new(GROUP, group.clone())]);
    }
}

fn group(inbox: &Backlog) -> KeyValue {
    KeyValue::new(GROUP, inbox.consumer_group.clone().unwrap_or_default())
}

/// A count as instruments take it.
fn number(count: i64) -> f64 {
    super::number(usize::try_from(count).unwrap_or(0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn backlog(consumer_group: Option<&str>) -> Backlog {
        Backlog {
            consumer_group: consumer_group.map(str::to_owned),
            lanes: 2,
            lanes_without_owner: 0,
            pending: 5,
            waiting: 1,
            behind: 3,
            at_least: false,
            oldest_secs: Some(1.5),
            oldest_owned_secs: None,
        }
    }

    /// Has something of everything told.
    pub(in crate::metrics) fn observe_something(metrics: &Metrics) {
        let group = "mailroom.idle".to_owned();
        let cause = ["inbox", "idle", "rejected"].map(str::to_owned);
        let found = Found {
            outbox: backlog(None),
            inbox: vec![backlog(Some(&group))],
            letters: BTreeMap::from([(cause.into(), 4)]),
            blocked_keys: vec![(group.clone(), 2)],
            lags: BTreeMap::from([((group, "orders".to_owned()), 9)]),
        };
        observe(metrics, &Arc::new(Mutex::new(Some(Arc::new(found)))));
    }

    #[test]
    fn a_look_that_failed_is_not_told() {
        let worker = crate::config::WorkerName::parse("a").unwrap();
        let metrics = Metrics::new(&worker).unwrap();
        let last = Last::default();
        observe(&metrics, &last);
        assert!(!metrics.text().unwrap().contains("mailroom_outbox_pending"));
    }
}
