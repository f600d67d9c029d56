//! Pipeline of a message: the handler is called, its end is judged, the verdict goes to settle.

pub(crate) mod outcome;

pub(crate) use mailroom_core::verdict::{breaker, decide};
