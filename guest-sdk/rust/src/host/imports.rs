//! The imports of a component. Nothing is added to them, so that a handler imports only what it uses.

pub(crate) use crate::bindings::config::wasi::config::store::{get as config_get, get_all as config_all};
pub(crate) use crate::bindings::logging::wasi::logging::logging::log;
pub(crate) use crate::bindings::mailroom::contract::outbox::publish;
pub(crate) use crate::bindings::mailroom::contract::state::{
    get as state_get, names as state_names, remove as state_remove, set as state_set,
};
pub(crate) use crate::bindings::sql::mailroom::contract::sql::{execute, query};
pub(crate) use crate::http::exchange::exchange;
