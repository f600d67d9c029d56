//! The dashboard: pages that are made here, whole, and need no script. What guests, records and operators say stands in
//! them as text: maud escapes all of it, and the content security policy lets nothing run.

mod forms;
mod handlers;
mod layout;
mod letter;
mod letters;
mod overview;
mod sign_in;
mod tables;
mod waiting;

pub(super) use forms::{discard, edit, pause, replay, reset, resume};
pub(super) use handlers::handlers;
pub(super) use layout::{refused, style};
pub(super) use letter::dead_letter;
pub(super) use letters::{dead_letter_groups, dead_letters};
pub(super) use overview::overview;
pub(super) use sign_in::{sign_in, signed_in, signed_out};
pub(super) use waiting::{audit, keys, outbox};
