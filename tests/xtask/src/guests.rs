//! Builds the WebAssembly components: the example handlers and the fixtures of the tests. Each set is a
//! workspace of its own; they share one target folder, where the tests look for them.

use crate::run::{Result, command, finish};

const TARGET: &str = "target/guests";
/// A second build of one handler that behaves differently, to replace it while messages flow.
const SECOND_EDITION_TARGET: &str = "target/guests-second-edition";

/// Builds the guests: afterwards `target/guests/wasm32-wasip2/release/*.wasm` are current.
pub(crate) fn build() -> Result {
    cargo("handlers/Cargo.toml", TARGET, &[])?;
    cargo("tests/guests/Cargo.toml", TARGET, &[])?;
    let second = ["-p", "invoice", "--features", "second-edition"];
    cargo("handlers/Cargo.toml", SECOND_EDITION_TARGET, &second)
}

fn cargo(manifest: &str, target: &str, more: &[&str]) -> Result {
    let args =
        ["build", "--release", "--target", "wasm32-wasip2", "--manifest-path", manifest, "--target-dir"];
    let mut build = command("cargo", &args)?;
    build.arg(target).args(more);
    // Flags meant for this machine's own programs do not fit the guests.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    finish(build)
}
