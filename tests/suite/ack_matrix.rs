//! The acknowledgement matrix: how often a message may be handed over, which offset Kafka is told, and how messages
//! are settled, each with each. Every cell is a handler with a topic of its own, and all cells are in one host.

mod plan;
mod cells;
mod endings;
mod offsets;
mod kills;

/// Nobody is taken for dead, no answer is given up and no call waits in vain for a connection, so that a call is
/// repeated only where its end asks for it.
const STEADY: &[(&str, &str)] = &[
    ("MAILROOM__HOST__EXPIRY", "30s"),
    ("MAILROOM__LIMITS__DEADLINE", "10s"),
    ("MAILROOM__POSTGRES__CONNECTIONS_MAX", CONNECTIONS),
];

/// Number of connections: enough for a frozen statement of each message of each cell.
const CONNECTIONS: &str = "24";
