//! `wasi:messaging`: a topic is a topic, and metadata are headers of text.

use wasmtime::component::Resource;
use wasmtime_wasi::WasiView as _;

use super::wasmcloud::{NO_REPLIES, reply_to};
use crate::handler::bindings::messaging::wasi::messaging::types::{self, Error, MetadataError};
use crate::handler::bindings::messaging::wasi::messaging::{producer, request_reply};
use crate::handler::effects::PublishError;
use crate::handler::guest::Guest;
use crate::message::{Header, Message};

/// Cost of a pair of metadata to the host beside its words, in bytes.
const PAIR_BYTES: usize = 48;

/// The way to Kafka, of which there is one.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code gives it out again as `pub`")]
pub struct Client;

/// Options of a request, none of which is ever sent.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code gives it out again as `pub`")]
pub struct RequestOptions;

/// A message that the guest was given, or made.
#[derive(Debug, Clone, Default)]
#[expect(unreachable_pub, reason = "generated code gives it out again as `pub`")]
pub struct HeldMessage {
    topic: Option<String>,
    content_type: Option<String>,
    data: Vec<u8>,
    metadata: Vec<(String, String)>,
    /// Bytes of it that count against what the guest may hold.
    counted: u64,
}

/// Ends a guest that holds more messages than one call may emit.
#[derive(Debug, thiserror::Error)]
#[error("it holds messages of more than {0} bytes in all, limits.output-bytes")]
pub(in crate::handler) struct HoldsTooMuch(u64);

impl HeldMessage {
    /// The message in hand. Headers that are no text are left out.
    pub(in crate::handler) fn delivered(message: &Message) -> Self {
        let text = |header: &Header| {
            let value = String::from_utf8(header.value.clone()?).ok()?;
            Some((header.name.to_string(), value))
        };
        Self {
            topic: Some(message.topic.to_string()),
            content_type: message.content_type.clone(),
            data: message.payload.clone().unwrap_or_default(),
            metadata: message.headers.iter().filter_map(text).collect(),
            counted: 0,
        }
    }

    fn bytes(&self) -> u64 {
        let pairs = self.metadata.iter().map(|(key, value)| PAIR_BYTES + key.len() + value.len());
        let content_type = self.content_type.as_ref().map_or(0, String::len);
        u64::try_from(self.data.len() + content_type + pairs.sum::<usize>()).unwrap_or(u64::MAX)
    }

    fn headers(&self) -> Vec<Header> {
        self.metadata.iter().map(|(key, value)| Header::text(key, value)).collect()
    }
}

impl Guest {
    /// Gives the guest a message to hold.
    pub(in crate::handler) fn hold(
        &mut self,
        message: HeldMessage,
    ) -> wasmtime::Result<Resource<HeldMessage>> {
        let message = self.ctx().table.push(message)?;
        self.in_hand.messages += 1;
        Ok(message)
    }

    /// Changes a message that the guest holds, and counts what it costs then.
    fn edit(
        &mut self,
        message: &Resource<HeldMessage>,
        edit: impl FnOnce(&mut HeldMessage),
    ) -> wasmtime::Result<()> {
        let held = self.ctx().table.get_mut(message)?;
        edit(held);
        let (before, after) = (held.counted, held.bytes());
        held.counted = after;
        self.in_hand.held = self.in_hand.held.saturating_sub(before).saturating_add(after);
        if self.in_hand.held > self.in_hand.held_max {
            return Err(HoldsTooMuch(self.in_hand.held_max).into());
        }
        Ok(())
    }

    /// Takes a message back.
    fn take_back(&mut self, message: Resource<HeldMessage>) -> wasmtime::Result<HeldMessage> {
        let held = self.ctx().table.delete(message)?;
        self.in_hand.messages -= 1;
        self.in_hand.held = self.in_hand.held.saturating_sub(held.counted);
        Ok(held)
    }

    async fn send_held(
        &mut self,
        topic: String,
        message: HeldMessage,
    ) -> wasmtime::Result<Result<(), Error>> {
        let headers = message.headers();
        let sent = self.publish_beside(topic, message.data, message.content_type, headers).await?;
        Ok(sent.map_err(|refused| match &refused {
            PublishError::NotGranted(why) => Error::PermissionDenied(why.clone()),
            PublishError::TooLarge(_)
            | PublishError::TooMany(_)
            | PublishError::Invalid(_)
            | PublishError::Unavailable(_) => Error::Other(refused.to_string()),
        }))
    }
}

impl types::Host for Guest {}

impl types::HostClient for Guest {
    async fn connect(&mut self, _name: String) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        Ok(Ok(self.ctx().table.push(Client)?))
    }

    async fn disconnect(&mut self, _client: Resource<Client>) -> wasmtime::Result<Result<(), Error>> {
        Ok(Ok(()))
    }

    async fn drop(&mut self, client: Resource<Client>) -> wasmtime::Result<()> {
        self.ctx().table.delete(client)?;
        Ok(())
    }
}

impl types::HostMessage for Guest {
    async fn new(&mut self, data: Vec<u8>) -> wasmtime::Result<Resource<HeldMessage>> {
        let message = self.hold(HeldMessage::default())?;
        self.edit(&message, |held| held.data = data)?;
        Ok(message)
    }

    async fn topic(&mut self, message: Resource<HeldMessage>) -> wasmtime::Result<Option<String>> {
        Ok(self.ctx().table.get(&message)?.topic.clone())
    }

    async fn content_type(&mut self, message: Resource<HeldMessage>) -> wasmtime::Result<Option<String>> {
        Ok(self.ctx().table.get(&message)?.content_type.clone())
    }

    async fn set_content_type(
        &mut self,
        message: Resource<HeldMessage>,
        content_type: String,
    ) -> wasmtime::Result<Result<(), ()>> {
        self.edit(&message, |held| held.content_type = Some(content_type))?;
        Ok(Ok(()))
    }

    async fn data(&mut self, message: Resource<HeldMessage>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.ctx().table.get(&message)?.data.clone())
    }

    async fn set_data(&mut self, message: Resource<HeldMessage>, data: Vec<u8>) -> wasmtime::Result<()> {
        self.edit(&message, |held| held.data = data)
    }

    async fn metadata(
        &mut self,
        message: Resource<HeldMessage>,
    ) -> wasmtime::Result<Option<Vec<(String, String)>>> {
        let metadata = &self.ctx().table.get(&message)?.metadata;
        Ok((!metadata.is_empty()).then(|| metadata.clone()))
    }

    async fn add_metadata(
        &mut self,
        message: Resource<HeldMessage>,
        key: String,
        value: String,
    ) -> wasmtime::Result<Result<(), MetadataError>> {
        self.edit(&message, |held| {
            held.metadata.retain(|(other, _)| *other != key);
            held.metadata.push((key, value));
        })?;
        Ok(Ok(()))
    }

    async fn set_metadata(
        &mut self,
        message: Resource<HeldMessage>,
        metadata: Vec<(String, String)>,
    ) -> wasmtime::Result<Result<(), MetadataError>> {
        self.edit(&message, |held| held.metadata = metadata)?;
        Ok(Ok(()))
    }

    async fn remove_metadata(
        &mut self,
        message: Resource<HeldMessage>,
        key: String,
    ) -> wasmtime::Result<Result<(), MetadataError>> {
        self.edit(&message, |held| held.metadata.retain(|(other, _)| *other != key))?;
        Ok(Ok(()))
    }

    async fn drop(&mut self, message: Resource<HeldMessage>) -> wasmtime::Result<()> {
        self.take_back(message).map(drop)
    }
}

impl producer::Host for Guest {
    async fn send(
        &mut self,
        _client: Resource<Client>,
        topic: String,
        message: Resource<HeldMessage>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let message = self.take_back(message)?;
        self.send_held(topic, message).await
    }
}

impl request_reply::Host for Guest {
    async fn request(
        &mut self,
        _client: Resource<Client>,
        _topic: String,
        _message: Resource<HeldMessage>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Result<Vec<Resource<HeldMessage>>, Error>> {
        if let Some(options) = options {
            self.ctx().table.delete(options)?;
        }
        Ok(Err(Error::Other(NO_REPLIES.to_owned())))
    }

    async fn reply(
        &mut self,
        to: Resource<HeldMessage>,
        message: Resource<HeldMessage>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let message = self.take_back(message)?;
        match reply_to(&self.ctx().table.get(&to)?.headers()) {
            Some(topic) => self.send_held(topic, message).await,
            None => Ok(Err(Error::Other("the message has no header reply-to".to_owned()))),
        }
    }
}

impl request_reply::HostRequestOptions for Guest {
    async fn new(&mut self) -> wasmtime::Result<Resource<RequestOptions>> {
        Ok(self.ctx().table.push(RequestOptions)?)
    }

    async fn set_timeout_ms(
        &mut self,
        _options: Resource<RequestOptions>,
        _timeout_ms: u32,
    ) -> wasmtime::Result<()> {
        Ok(())
    }

    async fn set_expected_replies(
        &mut self,
        _options: Resource<RequestOptions>,
        _expected_replies: u32,
    ) -> wasmtime::Result<()> {
        Ok(())
    }

    async fn drop(&mut self, options: Resource<RequestOptions>) -> wasmtime::Result<()> {
        self.ctx().table.delete(options)?;
        Ok(())
    }
}
