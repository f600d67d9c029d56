//! Real guests in a real engine, without servers. `cargo xtask guests` builds them.

mod calls;
mod compiled;
mod keyvalue;
mod limits;
mod loading;
mod native;
mod reload;
mod reuse;
mod wasi;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use uuid::Uuid;

use super::compile::Wasm;
use super::refused::Refused;
use super::{Component, Engine, EngineSettings};
use crate::config::{Config, Form, HandlerName, Manifest, Servers};
use crate::message::Message;
use crate::pipeline::outcome::{Called, End, Fault, Outcome};
use crate::settle::StateView;

/// A manifest with all that the fixtures ask for.
const GRANTED: &str = "[grants]\npublish = [\"out\"]\nstate = true\n";

fn guest_path(name: &str) -> PathBuf {
    let built = option_env!("MAILROOM_GUESTS")
        .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guests/wasm32-wasip2/release"));
    let found =
        [name.to_owned(), name.replace('-', "_")].map(|stem| Path::new(built).join(format!("{stem}.wasm")));
    let missing = || panic!("there is no {name}.wasm in {built}: run `cargo xtask guests`");
    found.into_iter().find(|path| path.exists()).unwrap_or_else(missing)
}

pub(crate) fn guest(name: &str) -> Vec<u8> {
    std::fs::read(guest_path(name)).unwrap()
}

pub(crate) fn config() -> Config {
    Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().0
}

/// Returns settings without a store of compiled code.
pub(crate) fn settings(instances_max: usize) -> EngineSettings {
    let config = config();
    EngineSettings { compiled: None, ..EngineSettings::of(&config.host, &config.limits, instances_max) }
}

fn engine() -> Arc<Engine> {
    Engine::new(settings(4), Handle::current()).unwrap()
}

async fn load(guest_name: &str, manifest: &str) -> Result<Component, Refused> {
    load_bytes(guest(guest_name), manifest).await
}

async fn load_bytes(wasm: Vec<u8>, manifest: &str) -> Result<Component, Refused> {
    let manifest = Manifest::parse(manifest, &config()).unwrap();
    let name = HandlerName::parse("fixture").unwrap();
    engine().load(&name, Wasm::new(wasm), Arc::new(manifest)).await
}

pub(crate) fn message(payload: &str) -> Message {
    Message {
        seq: 1,
        lane: 0,
        okey: None,
        id: Uuid::now_v7(),
        message_id: "m-1".to_owned(),
        consumer_group: "mailroom.fixture".into(),
        topic: "scripted".into(),
        partition: 0,
        offset: 7,
        source: "scripted".to_owned(),
        event_type: "scripted".to_owned(),
        schema_version: None,
        key: Some(b"k".to_vec()),
        payload: Some(payload.as_bytes().to_vec()),
        content_type: None,
        headers: Vec::new(),
        produced_at_ms: 0,
        trace_id: None,
        traceparent: None,
        correlation_id: None,
        causation_id: None,
        idempotency_key: None,
        attempts_made: 1,
        attempts_max: 6,
        deliveries: 2,
        crashes: 0,
        begun: false,
    }
}

fn no_state() -> StateView {
    StateView::new(None, "mailroom.fixture".into(), Some(b"k".to_vec()))
}

async fn call(component: &Component, script: &str) -> Called {
    component.call(&message(script), Form::Binary, no_state()).await
}

/// Loads the scripted guest with all grants and calls it once.
async fn run(script: &str, limits: &str) -> Called {
    let component = load("scripted", &format!("{GRANTED}[limits]\n{limits}")).await.unwrap();
    call(&component, script).await
}

fn fault(called: Called) -> Fault {
    assert!(called.outgoing.is_empty(), "a fault has no effects");
    match called.end {
        End::Faulted(fault) => fault,
        end @ (End::Decided(_) | End::Unavailable(_) | End::NotCalled(_)) => panic!("{end:?} is no fault"),
    }
}

fn completed(called: &Called) -> bool {
    matches!(called.end, End::Decided(Outcome::Completed))
}
