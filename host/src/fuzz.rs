//! Fuzz targets: whatever comes from outside is an answer or a refusal, and never a panic. In an ordinary
//! run of the tests each target has a few seconds; `cargo xtask fuzz` gives it more. A failure prints the
//! input, made small, and the seed that brings it back (`BOLERO_RANDOM_SEED`). What is found becomes a
//! test beside the code.

mod answers;
mod config;
mod decoding;
mod headers;
mod loader;
mod manifests;
mod record;
mod settings;
mod subscriptions;
mod terminal;

use std::time::Duration;

/// Time that a target runs where `BOLERO_RANDOM_TEST_TIME_MS` does not say otherwise.
const TIME: Duration = Duration::from_secs(5);
