//! The inbox table: reading what an owner left behind, holding what memory has no room for. Rows are written by
//! `settle`.

mod attempts;
mod beginning;
pub(crate) mod browse;
mod held;
mod read;
mod seqs;

pub(crate) use attempts::failed_attempts;
pub(crate) use beginning::{mark_begun, mark_lone};
pub(crate) use held::{Standing, hold, let_go, standing};
pub(crate) use read::{Found, read};
pub(crate) use seqs::draw;
