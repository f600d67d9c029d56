//! What becomes of a message: how its call ended is judged, and the verdict goes to the settlement.
//!
//! Deciding is pure: no clock, no IO, no chance but what is passed in. A verdict holds a delay, never an instant:
//! Postgres adds it to its own clock.

pub mod backoff;
pub mod breaker;
pub mod decide;
pub mod outcome;
mod policy;

pub use policy::{Ack, BehindDead, Blocking, BreakerPolicy, RetryPolicy};
