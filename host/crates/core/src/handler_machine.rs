//! The machine of one handler in one session: which lanes it works on, what it starts, reads and settles.
//!
//! [`HandlerMachine::on`] takes what happened, [`HandlerMachine::commands`] gives what is to be done about it. Whoever
//! executes the commands feeds back what came of each. The machine must not know how that is done.

pub mod command;
pub mod event;
pub mod version;
