//! The machines of delivery against models of their servers, in one thread: runs by seeds, shrinks what breaks a
//! promise.

mod arguments;
mod choices;
mod command_line;
mod coverage;
mod guest;
mod history;
mod host;
mod job;
mod kafka;
mod liveness;
mod model;
mod oracle;
mod postgres;
mod relay;
mod run;
mod setup;
mod shrink;
pub mod twin;
mod world;

pub use command_line::main;
