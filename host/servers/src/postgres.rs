//! A Postgres server from programs that are installed or were fetched, on a loopback port with a password of its own. It
//! keeps data, password and port in its directory and comes back with them. As root it runs as an
//! ordinary user. No durability is traded for speed unless the caller's settings say so.

mod programs;
mod release;

pub use programs::postgres_programs;
pub use release::PostgresRelease;

use crate::child::{self, KILL_LIMIT, Process};
use crate::error::io;
use crate::place::{Place, random_hex};
use crate::user::User;
use crate::{Error, port};
use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Recovery after a crash is part of a start.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Options for starting the server.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// The directory of its programs. `None` is that of the installed ones.
    pub programs: Option<PathBuf>,
    /// The port on 127.0.0.1. `None` is the one of last time in this directory, else a free one.
    pub port: Option<u16>,
    /// Settings as in `postgresql.conf`; they win over the defaults given here.
    pub settings: Vec<(String, String)>,
}

/// A running Postgres. Dropping it stops it.
pub struct Postgres {
    url: String,
    process: Process,
    setup: Setup,
}

/// Facts that stay the same over restarts.
struct Setup {
    place: Place,
    programs: PathBuf,
    user: Option<User>,
    port: u16,
    settings: Vec<(String, String)>,
}

impl Postgres {
    /// Starts the server of this directory and waits until it takes connections. An empty directory
    /// gets a new database cluster first. A server that a dead process left here is ended before.
    pub fn start(dir: &Path, options: PostgresOptions) -> Result<Self, Error> {
        let programs = options.programs.map_or_else(postgres_programs, Ok)?;
        let place = Place::open(dir)?;
        let user = User::to_drop_to()?;
        if let Some(user) = &user {
            check_way(&programs.join("postgres"), user)?;
            give(&place, user)?;
        }
        let port = place.port("port", options.port)?;
        let setup = Setup { place, programs, user, port, settings: options.settings };
        let password = setup.make_cluster()?;
        let process = setup.launch()?;
        let url = format!("postgres://mailroom:{password}@127.0.0.1:{port}/postgres");
        Ok(Self { url, process, setup })
    }

    /// Returns the URL to connect to, with the password: the role `mailroom` is a superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process id of the postmaster; after an end, the last one.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends the server orderly, with its open connections.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.process.end()
    }

    /// Ends the server as a crash would. Returns when its port is free.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill()?;
        if child::wait_until(KILL_LIMIT, || port::is_free(self.setup.port)) {
            return Ok(());
        }
        let what = format!("Postgres did not give back port {}", self.setup.port);
        Err(Error::NotReady { what, waited: KILL_LIMIT, log_tail: String::new() })
    }

    /// Ends the server if it runs, and starts it on the same data, port and settings.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.end()?;
        self.process = self.setup.launch()?;
        Ok(())
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address holds the password.
        f.debug_struct("Postgres").field("port", &self.setup.port).finish_non_exhaustive()
    }
}

impl Setup {
    /// Makes the database cluster where there is none; returns the password.
    fn make_cluster(&self) -> Result<String, Error> {
        let data = self.place.path("data");
        if data.join("PG_VERSION").exists() {
            return self.place.read("password").ok_or_else(|| Error::Missing {
                what: format!("the password of the data in {}", data.display()),
                remedy: "remove that directory, or put the file `password` back beside it".to_owned(),
            });
        }
        let password = random_hex(24)?;
        self.place.write("password", &password)?;
        let pwfile = self.place.path("password");
        if let Some(user) = &self.user {
            chown(&pwfile, Some(user.uid), Some(user.gid)).map_err(io("give away", &pwfile))?;
        }
        // Made aside and renamed, so that a start that was cut short leaves no half of a cluster.
        let fresh = self.place.path("data.new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(io("remove", &fresh))?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&fresh).arg("--pwfile").arg(&pwfile);
        initdb.args(["-U", "mailroom", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]);
        if self.settings.iter().any(|(name, value)| name == "fsync" && value == "off") {
            initdb.arg("--no-sync");
        }
        child::run("initdb", initdb, &self.place.path("initdb.log"))?;
        fs::rename(&fresh, &data).map_err(io("rename", &fresh))?;
        Ok(password)
    }

    fn launch(&self) -> Result<Process, Error> {
        let mut launched = self.launch_once();
        child::wait_until(READY_LIMIT, || {
            if is_held_by_a_dead_server(&launched) {
                launched = self.launch_once();
            }
            !is_held_by_a_dead_server(&launched)
        });
        launched
    }

    fn launch_once(&self) -> Result<Process, Error> {
        let data = self.place.path("data");
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(&data).args(setting_args(self.port, &self.settings));
        let mut process = Process::spawn("Postgres", "INT", postgres, &self.place)?;
        process.wait_ready(READY_LIMIT, |process| {
            fs::read_to_string(data.join("postmaster.pid"))
                .is_ok_and(|text| says_ready(&text, process.pid(), self.port))
        })?;
        Ok(process)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.place.dir()).env("LC_ALL", "C");
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

/// The connections of a killed postmaster need a moment to see that it is gone, and hold its shared
/// memory until then.
fn is_held_by_a_dead_server(launched: &Result<Process, Error>) -> bool {
    matches!(launched, Err(Error::Ended { log_tail, .. }) if log_tail.contains("pre-existing shared memory block"))
}

/// Fails where the user whom the server runs as cannot get there.
fn check_way(path: &Path, user: &User) -> Result<(), Error> {
    let Some(closed) = user.closed_on_the_way_to(path)? else { return Ok(()) };
    let (name, path, closed) = (&user.name, path.display(), closed.display());
    Err(Error::Missing {
        what: format!("a way for user `{name}` to {path} ({closed} is closed to it)"),
        remedy: "choose a directory elsewhere, as below /tmp; Postgres refuses to run as root".to_owned(),
    })
}

/// Gives the directory to the user whom the server runs as, if that user can get there.
fn give(place: &Place, user: &User) -> Result<(), Error> {
    let dir = place.dir();
    check_way(dir, user)?;
    chown(dir, Some(user.uid), Some(user.gid)).map_err(io("give away", dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io("close", dir))
}

fn setting_args(port: u16, settings: &[(String, String)]) -> Vec<String> {
    let port = port.to_string();
    let defaults = [
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        // A socket's path may have 107 bytes at most, and nobody asks for one.
        ("unix_socket_directories", ""),
        ("max_connections", "100"),
        ("logging_collector", "off"),
    ];
    let own = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Of two values Postgres takes the later.
    defaults
        .into_iter()
        .chain(own)
        .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
        .collect()
}

/// Reads from `postmaster.pid` whether Postgres is ready: line 1 is its pid, line 4 its port, line 8 its
/// state. The file of a server that crashed still says "ready", so the pid must be ours.
fn says_ready(text: &str, pid: u32, port: u16) -> bool {
    let line = |number: usize| text.lines().nth(number - 1).map(str::trim);
    line(1) == Some(&pid.to_string()) && line(4) == Some(&port.to_string()) && line(8) == Some("ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_ready_line_counts() {
        let text = "4711\n/data\n1700000000\n25432\n\n127.0.0.1\n  12  34\nready   \n";
        assert!(says_ready(text, 4711, 25432));
        assert!(!says_ready(text, 4712, 25432));
        assert!(!says_ready(text, 4711, 25433));
        assert!(!says_ready(&text.replace("ready", "starting"), 4711, 25432));
        assert!(!says_ready("4711\n", 4711, 25432));
    }

    #[test]
    fn the_callers_settings_come_last() {
        let args = setting_args(5, &[("max_connections".to_owned(), "20".to_owned())]);
        assert_eq!(args.last().unwrap(), "max_connections=20");
        assert!(args.contains(&"port=5".to_owned()));
    }
}
