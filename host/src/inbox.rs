//! The inbox table: reading what lies there. Rows are written by `settle`, but
//! for what is noted before a call.

mod attempts;
mod beginning;
pub(crate) mod browse;
pub(crate) mod duplicates;
mod read;
mod seqs;
mod standing;

pub(crate) use attempts::{failed_attempts, failed_attempts_of_letter};
pub(crate) use beginning::{mark_begun, mark_came_back, mark_lone};
pub(crate) use read::{Origin, read_rows};
pub(crate) use seqs::draw;
pub(crate) use standing::{read_due, read_standing};
