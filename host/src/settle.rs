//! The one transaction that ends a delivery: rows, state, emitted messages and dead letters, fenced by
//! the token of their lane. Records that were handled before they had a row get it here, and the offset moves
//! with them. All of it commits or nothing does.
//!
//! Locks are taken in one order: lanes, offset rows, inbox rows by (lane, seq), state by name. Effects are
//! written only for rows that were still pending as we left them, or are new.

mod attempt;
mod block;
mod dead_letter;
mod emit;
mod ending;
mod fresh;
mod reads;
mod rows;
mod state;
mod transaction;
mod with_sql;
mod write;

pub(crate) use dead_letter::{DeadLetter, write_dead_letters};
pub(crate) use fresh::{Advance, Fresh, FreshRow};
pub(crate) use state::{Scope, StateError, StateView};

pub(crate) use transaction::{Settled, Settlement, ToStore, Whose, settle};
pub(crate) use with_sql::{SettledWithSql, settle_with_sql};
