//! Values that the operator set in `[handler-config]` and that the manifest grants with `grants.config`, by
//! `wasi:config/store`. They stay the same while the host runs, and may be secrets.
//!
//! ```no_run
//! use mailroom_guest::config;
//!
//! # fn address() -> Result<String, config::ConfigError> {
//! let carrier = config::get("CARRIER")?;
//! # Ok(carrier)
//! # }
//! ```

use crate::bindings::config::wasi::config::store::Error;
use crate::host;

/// Reason why a value could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ConfigError {
    /// Reason in the host's words, which name the grant that is missing.
    pub reason: String,
}

/// The value of a key.
///
/// # Errors
/// Where the manifest does not grant the key.
pub fn get(key: &str) -> Result<String, ConfigError> {
    let value = host::config_get(key).map_err(refused)?;
    value.ok_or_else(|| ConfigError { reason: format!("the configuration key {key} has no value") })
}

/// All keys that are granted, with their values.
///
/// # Errors
/// Where there are none.
pub fn all() -> Result<Vec<(String, String)>, ConfigError> {
    host::config_all().map_err(refused)
}

fn refused(error: Error) -> ConfigError {
    match error {
        Error::Upstream(reason) | Error::Io(reason) => ConfigError { reason },
    }
}
