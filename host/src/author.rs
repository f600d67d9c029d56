//! Tools for an author of handlers: a new project, its build by the language's own tools, and what makes a
//! component of what those leave.

pub(crate) mod build;
mod component;
mod embedded;
pub(crate) mod language;
pub(crate) mod project;
pub(crate) mod scaffold;
mod tool;

/// A word as a shell takes it for one.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Reason why a command of an author's did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorError {
    /// A folder is no project, or a name is none: nothing was done.
    #[error("{0}")]
    Refused(String),
    /// A tool is missing or too old; the text ends with the command that installs it.
    #[error("{0}")]
    Tool(String),
    /// The language's own tool refused the source, and has said why.
    #[error("{0}")]
    Build(String),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
}

impl AuthorError {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { path, source }
    }
}
