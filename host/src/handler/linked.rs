//! A component with its imports linked, and an instance's exports: whatever contract it was written for takes the
//! same messages and gives the same ends.

use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::bindings::messaging::{Messages as Wasi, MessagesPre as WasiPre, wasi::messaging::types as wasi};
use super::bindings::wasmcloud::wasmcloud::messaging::types::BrokerMessage;
use super::bindings::wasmcloud::{Messages as Wasmcloud, MessagesPre as WasmcloudPre};
use super::bindings::{SqlHandler, SqlHandlerPre};
use super::guest::Guest;
use super::imports::messaging::HeldMessage;
use super::imports::wasmcloud::reply_to;
use super::refused::Refused;
use super::reply::Failure;
use super::subscription::Subscription;
use super::translate;
use super::world::Contract;
use crate::config::Form;
use crate::message::Message;
use crate::pipeline::outcome::Outcome;

/// Ready to be instantiated.
pub(super) enum Linked {
    Mailroom(SqlHandlerPre<Guest>),
    Wasmcloud(WasmcloudPre<Guest>),
    Wasi(WasiPre<Guest>),
}

/// Exports of an instance.
pub(super) enum Exports {
    Mailroom(SqlHandler),
    Wasmcloud(Wasmcloud),
    Wasi(Wasi),
}

impl Linked {
    /// Finds the contract's exports in the component.
    pub(super) fn new(contract: Contract, pre: InstancePre<Guest>) -> Result<Self, Refused> {
        let draft = |contract, folder| {
            move |error: wasmtime::Error| Refused::WrongDraft { contract, why: format!("{error:#}"), folder }
        };
        match contract {
            Contract::Mailroom => SqlHandlerPre::new(pre)
                .map(Self::Mailroom)
                .map_err(|error| Refused::WrongExport(format!("{error:#}"))),
            Contract::Wasmcloud => WasmcloudPre::new(pre)
                .map(Self::Wasmcloud)
                .map_err(draft("wasmcloud:messaging@0.2.0", "wit/deps/wasmcloud-messaging")),
            Contract::Wasi => WasiPre::new(pre)
                .map(Self::Wasi)
                .map_err(draft("wasi:messaging@0.2.0-draft", "wit/deps/messaging")),
        }
    }

    /// Makes an instance, whose start runs.
    pub(super) async fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Exports> {
        Ok(match self {
            Self::Mailroom(pre) => Exports::Mailroom(pre.instantiate_async(store).await?),
            Self::Wasmcloud(pre) => Exports::Wasmcloud(pre.instantiate_async(store).await?),
            Self::Wasi(pre) => Exports::Wasi(pre.instantiate_async(store).await?),
        })
    }
}

impl Exports {
    /// Asks what it takes. Contracts other than ours have no word for that: the manifest says it.
    pub(super) async fn subscriptions(
        &self,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<Vec<Subscription>> {
        let Self::Mailroom(exports) = self else { return Ok(Vec::new()) };
        let said = exports.mailroom_contract_handler().call_subscriptions(store).await?;
        Ok(said.into_iter().map(Subscription::from).collect())
    }

    /// Has it handle one message.
    pub(super) async fn handle(
        &self,
        store: &mut Store<Guest>,
        message: &Message,
        form: Form,
    ) -> wasmtime::Result<Result<Outcome, Failure>> {
        match self {
            Self::Mailroom(exports) => {
                let delivery = translate::to_guest(message, form);
                let reply = exports.mailroom_contract_handler().call_handle(store, &delivery).await?;
                Ok(translate::to_host(reply))
            }
            Self::Wasmcloud(exports) => {
                store.data_mut().in_hand.key.clone_from(&message.key);
                let delivery = BrokerMessage {
                    subject: message.topic.to_string(),
                    body: message.payload.clone().unwrap_or_default(),
                    reply_to: reply_to(&message.headers),
                };
                let reply =
                    exports.wasmcloud_messaging_handler().call_handle_message(store, &delivery).await?;
                Ok(completed(reply))
            }
            Self::Wasi(exports) => {
                let guest = store.data_mut();
                guest.in_hand.key.clone_from(&message.key);
                let delivery = guest.hold(HeldMessage::delivered(message))?;
                let reply = exports.wasi_messaging_incoming_handler().call_handle(store, delivery).await?;
                Ok(completed(reply.map_err(words)))
            }
        }
    }
}

/// An error is a failure: it costs an attempt, and the message comes again.
fn completed(reply: Result<(), String>) -> Result<Outcome, Failure> {
    reply.map(|()| Outcome::Completed).map_err(Failure::new)
}

fn words(error: wasi::Error) -> String {
    match error {
        wasi::Error::Timeout => "timeout".to_owned(),
        wasi::Error::Connection(why) => format!("connection: {why}"),
        wasi::Error::PermissionDenied(why) => format!("permission denied: {why}"),
        wasi::Error::Other(why) => why,
    }
}
