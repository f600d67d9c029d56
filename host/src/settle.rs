//! The one transaction that ends deliveries: rows, state, emitted messages and dead letters, fenced by the tokens of
//! their lanes. Records that were handled before they had a row get it here, and the offset moves with them. All of
//! it commits or nothing does.
//!
//! Locks are taken in one order: lanes, offset rows, ready rows by (lane, seq), held rows by (lane, seq), rows that are
//! to be held by (lane, seq), state by name. Effects are written only for rows that were still pending as they were
//! called, or are new. What a lane's row counts is written last of what concerns it, in the order of lanes.

mod attempt;
mod block;
mod dead_letter;
mod duplicates;
mod effects;
mod fresh;
mod reads;
mod rows;
mod settlement;
mod spill;
mod state;
mod transaction;
mod with_sql;
mod write;

pub(crate) use dead_letter::{DeadLetter, write_dead_letters};
pub(crate) use duplicates::Dropped;
pub(crate) use effects::Effects;
pub(crate) use state::{Scope, StateError, StateView};
pub(crate) use transaction::{Settled, Settler, settle};
pub(crate) use with_sql::{SettledWithSql, settle_with_sql};
