//! Floors: the least that must be done for the same result, in the best form known, with nothing for
//! failures, restarts or a second process.

pub(crate) mod consumer;
pub(crate) mod drain;
pub(crate) mod handled;
pub(crate) mod relay;
