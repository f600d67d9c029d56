//! A real Apache Kafka (KRaft: broker and controller in one JVM) on a loopback port. It keeps its data
//! and ports in its directory and comes back with them. Topics are not made by mention, so that a
//! wrong topic name is seen.

mod jars;
mod java;

pub use jars::{KafkaRelease, kafka_jars_are_there};
pub use java::java_is_there;

use crate::child::{self, KILL_LIMIT, Process};
use crate::place::{Place, random_hex};
use crate::{Error, port};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(90);

/// Options for starting the server.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// The port on 127.0.0.1. `None` is the one of last time in this directory, else a free one.
    pub port: Option<u16>,
    /// The folder that [`KafkaRelease::fetch`] filled.
    pub jars: PathBuf,
    /// Settings as in `server.properties`; they win over the defaults given here.
    pub properties: Vec<(String, String)>,
    /// True if clients may also come by a listener of its own where they log in by SCRAM-SHA-256.
    pub logins: bool,
}

/// A running Kafka. Dropping it stops it.
#[derive(Debug)]
pub struct Kafka {
    brokers: String,
    process: Process,
    setup: Setup,
}

/// Facts that stay the same over restarts.
#[derive(Debug)]
struct Setup {
    place: Place,
    java: PathBuf,
    jars: PathBuf,
    ports: Ports,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    clients: u16,
    controller: u16,
    /// The listener that wants a login, where there is one.
    logins: Option<u16>,
}

impl Ports {
    fn all(self) -> impl Iterator<Item = u16> {
        [self.clients, self.controller].into_iter().chain(self.logins)
    }
}

impl Kafka {
    /// Starts the server of this directory and waits until it takes clients. A server that a dead
    /// process left here is ended before.
    pub fn start(dir: &Path, options: KafkaOptions) -> Result<Self, Error> {
        let java = java::find()?;
        if !kafka_jars_are_there(&options.jars) {
            return Err(Error::Missing {
                what: format!("Kafka in {}", options.jars.display()),
                remedy: "let it be fetched from Maven Central first (about 45 MB, needs `mvn`)".to_owned(),
            });
        }
        let place = Place::open(dir)?;
        let logins = if options.logins { Some(place.port("logins.port", None)?) } else { None };
        let (clients, controller) = (place.port("port", options.port)?, place.port("controller.port", None)?);
        let ports = Ports { clients, controller, logins };
        place.write("server.properties", &properties(ports, &options.properties))?;
        let setup = Setup { place, java, jars: options.jars, ports };
        setup.format()?;
        let process = setup.launch()?;
        Ok(Self { brokers: format!("127.0.0.1:{clients}"), process, setup })
    }

    /// Returns the address to which clients connect: `127.0.0.1:PORT`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Returns the address to which clients connect that log in, where there is one.
    pub fn login_brokers(&self) -> Option<String> {
        self.setup.ports.logins.map(|port| format!("127.0.0.1:{port}"))
    }

    /// Gives a user that logs in by SCRAM-SHA-256 a password, the first or another; takes about three seconds.
    pub fn set_password(&self, user: &str, password: &str) -> Result<(), Error> {
        let mut change = self.setup.jvm("kafka.admin.ConfigCommand");
        change.args(["--bootstrap-server", &self.brokers, "--alter", "--entity-type", "users"]);
        change.args(["--entity-name", user, "--add-config", &format!("SCRAM-SHA-256=[password={password}]")]);
        child::run("Kafka's change of a password", change, &self.setup.place.path("password.log"))
    }

    /// The process id of the JVM; after an end, the last one.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The first file of a partition's log.
    pub fn log_file(&self, topic: &str, partition: i32) -> PathBuf {
        self.setup.place.path("data").join(format!("{topic}-{partition}")).join("00000000000000000000.log")
    }

    /// Ends the server orderly; takes about two seconds.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.process.end()
    }

    /// Ends the server as a crash would. Returns when its ports are free.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill()?;
        let ports = self.setup.ports;
        if child::wait_until(KILL_LIMIT, || ports.all().all(port::is_free)) {
            return Ok(());
        }
        let what = format!("Kafka did not give back its ports: {ports:?}");
        Err(Error::NotReady { what, waited: KILL_LIMIT, log_tail: String::new() })
    }

    /// Ends the server if it runs, and starts it on the same data, port and properties.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.end()?;
        self.process = self.setup.launch()?;
        Ok(())
    }
}

impl Setup {
    /// Gives new data its cluster id. Kafka starts only on data that have one.
    fn format(&self) -> Result<(), Error> {
        if self.place.path("data").join("meta.properties").exists() {
            return Ok(());
        }
        // A cluster id is 16 bytes in base64url: 22 digits, of which the last has two bits only.
        let digits: String = random_hex(11)?.chars().take(21).collect();
        let mut format = self.jvm("kafka.tools.StorageTool");
        format.args(["format", "-t", &format!("{digits}Q"), "-c"]).arg(self.place.path("server.properties"));
        child::run("Kafka's `format`", format, &self.place.path("format.log"))
    }

    fn launch(&self) -> Result<Process, Error> {
        let mut kafka = self.jvm("kafka.Kafka");
        kafka.arg(self.place.path("server.properties"));
        let mut process = Process::spawn("Kafka", "TERM", kafka, &self.place)?;
        process.wait_ready(READY_LIMIT, |process| process.written().contains("Kafka Server started"))?;
        Ok(process)
    }

    fn jvm(&self, class: &str) -> Command {
        let mut java = Command::new(&self.java);
        java.current_dir(self.place.dir());
        // A small heap, and a compiler that is quick to start rather than fast in the long run.
        java.args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        java.args(["-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]);
        java.args([
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
        ]);
        // The line by which it says that it is ready.
        java.arg("-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info");
        java.arg("-cp").arg(self.jars.join("*")).arg(class);
        java
    }
}

/// The text of `server.properties`; paths in it are relative to the server's directory.
fn properties(ports: Ports, own: &[(String, String)]) -> String {
    let Ports { clients, controller, logins } = ports;
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{clients}");
    if let Some(port) = logins {
        listeners.push_str(&format!(",LOGIN://127.0.0.1:{port}"));
    }
    let mut text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
"
    );
    text.push_str(include_str!("kafka/server.properties"));
    // Of two values Kafka takes the later.
    for (name, value) in own {
        text.push_str(&format!("{}={}\n", escape(name), escape(value)));
    }
    text
}

/// Java reads a properties file as Latin-1, with backslashes and what separates a name as signs.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit).map(char::from) {
            Ok(sign @ ('\\' | ':' | '=' | '#' | '!' | ' ')) => escaped.extend(['\\', sign]),
            Ok(sign @ '!'..='~') => escaped.push(sign),
            Ok(_) | Err(_) => escaped.push_str(&format!("\\u{unit:04x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_properties_come_last_and_are_escaped() {
        let own = [("message.max.bytes".to_owned(), "5".to_owned()), ("a b".to_owned(), "ü\\\n".to_owned())];
        let ports = Ports { clients: 1, controller: 2, logins: None };
        let text = properties(ports, &own);
        assert!(text.ends_with("message.max.bytes=5\na\\ b=\\u00fc\\\\\\u000a\n"), "{text}");
        assert!(text.contains("\nlisteners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n"));
        assert!(text.contains("\nadvertised.listeners=PLAINTEXT://127.0.0.1:1\n"));
        assert!(text.contains("auto.create.topics.enable=false\n"));
    }
}
