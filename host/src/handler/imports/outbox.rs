//! `outbox`, as the contract words it.

use std::time::Duration;

use uuid::Uuid;

use crate::handler::bindings::mailroom::contract::outbox::{self, PublishError};
use crate::handler::effects::PublishError as Refusal;
use crate::handler::fault::HostUnavailable;
use crate::handler::guest::Guest;
use crate::handler::translate::bytes;
use crate::message::{Header, HeaderName, Outgoing};

impl outbox::Host for Guest {
    async fn publish(&mut self, message: outbox::Outgoing) -> wasmtime::Result<Result<String, PublishError>> {
        match self.effects.publish(to_host(message)).await {
            Ok(id) => Ok(Ok(id.to_string())),
            Err(Refusal::NotGranted(why)) => Ok(Err(PublishError::NotGranted(why))),
            Err(Refusal::TooLarge(limit)) => Ok(Err(PublishError::TooLarge(limit))),
            Err(Refusal::TooMany(limit)) => Ok(Err(PublishError::TooMany(limit))),
            Err(Refusal::Invalid(why)) => Ok(Err(PublishError::Invalid(why))),
            Err(Refusal::Unavailable(why)) => Err(HostUnavailable(why).into()),
        }
    }
}

/// Translates an outgoing message; its id is given to it where it is taken.
fn to_host(message: outbox::Outgoing) -> Outgoing {
    let header = |header: outbox::Header| Header {
        name: HeaderName::Text(header.name),
        value: header.value.map(bytes),
    };
    Outgoing {
        id: Uuid::nil(),
        topic: message.topic,
        event_type: message.event_type,
        key: message.key.map(bytes),
        payload: message.payload.map(bytes),
        content_type: message.content_type,
        headers: message.headers.into_iter().map(header).collect(),
        schema_version: message.schema_version,
        idempotency_key: message.idempotency_key,
        delay: message.delay_ms.map(Duration::from_millis),
    }
}
