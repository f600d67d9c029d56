//! Name and password for Kafka in files, which are read again where Kafka refuses the login: they are rotated without a
//! restart.

use std::sync::{Arc, Mutex, PoisonError};

use super::declare::Key;
use super::reader::Reader;
use super::secret::Secret;
use super::source;

/// Part of a login that a file holds.
#[derive(Debug, Clone)]
pub struct LoginFile {
    /// The setting that names the file, for people.
    setting: String,
    path: String,
    /// Content when the file was read last, by any client of this process.
    last: Arc<Mutex<Secret>>,
}

impl LoginFile {
    /// Returns what the file says now; where it cannot be read, what it said last.
    pub(crate) fn read_again(&self) -> Secret {
        // No code that can panic runs under the lock.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match source::read_secret(&self.path).map(Secret::new) {
            Ok(said) if said != *last => {
                tracing::info!("{} says something new and is used from now on", self.setting);
                *last = said;
            }
            Ok(_) => {}
            Err(problem) => {
                tracing::debug!(problem, "{} cannot be read; what it said before is used", self.setting);
            }
        }
        last.clone()
    }
}

impl Reader {
    /// A file that holds a property of librdkafka, which must not be given as well.
    pub(super) fn login_file(&mut self, key: Key<'_>, property: &str) -> Option<LoginFile> {
        let setting = key.name.to_owned();
        let path = self.text(key, None)?;
        let other = format!("kafka.properties.{property}");
        let problem = match source::read_secret(&path) {
            _ if self.is_given(&other) => {
                format!("must not be given together with {other}; remove one of the two")
            }
            Ok(said) => {
                return Some(LoginFile { setting, path, last: Arc::new(Mutex::new(Secret::new(said))) });
            }
            Err(problem) => problem,
        };
        self.refuse(&setting, Some(format!("{path:?}")), problem);
        None
    }
}
