//! The binary under test: a running host, and single commands.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{Admin, SOON, eventually};

/// A `mailroom run` process. Dropping it kills it.
#[derive(Debug)]
pub struct Host {
    child: Child,
    start: Start,
}

/// Settings with which a host is started, again and again.
#[derive(Debug, Clone)]
pub struct Start {
    /// Binary of the host.
    pub binary: PathBuf,
    /// Configuration file.
    pub config: PathBuf,
    /// `MAILROOM__SECTION__KEY` and its value, over the file.
    pub env: Vec<(String, String)>,
    /// File to which a host's output is appended.
    pub log: PathBuf,
}

impl Start {
    /// A command with this configuration and nothing of ours in its environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(&self.config).envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts a host; it is not ready yet.
    ///
    /// # Errors
    /// Where the binary cannot be started.
    pub fn host(self) -> Result<Host> {
        let command = self.command();
        self.spawn(command)
    }

    /// The same in a process group of its own: Ctrl-C in a terminal reaches only whoever owns it.
    ///
    /// # Errors
    /// As [`Start::host`].
    pub fn host_apart(self) -> Result<Host> {
        let mut command = self.command();
        command.process_group(0);
        self.spawn(command)
    }

    /// Runs one command to its end.
    ///
    /// # Errors
    /// Where it cannot be started or hangs.
    pub async fn ran(&self, args: &[&str]) -> Result<Ran> {
        let mut command = self.command();
        command.args(args);
        Ran::to_end(command).await
    }

    fn spawn(self, mut command: Command) -> Result<Host> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        command.arg("run").stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("could not run {}", self.binary.display()))?;
        Ok(Host { child, start: self })
    }
}

impl Host {
    /// SIGKILL: what a crash of the machine's process looks like.
    ///
    /// # Errors
    /// Where the process cannot be waited for.
    pub async fn kill(mut self) -> Result<Stopped> {
        self.child.kill().await?;
        Ok(Stopped { start: self.start.clone() })
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// Where the host does not end in time or not with 0.
    pub async fn stop(mut self) -> Result<Stopped> {
        let pid = self.pid()?;
        let sent = Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status().await?;
        ensure!(sent.success(), "the host had ended before it was asked to");
        let ended = timeout(SOON, self.child.wait()).await.context("the host ignores SIGTERM")??;
        ensure!(ended.success(), "the host ended with {ended} after SIGTERM, expected 0");
        Ok(Stopped { start: self.start.clone() })
    }

    /// The process id; it changes only where the host ended.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("the host has ended")
    }

    /// The memory of the process that is resident, in bytes.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most that ever was, in bytes.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn resident_bytes_peak(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
        Ok(1024 * kibibytes.context("the process has no memory any more")?.parse::<u64>()?)
    }

    /// Fails where the process has ended.
    ///
    /// # Errors
    /// Names how it ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(ended) => bail!("the host ended by itself with {ended}"),
        }
    }

    /// Returns what it has said so far.
    ///
    /// # Errors
    /// The file's own.
    pub fn log(&self) -> Result<String> {
        read(&self.start.log)
    }

    /// Waits until it says where its metrics and its health are, which it does where it listens.
    ///
    /// # Errors
    /// Where it did not, in time.
    pub async fn admin(&self) -> Result<Admin> {
        const SAYS: &str = "Metrics, health and the dashboard are at http://";
        self.wait_log(SAYS).await?;
        let log = self.log()?;
        // A host that was started again has another port.
        let address = log.rsplit(SAYS).next().and_then(|rest| rest.split_whitespace().next());
        Ok(Admin::at(address.context("the line has no address")?.parse()?))
    }

    /// Waits until it has said `text`.
    ///
    /// # Errors
    /// Where it did not, in time.
    pub async fn wait_log(&self, text: &str) -> Result<()> {
        eventually(&format!("the host's log says `{text}`"), SOON, async || Ok(self.log()?.contains(text)))
            .await
    }
}

/// A host that has ended and can be started again.
#[derive(Debug)]
pub struct Stopped {
    start: Start,
}

impl Stopped {
    /// The same configuration again, its log goes on.
    ///
    /// # Errors
    /// Where the binary cannot be started.
    pub fn restart(self) -> Result<Host> {
        self.start.host()
    }
}

/// A command that takes longer hangs; one that builds a project of an author's loads what it needs first.
const HANGS: Duration = Duration::from_secs(300);

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Text that it wrote to stdout.
    pub stdout: String,
    /// Text that it wrote to stderr.
    pub stderr: String,
}

impl Ran {
    /// Runs it to its end.
    pub(crate) async fn to_end(mut command: Command) -> Result<Self> {
        let output = timeout(HANGS, command.output()).await.context("the command hangs")??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Returns its stdout, where it ended with 0.
    ///
    /// # Errors
    /// Says what it wrote where it failed.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == Some(0), "the command failed: {self:?}");
        Ok(self.stdout)
    }

    /// Returns its stdout as JSON, where it ended with 0.
    ///
    /// # Errors
    /// Says what it wrote where it failed or is not JSON.
    pub fn json(self) -> Result<serde_json::Value> {
        let text = self.ok()?;
        serde_json::from_str(&text).with_context(|| format!("this is not JSON: {text}"))
    }

    /// Fails unless the command ended with `code` and named all of `named` in what it wrote.
    ///
    /// # Errors
    /// Says what it wrote.
    pub fn refused(&self, code: i32, named: &[&str]) -> Result<()> {
        ensure!(self.code == Some(code), "expected exit code {code}: {self:?}");
        for &word in named {
            ensure!(
                self.stderr.contains(word) || self.stdout.contains(word),
                "the answer should name `{word}`: {self:?}"
            );
        }
        Ok(())
    }
}

/// The end of a log, for the report of a failed test.
pub fn tail(log: &Path, lines_max: usize) -> String {
    let text = read(log).unwrap_or_default();
    let from = text.lines().count().saturating_sub(lines_max);
    text.lines().skip(from).map(|line| format!("    {line}\n")).collect()
}

fn read(log: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(log)?).into_owned())
}
