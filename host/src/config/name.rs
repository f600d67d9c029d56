//! Names that become part of keys, groups and messages.

use std::fmt;

/// Reason why a text is not such a name: what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct BadName(pub &'static str);

/// The first part of every consumer group's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(String);

/// A host process in `status` and in the lease of a row; several may share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerName(String);

/// A handler, by the stem of its file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandlerName(String);

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn lower_name(text: &str, length_max: usize, also: impl Fn(char) -> bool) -> bool {
    text.len() <= length_max && text.starts_with(lower) && text.chars().all(|c| lower(c) || also(c))
}

/// The name of a token, by which the audit calls whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenName;

impl TokenName {
    /// Checks the text: what a variable of the environment can name too.
    pub(super) fn parse(text: &str) -> Result<Self, BadName> {
        if lower_name(text, 64, |c| c == '-') {
            return Ok(Self);
        }
        Err(BadName("1 to 64 of a-z, 0-9 and \"-\", beginning with a letter or digit"))
    }
}

impl Namespace {
    pub(super) const ALLOWED: &'static str =
        "1 to 32 of a-z, 0-9 and \"-\", beginning with a letter or digit";

    /// Returns the one where nobody names another.
    pub(super) fn standard() -> Self {
        Self("mailroom".to_owned())
    }

    /// Checks the text.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if lower_name(text, 32, |c| c == '-') {
            return Ok(Self(text.to_owned()));
        }
        Err(BadName(Self::ALLOWED))
    }
}

impl WorkerName {
    pub(super) const ALLOWED: &'static str = "1 to 255 letters, digits, \".\", \"-\", \"/\", \":\" and \"_\"";

    /// Returns the name of a machine whose name is not usable; the caller has said so.
    pub(super) fn unknown() -> Self {
        Self("unknown".to_owned())
    }

    /// Checks the text; spaces around it are dropped.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let text = text.trim();
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-/:_".contains(c);
        if (1..=255).contains(&text.len()) && text.chars().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadName(Self::ALLOWED))
    }
}

impl HandlerName {
    /// Checks the text.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if lower_name(text, 64, |c| "_-".contains(c)) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadName("1 to 64 of a-z, 0-9, \"_\" and \"-\", beginning with a letter or digit"))
    }

    /// The consumer group where the manifest names none.
    #[must_use]
    pub fn default_group(&self, namespace: &Namespace) -> String {
        format!("{namespace}.{self}")
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text!(Namespace, WorkerName, HandlerName);
