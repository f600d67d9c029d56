//! Judgement of messages: how a call ended is judged, and the verdict goes to the settlement.
//!
//! Deciding is pure: no clock, no IO, no chance but what is passed in. A verdict holds a delay, never an instant:
//! Postgres adds it to its own clock.

pub mod backoff;
pub mod breaker;
pub mod decide;
pub mod outcome;
mod policy;

/// A message that lost so many deliveries with their hosts runs alone from then on. No more are counted, but that of a
/// message which ran alone: its count goes beyond what any other reaches.
pub const LOST_MAX: u32 = 2;

/// Gives the words that a function of this source text gives.
#[cfg(test)]
fn words_of<'s>(source: &'s str, function: &str) -> Vec<&'s str> {
    let (_, body) = source.split_once(&format!("pub fn {function}(")).unwrap();
    let (body, _) = body.split_once("\n    }\n").unwrap();
    body.split('"').skip(1).step_by(2).collect()
}

pub use policy::{Ack, BehindDead, Blocking, BreakerPolicy, RetryPolicy};
