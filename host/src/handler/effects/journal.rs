//! Journal of a call: what it asked for, in order and with the answers, for the author, who wants to see what
//! is dropped and what is denied as well.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use super::Effects;
use crate::message::Outgoing;
use crate::settle::Scope;

/// One request of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A message was taken.
    Published(Box<Outgoing>),
    /// A message whose idempotency key was used before: nothing is emitted.
    Repeated {
        /// Topic to which it was to go.
        topic: String,
    },
    /// A state value was read.
    Read {
        /// Scope of the value.
        scope: Scope,
        /// Name of the value.
        name: String,
        /// `None` where there is none.
        value: Option<Vec<u8>>,
    },
    /// Names of state values were read.
    Listed {
        /// Scope of the values.
        scope: Scope,
        /// Prefix of their names.
        prefix: String,
        /// The answer.
        names: Vec<String>,
    },
    /// A state value was set, or removed.
    Written {
        /// Scope of the value.
        scope: Scope,
        /// Name of the value.
        name: String,
        /// `None` where it was removed.
        value: Option<Vec<u8>>,
    },
    /// A value of the configuration was read; it may be a secret.
    Config {
        /// Key under which it stands in the configuration.
        key: String,
        /// Length of its value.
        bytes: usize,
    },
    /// A line was logged.
    Logged {
        /// Level of the line.
        level: &'static str,
        /// Context and text.
        text: String,
    },
    /// An HTTP request was sent.
    Requested {
        /// Method and URL, without the query.
        request: String,
        /// The response's status, or what went wrong; empty where neither came within the call.
        answer: Arc<OnceLock<String>>,
    },
    /// The answer was no.
    Refused {
        /// Request that was made.
        request: String,
        /// The grant that is missing; `None` where the request itself or its size is the reason.
        grant: Option<&'static str>,
        /// Reason that the handler was given.
        why: String,
    },
}

impl Effects {
    /// Notes a request that has its answer, where somebody watches.
    pub(in crate::handler) fn note(&mut self, asked: impl FnOnce() -> Asked) {
        if let Some(journal) = &mut self.journal {
            journal.push(asked());
        }
    }
}

/// A request that was refused.
pub(in crate::handler) fn refused(
    request: impl Into<String>,
    grant: Option<&'static str>,
    why: &impl Display,
) -> Asked {
    Asked::Refused { request: request.into(), grant, why: why.to_string() }
}
