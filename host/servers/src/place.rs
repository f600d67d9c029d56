//! A server's directory: locked by the process that uses it, with a pid file by which a server that
//! outlived its process is found and ended. Only a process whose command line names this directory is
//! ever signalled, so that a recycled pid hurts nobody.

use crate::child::{self, END_LIMIT, KILL_LIMIT};
use crate::error::io;
use crate::{Error, port};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A thread that is just starting another program holds a copy of a released lock for a moment.
const LOCK_LIMIT: Duration = Duration::from_secs(2);

/// Ends the server that a dead process left running in `dir`; says whether there was one. `InUse` when
/// the process that started it still lives.
pub fn stop_leftover(dir: &Path) -> Result<bool, Error> {
    if !dir.join("pid").exists() {
        return Ok(false);
    }
    let dir = dir.canonicalize().map_err(io("find", dir))?;
    Place::lock(dir)?.stop_leftover()
}

/// A locked directory. Dropping it releases the lock; so does the end of the process.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the directory, locks it, and ends a leftover server in it.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(io("create", dir))?;
        let dir = dir.canonicalize().map_err(io("find", dir))?;
        let place = Self::lock(dir)?;
        place.stop_leftover()?;
        Ok(place)
    }

    fn lock(dir: PathBuf) -> Result<Self, Error> {
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(io("create", &path))?;
        if child::wait_until(LOCK_LIMIT, || lock.try_lock().is_ok()) {
            Ok(Self { dir, _lock: lock })
        } else {
            Err(Error::InUse { dir })
        }
    }

    /// The directory, absolute.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file of this directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Reads what a file holds, without the line end; `None` when it is not there.
    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok().map(|text| text.trim().to_owned())
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).map_err(io("create", &path))?;
        file.write_all(text.as_bytes()).map_err(io("write", &path))
    }

    /// The port to listen on, kept in the file `name`: the wanted one, else the one of last time if it
    /// is free, else a free one.
    pub(crate) fn port(&self, name: &str, wanted: Option<u16>) -> Result<u16, Error> {
        let last = || self.read(name)?.parse().ok().filter(|port| port::is_free(*port));
        let port = match wanted.or_else(last) {
            Some(port) => port,
            None => port::free()?,
        };
        self.write(name, &port.to_string())?;
        Ok(port)
    }

    fn stop_leftover(&self) -> Result<bool, Error> {
        let pid_file = self.path("pid");
        let Some(text) = self.read("pid") else { return Ok(false) };
        let left = match parse_pid_file(&text) {
            Some((pid, signal)) if self.runs(pid) => {
                child::signal(pid, signal)?;
                if !child::wait_until(END_LIMIT, || !self.runs(pid)) {
                    child::signal(pid, "KILL")?;
                    child::wait_until(KILL_LIMIT, || !self.runs(pid));
                }
                true
            }
            Some(_) | None => false,
        };
        fs::remove_file(&pid_file).map_err(io("remove", &pid_file))?;
        Ok(left)
    }

    /// Tells whether the process is a server of this directory: its arguments name a file in it.
    fn runs(&self, pid: u32) -> bool {
        command_line(pid).contains(&format!("{}/", self.dir.display()))
    }
}

/// The arguments of a process, empty when it has ended.
fn command_line(pid: u32) -> String {
    if let Ok(args) = fs::read(format!("/proc/{pid}/cmdline")) {
        return String::from_utf8_lossy(&args).into_owned();
    }
    // Systems without /proc have ps.
    Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// The text of a pid file: whom to end, and by which signal it ends orderly.
pub(crate) fn pid_file(pid: u32, signal: &str) -> String {
    format!("{pid} {signal}\n")
}

fn parse_pid_file(text: &str) -> Option<(u32, &str)> {
    let (pid, signal) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, signal))
}

/// Returns so many random bytes as hexadecimal digits, two each.
pub(crate) fn random_hex(bytes: usize) -> Result<String, Error> {
    let path = Path::new("/dev/urandom");
    let mut random = vec![0; bytes];
    File::open(path).and_then(|mut file| file.read_exact(&mut random)).map_err(io("read", path))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_as_it_was_written() {
        assert_eq!(parse_pid_file(&pid_file(4711, "INT")), Some((4711, "INT")));
        assert_eq!(parse_pid_file("4711"), None);
        assert_eq!(parse_pid_file("x INT"), None);
    }

    #[test]
    fn a_place_belongs_to_one_server() {
        let dir = std::env::temp_dir().join(format!("mailroom-place-{}", std::process::id()));
        let place = Place::open(&dir).unwrap();
        assert!(matches!(Place::open(&dir), Err(Error::InUse { .. })));
        drop(place);
        assert!(Place::open(&dir).is_ok());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_process_of_another_kind_with_the_same_pid_is_left_alone() {
        let dir = std::env::temp_dir().join(format!("mailroom-leftover-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("pid"), pid_file(std::process::id(), "KILL")).unwrap();
        assert!(!stop_leftover(&dir).unwrap());
        assert!(!dir.join("pid").exists());
        fs::remove_dir_all(dir).unwrap();
    }
}
