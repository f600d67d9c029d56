//! What becomes of a message: the handler is called, its end is judged, the verdict goes to settle.
//!
//! Deciding is pure: no clock, no IO, no chance but what is passed in.

pub(crate) mod backoff;
pub(crate) mod breaker;
pub(crate) mod decide;
pub(crate) mod outcome;
