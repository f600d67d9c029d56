//! Errors of a configuration, as a list.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, for example `host.expiry`; empty where the file as a whole is meant.
    pub key: String,
    /// The value as it was given; `None` where there is none or where it is secret.
    pub value: Option<String>,
    /// Description of what is wrong, and of what is allowed.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.is_empty(), &self.value) {
            (true, _) => f.write_str(&self.problem),
            (false, Some(value)) => write!(f, "{} = {value}: {}", self.key, self.problem),
            (false, None) => write!(f, "{}: {}", self.key, self.problem),
        }
    }
}

/// Everything that is wrong, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// One error that is about the file as a whole.
    pub(super) fn file(problem: String) -> Self {
        Self(vec![ConfigError { key: String::new(), value: None, problem }])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, error) in self.0.iter().enumerate() {
            let separator = if line == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}
