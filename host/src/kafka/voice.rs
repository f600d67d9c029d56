//! Log lines of librdkafka: its own are for those who debug it, and errors of a client as a
//! whole are told now and then, since it repeats them several times a second while a broker is away.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::error::Remedy;
use crate::reminder::REMIND_AFTER;

/// Errors that were told, and when: all clients of a process have the same Kafka, and each handler is two of them.
static TOLD: Mutex<Vec<(Option<RDKafkaErrorCode>, Instant)>> = Mutex::new(Vec::new());

/// A line of librdkafka's own log.
pub(super) fn log(level: impl std::fmt::Debug, facility: &str, message: &str) {
    tracing::debug!(?level, facility, "librdkafka: {message}");
}

/// An error of the client as a whole: a broker that is away, a login that is refused.
pub(super) fn error(code: Option<RDKafkaErrorCode>, reason: &str) {
    // That all are away follows from what was said of each.
    if code == Some(RDKafkaErrorCode::AllBrokersDown) {
        return;
    }
    let now = Instant::now();
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.retain(|(_, at)| now - *at < REMIND_AFTER);
    if !told.iter().any(|(known, _)| *known == code) {
        told.push((code, now));
        tracing::warn!("Kafka: {reason}{}", Remedy(code));
    }
}

/// A client whose errors its caller tells of.
#[derive(Debug)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
    }

    // Would go to the log otherwise, thousands of bytes each.
    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Quiet {}
