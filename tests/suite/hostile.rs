//! Guests that do their worst: each ends within its limits and under its own name, and nobody else notices.

mod answers;
mod at_load;
mod bytes;
mod in_calls;
mod keys;
mod outward;
mod stage;

/// Deadline long enough for a healthy call, so that what ends here would have had no end.
const SHORT: &str = "limits.deadline = \"300ms\"";
/// Fuel enough that a loop ends with its deadline.
const FUEL: &str = "limits.fuel = 1000000000000000";
