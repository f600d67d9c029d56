//! An author's desk: a folder of files and the program, but no server.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mailroom_tests::{Ran, Start, paths, snapshot};

pub(super) struct Desk {
    folder: PathBuf,
    start: Start,
}

/// Runs one test at a desk of its own.
#[expect(clippy::panic, reason = "a test that fails panics")]
pub(super) fn at_desk(body: impl AsyncFnOnce(&Desk) -> Result<()>) {
    let run = async {
        let desk = Desk::new()?;
        body(&desk).await?;
        Ok(fs::remove_dir_all(&desk.folder)?)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Err(error) = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run)) {
        panic!("{error:#}");
    }
}

impl Desk {
    fn new() -> Result<Self> {
        let folder = paths::target()?.join(format!("worlds/desk{:010x}", fastrand::u64(..1 << 40)));
        fs::create_dir_all(&folder)?;
        let config = folder.join("mailroom.toml");
        fs::write(&config, format!("[host]\ncompiled = {:?}\n", folder.join("compiled")))?;
        let start = Start { binary: paths::binary()?, config, env: Vec::new(), log: folder.join("log") };
        Ok(Self { folder, start })
    }

    /// Makes a folder and gives its path.
    pub(super) fn folder(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        fs::create_dir(&path)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Writes a file and gives its path.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let path = self.folder.join(name);
        fs::write(&path, bytes)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Copies a file and gives its path.
    pub(super) fn copy(&self, from: &Path, name: &str) -> Result<String> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(name, &bytes)
    }

    /// Runs the program to its end.
    pub(super) async fn ran(&self, args: &[&str]) -> Result<Ran> {
        self.start.ran(args).await
    }

    /// The command and all that it says, masked.
    pub(super) async fn transcript(&self, args: &[&str]) -> Result<String> {
        let ran = self.ran(args).await?;
        let said = format!("$ mailroom {}\n{}{}", args.join(" "), ran.stdout, ran.stderr);
        let code = ran.code.context("it was killed")?;
        let folder = format!("{}/", self.folder.display());
        Ok(snapshot::masked(&format!("{said}[exit code {code}]\n").replace(&folder, "")))
    }
}
