//! Logins that are rotated: a client that Kafka refuses logs in with what the files of name and password say by then.

use rdkafka::bindings::rd_kafka_t;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::native;
use crate::config;

/// Login of a living client.
pub(super) struct Login(config::Kafka);

impl Login {
    pub(super) fn of(kafka: &config::Kafka) -> Self {
        Self(kafka.clone())
    }

    /// Tells whether an error says that the login was refused.
    pub(super) fn is_refusal(code: Code) -> bool {
        matches!(code, Code::Authentication | Code::SaslAuthenticationFailed)
    }

    /// Reads the files again, if there are any, for the client's next try, which comes by itself.
    pub(super) fn renew(&self, client: *mut rd_kafka_t) {
        if let Some((name, password)) = self.0.login()
            && let Err(problem) = native::log_in_as(client, name.expose(), password.expose())
        {
            tracing::debug!(problem, "Giving Kafka's client another login");
        }
    }
}
