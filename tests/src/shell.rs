//! A reader's shell: commands of a page as they are written, with the program on the path.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::host::Ran;
use crate::paths;

/// A shell in a folder.
#[derive(Debug)]
pub struct Shell {
    folder: PathBuf,
    path: String,
    env: Vec<(String, String)>,
}

impl Shell {
    /// Opens one in a folder. Compiled code is kept where other shells find it.
    ///
    /// # Errors
    /// Where the program was not built.
    pub fn of(folder: &Path) -> Result<Self> {
        let binary = paths::binary()?;
        let beside = binary.parent().context("the program is in no folder")?;
        let path = format!("{}:{}", beside.display(), env::var_os("PATH").unwrap_or_default().display());
        let compiled = paths::target()?.join("compiled-by-shells");
        let env = vec![("MAILROOM__HOST__COMPILED".to_owned(), compiled.display().to_string())];
        Ok(Self { folder: folder.to_owned(), path, env })
    }

    /// The same with a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a line to its end.
    ///
    /// # Errors
    /// Where it hangs.
    pub async fn ran(&self, line: &str) -> Result<Ran> {
        Ran::to_end(self.command(line)).await
    }

    /// The process that a line is run by.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(&self.folder).kill_on_drop(true);
        command.env("PATH", &self.path).envs(self.env.iter().cloned());
        // Settings for cargo's run of these tests are not for a cargo below them.
        for name in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            if !self.env.iter().any(|(set, _)| set == name) {
                command.env_remove(name);
            }
        }
        command
    }
}
