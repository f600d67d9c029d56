//! Configuration: values that the operator set and the manifest grants. They never change while the host runs,
//! so reading them is no effect.

use super::{Asked, Effects, refused};
use crate::message::bounded;

/// Bytes of a key that are told.
const KEY_BYTES_MAX: usize = 200;

impl Effects {
    /// The value of a key; `Err` tells which grant is missing.
    pub(in crate::handler) fn config(&mut self, key: &str) -> Result<String, String> {
        let value = self.manifest.grants.config.get(key).map(|value| value.expose().to_owned());
        let shown = || bounded(&key.escape_debug().to_string(), KEY_BYTES_MAX);
        match value {
            Some(value) => {
                self.note(|| Asked::Config { key: shown(), bytes: value.len() });
                Ok(value)
            }
            None => {
                let key = shown();
                let why = format!(
                    "the handler may not read the configuration key {key}; add it to its manifest: \
                     grants.config = [\"{key}\"], with its value in [handler-config] of the host's configuration"
                );
                self.note(|| refused(format!("configuration key {key}"), Some("grants.config"), &why));
                Err(why)
            }
        }
    }

    /// All keys that are granted, with their values; `Err` where there are none.
    pub(in crate::handler) fn all_config(&mut self) -> Result<Vec<(String, String)>, String> {
        let granted = &self.manifest.grants.config;
        if granted.is_empty() {
            let why =
                "the handler may not read configuration; add keys to its manifest: grants.config = [\"KEY\"]";
            self.note(|| refused("all configuration keys", Some("grants.config"), &why));
            return Err(why.to_owned());
        }
        let all: Vec<(String, String)> =
            granted.iter().map(|(key, value)| (key.clone(), value.expose().to_owned())).collect();
        for (key, value) in &all {
            self.note(|| Asked::Config { key: key.clone(), bytes: value.len() });
        }
        Ok(all)
    }
}
