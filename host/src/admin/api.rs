//! The JSON API: the answers of the command line's `--json`, and the changes that operators make.

mod input;
mod read;
mod write;

pub(super) use input::{LetterQuery, MessageQuery};
pub(super) use read::{
    audit, blocked_keys, dead_letter, dead_letter_groups, dead_letters, handlers, inbox, inbox_message,
    openapi, outbox, outbox_message, status,
};
pub(super) use write::{discard, edit, pause, replay, reset, resume};
