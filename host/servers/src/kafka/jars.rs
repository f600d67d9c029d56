//! Kafka's jars, fetched once.

use crate::{Error, maven};
use std::path::{Path, PathBuf};

const POM: &str = include_str!("../kafka-pom.xml");

/// A release of Apache Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaRelease {
    version: &'static str,
}

impl KafkaRelease {
    /// The last release of Kafka 3.
    pub const V3: Self = Self { version: "3.9.2" };
    /// The release that is used where none is asked for.
    pub const V4: Self = Self { version: "4.3.1" };
    /// Megabytes that are fetched.
    pub const MEGABYTES: u32 = 45;

    /// Returns the number of the release, as in `4.3.1`.
    pub fn version(self) -> &'static str {
        self.version
    }

    /// The folder that keeps its jars for all checkouts: `mailroom/kafka-VERSION` in the user's cache.
    pub fn jars(self) -> PathBuf {
        maven::cache().join(format!("kafka-{}", self.version))
    }

    /// Fills the folder with its jars from Maven Central. Does nothing when it is complete.
    pub fn fetch(self, jars: &Path) -> Result<(), Error> {
        let goal = "dependency:copy-dependencies";
        maven::fetch(jars, (POM, goal), &[("kafka.version", self.version)], |_| Ok(()))
    }
}

/// Tells whether the folder has all jars.
pub fn kafka_jars_are_there(jars: &Path) -> bool {
    maven::is_complete(jars)
}
