//! Names by which the host knows how a call ended: the rules of `core`, and the outcome with what only the host can
//! hold. Nothing here calls or judges; `worker` does.

pub(crate) mod outcome;

pub(crate) use mailroom_core::verdict::{breaker, decide};
