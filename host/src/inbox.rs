//! The inbox table: storing what ingest read, reading what an owner left behind.

pub(crate) mod browse;
mod held;
mod lone;
mod read;
mod store;

pub(crate) use held::{Standing, hold, let_go, standing};
pub(crate) use lone::mark_lone;
pub(crate) use read::{Found, read};
pub(crate) use store::{Advance, Batch, NewRow, Stored, store};
