//! Components, which are strangers' files: damaged ones, and some that are none.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::TIME;
use crate::config::{HandlerName, Manifest};
use crate::handler::tests::{config, guest, settings};
use crate::handler::{Engine, EngineSettings, Wasm};

struct Loader {
    runtime: Runtime,
    engine: Arc<Engine>,
    name: HandlerName,
    manifest: Arc<Manifest>,
    good: Vec<u8>,
}

/// Damage to a good component: bytes that become others, bytes that come in, bytes that are left out.
type Damage = (Vec<(u32, u8)>, Option<(u32, Vec<u8>)>, Option<(u32, u16)>);

const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

impl Loader {
    fn new() -> Self {
        let limits = "[limits]\nfuel = 10000000\ndeadline = \"1s\"\n";
        let runtime = Runtime::new().unwrap();
        let settings = EngineSettings { memory_max: 64 << 20, ..settings(1) };
        Self {
            engine: Engine::new(settings, runtime.handle().clone()).unwrap(),
            runtime,
            name: HandlerName::parse("fuzzed").unwrap(),
            manifest: Arc::new(Manifest::parse(limits, &config()).unwrap()),
            good: guest("noop"),
        }
    }

    fn load(&self, wasm: Vec<u8>) -> Result<(), String> {
        let loaded = self.engine.load(&self.name, Wasm::new(wasm), Arc::clone(&self.manifest));
        self.runtime.block_on(loaded).map(drop).map_err(|refused| refused.to_string())
    }

    fn damaged(&self, (others, more, fewer): &Damage) -> Vec<u8> {
        let mut wasm = self.good.clone();
        let place = |at: u32, wasm: &[u8]| usize::try_from(at).unwrap_or(0) % wasm.len();
        for (at, byte) in others.iter().take(4) {
            let at = place(*at, &wasm);
            wasm[at] = *byte;
        }
        if let Some((at, bytes)) = more {
            let at = place(*at, &wasm);
            wasm.splice(at..at, bytes.iter().copied());
        }
        if let Some((at, length)) = fewer {
            let at = place(*at, &wasm);
            let end = wasm.len().min(at + usize::from(*length));
            wasm.drain(at..end);
        }
        wasm
    }
}

#[test]
fn a_damaged_component_is_loaded_or_refused_and_the_next_one_loads() {
    let loader = std::panic::AssertUnwindSafe(Loader::new());
    let loader = &loader;
    bolero::check!().with_test_time(TIME).with_type::<(Damage, Vec<u8>)>().for_each(|(damage, bytes)| {
        let loader: &Loader = loader;
        let wasm = [PREAMBLE, bytes.as_slice()].concat();
        assert!(loader.load(wasm).is_err(), "nothing so short has the handler's export");
        if let Err(refused) = loader.load(loader.damaged(damage)) {
            assert!(!refused.contains("restart the host"), "{refused}");
        }
    });
    loader.load(loader.good.clone()).unwrap();
}
