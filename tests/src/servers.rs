//! Postgres and Kafka for the tests: one of each release is shared by a process, started by the first test that
//! asks; a test that stops or kills a server has its own.
//!
//! Statics are never dropped, so a small shell waits on a pipe that closes with this process, however
//! it ends, and then stops the shared servers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use mailroom_servers::{Kafka, KafkaOptions, KafkaRelease, Postgres, PostgresOptions, PostgresRelease};

use crate::paths;

/// A server that several tests may hold.
pub(crate) type Running<S> = Arc<Mutex<S>>;

/// Servers by the names of their folders, and what a second asker gets when the first could not start one.
type Shared<S> = Mutex<BTreeMap<String, Arc<OnceLock<Result<Running<S>, String>>>>>;

static POSTGRES: Shared<Postgres> = Mutex::new(BTreeMap::new());
static KAFKA: Shared<Kafka> = Mutex::new(BTreeMap::new());
static GUARD: OnceLock<Result<Mutex<Child>, String>> = OnceLock::new();

/// The releases of the servers of a world; by default the installed Postgres and the newest Kafka.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Releases {
    /// Another Postgres than the installed one.
    pub postgres: Option<PostgresRelease>,
    /// Another Kafka than the newest.
    pub kafka: Option<KafkaRelease>,
}

/// The Postgres of this process.
pub(crate) fn shared_postgres(releases: Releases) -> Result<Running<Postgres>> {
    let suffix = releases.postgres.map(|release| format!("-{}", release.version())).unwrap_or_default();
    let name = format!("postgres{suffix}");
    share(&POSTGRES, &name, || {
        let server = start_postgres(&folder()?.join(&name), releases)?;
        stop_with_this_process("INT", server.pid())?;
        Ok(server)
    })
}

/// The Kafka of this process.
pub(crate) fn shared_kafka(releases: Releases) -> Result<Running<Kafka>> {
    let suffix = releases.kafka.map(|release| format!("-{}", release.version())).unwrap_or_default();
    let name = format!("kafka{suffix}");
    share(&KAFKA, &name, || {
        let server = start_kafka(&folder()?.join(&name), releases, None, false)?;
        stop_with_this_process("TERM", server.pid())?;
        Ok(server)
    })
}

/// A Postgres that lives as long as its world.
pub(crate) fn own_postgres(world: &str, releases: Releases) -> Result<Running<Postgres>> {
    Ok(Arc::new(Mutex::new(start_postgres(&folder()?.join(format!("{world}-postgres")), releases)?)))
}

/// A Kafka that lives as long as its world, and has a listener for those who log in. With a port of a proxy it sends
/// the others there.
pub(crate) fn own_kafka(world: &str, releases: Releases, proxy_port: Option<u16>) -> Result<Running<Kafka>> {
    let folder = folder()?.join(format!("{world}-kafka"));
    Ok(Arc::new(Mutex::new(start_kafka(&folder, releases, proxy_port, true)?)))
}

/// A folder of a world for something that its servers' user reads.
pub(crate) fn folder_of(world: &str) -> Result<PathBuf> {
    Ok(folder()?.join(format!("{world}-pooler")))
}

/// Removes what a world's own servers have left; they must have stopped.
pub(crate) fn remove_own(world: &str) -> Result<()> {
    for folder in ["postgres", "kafka", "pooler"].map(|server| format!("{world}-{server}")) {
        let folder = self::folder()?.join(folder);
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    Ok(())
}

/// Returns a folder below the target folder, where Postgres can reach it.
fn folder() -> Result<PathBuf> {
    Ok(mailroom_servers::reachable_dir(&paths::target()?.join("servers"))?)
}

fn start_postgres(folder: &Path, releases: Releases) -> Result<Postgres> {
    let programs = releases.postgres.map(PostgresRelease::fetch).transpose()?;
    let settings = [("max_connections", "300")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let options = PostgresOptions { programs, settings: settings.into(), ..PostgresOptions::default() };
    Postgres::start(folder, options).context("could not start a Postgres for the tests")
}

fn start_kafka(folder: &Path, releases: Releases, proxy_port: Option<u16>, logins: bool) -> Result<Kafka> {
    let properties = [
        // A killed host's partitions go to another within seconds.
        ("group.min.session.timeout.ms", "1000"),
        ("offsets.topic.num.partitions", "4"),
        // A test may close a group; whatever nobody closed is open.
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("allow.everyone.if.no.acl.found", "true"),
    ];
    let mut properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    if let Some(port) = proxy_port {
        properties.push(("advertised.listeners".to_owned(), format!("PLAINTEXT://127.0.0.1:{port}")));
    }
    let jars = releases.kafka.map_or_else(paths::kafka_jars, KafkaRelease::jars);
    let options = KafkaOptions { port: None, jars, properties, logins };
    Kafka::start(folder, options).context("could not start a Kafka for the tests")
}

fn share<S>(shared: &Shared<S>, name: &str, start: impl FnOnce() -> Result<S>) -> Result<Running<S>> {
    let place =
        Arc::clone(shared.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default());
    let started = place.get_or_init(|| match start() {
        Ok(server) => Ok(Arc::new(Mutex::new(server))),
        Err(error) => Err(format!("{error:#}")),
    });
    started.clone().map_err(|error| anyhow!(error))
}

/// Has a process signalled as soon as this one has ended, however it ended.
///
/// # Errors
/// Where the shell that does it cannot be started.
pub fn stop_with_this_process(signal: &str, pid: u32) -> Result<()> {
    let guard = GUARD.get_or_init(|| guard().map(Mutex::new).map_err(|error| format!("{error:#}")));
    let guard = guard.as_ref().map_err(|error| anyhow!(error.clone()))?;
    let mut guard = guard.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = guard.stdin.as_mut().context("the guard's pipe is closed")?;
    writeln!(pipe, "{signal} {pid}").context("the guard of the shared servers is gone")
}

fn guard() -> Result<Child> {
    let script = r#"trap '' INT TERM HUP
        all=''
        while read -r signal pid; do all="$all $signal $pid"; done
        set -- $all
        while [ $# -ge 2 ]; do kill -s "$1" "$2"; shift 2; done"#;
    Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("could not start sh, which stops the shared servers")
}
