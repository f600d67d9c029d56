//! A server as a child process: started into a process group of its own, so that Ctrl-C in a terminal
//! reaches only the program that owns it; watched until it is ready; ended within a bound. What it
//! writes goes to a file, since a pipe that nobody reads would stop it.

use crate::Error;
use crate::error::io;
use crate::place::{Place, pid_file};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time that an orderly end may take before the process is killed.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(20);
/// Time that the system may take to end a killed process.
pub(crate) const KILL_LIMIT: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(20);
const TAIL_LINES: usize = 20;

/// A server's process, and where it writes.
#[derive(Debug)]
pub(crate) struct Process {
    what: &'static str,
    /// The signal by which it ends orderly.
    signal: &'static str,
    child: Child,
    log: PathBuf,
    /// Length of the log when this process began to write.
    log_from: u64,
    pid_file: PathBuf,
}

impl Process {
    /// Starts the program in the place's directory, with its output appended to `server.log` there.
    pub(crate) fn spawn(
        what: &'static str,
        signal: &'static str,
        mut command: Command,
        place: &Place,
    ) -> Result<Self, Error> {
        let log = place.path("server.log");
        let log_from = append_output(&mut command, &log)?;
        command.current_dir(place.dir()).process_group(0);
        let program = PathBuf::from(command.get_program());
        let child = command.spawn().map_err(io("start", &program))?;
        let pid_file_path = place.path("pid");
        let process = Self { what, signal, child, log, log_from, pid_file: pid_file_path };
        place.write("pid", &pid_file(process.pid(), signal))?;
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what this process has written so far.
    pub(crate) fn written(&self) -> String {
        read_from(&self.log, self.log_from)
    }

    /// Waits until `ready` says so. A process that does not get there is ended.
    pub(crate) fn wait_ready(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let mut ended = false;
        let in_time = wait_until(limit, || {
            ended = self.has_ended();
            ended || ready(self)
        });
        if ended {
            return Err(Error::Ended { what: self.what.to_owned(), log_tail: tail(&self.written()) });
        }
        if in_time {
            return Ok(());
        }
        self.end()?;
        let what = format!("{} was not ready", self.what);
        Err(Error::NotReady { what, waited: limit, log_tail: tail(&self.written()) })
    }

    /// Ends the process orderly, or by force when that takes too long. Does nothing when it has ended.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        if !self.has_ended() {
            signal(self.pid(), self.signal)?;
            if !wait_until(END_LIMIT, || self.has_ended()) {
                return self.kill();
            }
        }
        self.forget()
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        if !self.has_ended() {
            self.child.kill().map_err(io("kill", Path::new(self.what)))?;
            if !wait_until(KILL_LIMIT, || self.has_ended()) {
                let what = format!("{} (pid {}) did not end", self.what, self.pid());
                return Err(Error::NotReady { what, waited: KILL_LIMIT, log_tail: tail(&self.written()) });
            }
        }
        self.forget()
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    fn forget(&self) -> Result<(), Error> {
        if self.pid_file.exists() {
            fs::remove_file(&self.pid_file).map_err(io("remove", &self.pid_file))?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // There is nobody to tell, and the pid file lets the next start end what is left.
        drop(self.end());
    }
}

/// Runs a program to its end, with its output in `log`; `Ended` with its last lines when it fails.
pub(crate) fn run(what: &'static str, mut command: Command, log: &Path) -> Result<(), Error> {
    let log_from = append_output(&mut command, log)?;
    let program = PathBuf::from(command.get_program());
    let status = command.status().map_err(io("start", &program))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Ended { what: format!("{what} ({status})"), log_tail: tail(&read_from(log, log_from)) })
}

/// Finds a program on the search path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let output = Command::new("sh").args(["-c", "command -v -- \"$0\"", program]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    let path = path.trim();
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// Sends a signal by name. A process that has ended meanwhile is no error.
pub(crate) fn signal(pid: u32, name: &str) -> Result<(), Error> {
    // The shell's own `kill`: small systems have no program of that name.
    Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(io("start", Path::new("sh")))?;
    Ok(())
}

/// Waits for a fact; says whether it came about within the limit. It is looked at once in any case.
pub(crate) fn wait_until(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if fact() {
            return true;
        }
        if begun.elapsed() >= limit {
            return false;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the one pause between two looks at a fact, with a deadline"
        )]
        std::thread::sleep(POLL);
    }
}

fn append_output(command: &mut Command, log: &Path) -> Result<u64, Error> {
    let file = OpenOptions::new().create(true).append(true).open(log).map_err(io("open", log))?;
    let from = file.metadata().map_err(io("read", log))?.len();
    let copy = file.try_clone().map_err(io("open", log))?;
    command.stdin(Stdio::null()).stdout(file).stderr(copy);
    Ok(from)
}

fn read_from(path: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("({} cannot be read: {error})", path.display()),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines() {
        let text: String = (0..30).map(|line| format!("{line}\n")).collect();
        assert!(tail(&text).starts_with("10\n"));
        assert!(tail(&text).ends_with("29"));
        assert_eq!(tail("one"), "one");
        assert_eq!(tail(""), "");
    }

    #[test]
    fn a_program_that_ends_instead_of_serving_is_told_with_its_last_words() {
        let dir = std::env::temp_dir().join(format!("mailroom-child-{}", std::process::id()));
        let place = Place::open(&dir).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck; exit 3"]);
        let mut process = Process::spawn("the program", "TERM", command, &place).unwrap();
        let error = process.wait_ready(KILL_LIMIT, |_| false).unwrap_err();
        assert!(matches!(&error, Error::Ended { log_tail, .. } if log_tail == "no such luck"), "{error}");
        drop(process);
        assert!(!dir.join("pid").exists());
        fs::remove_dir_all(dir).unwrap();
    }
}
