//! The Java that runs Kafka: the one on the search path, if it is new enough.

use crate::Error;
use crate::child::on_path;
use std::path::PathBuf;
use std::process::Command;

/// Kafka 4 needs this one.
const VERSION_MIN: u32 = 17;

/// Checks that a Java that can run Kafka is installed; `Missing` says what is wrong.
pub fn java_is_there() -> Result<(), Error> {
    find().map(drop)
}

pub(super) fn find() -> Result<PathBuf, Error> {
    let found = on_path("java").and_then(|java| {
        let output = Command::new(&java).arg("-version").output().ok()?;
        Some((java, version(&String::from_utf8_lossy(&output.stderr))?))
    });
    let what = match found {
        Some((java, version)) if version >= VERSION_MIN => return Ok(java),
        Some((java, version)) => {
            format!("Java {VERSION_MIN} or newer ({} is version {version})", java.display())
        }
        None => format!("Java {VERSION_MIN} or newer"),
    };
    let remedy = "install one, on Debian with `apt-get install default-jre-headless`".to_owned();
    Err(Error::Missing { what, remedy })
}

/// The first number of `openjdk version "17.0.15"`; before Java 9 that was 1.
fn version(text: &str) -> Option<u32> {
    let (_, quoted) = text.split_once(" version \"")?;
    let digits: String = quoted.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_first_number_in_quotes() {
        assert_eq!(version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(version("Picked up: x\nopenjdk version \"21\" 2023"), Some(21));
        assert_eq!(version("java version \"1.8.0_292\""), Some(1));
        assert_eq!(version("openjdk version \"26-ea\""), Some(26));
        assert_eq!(version("command not found"), None);
    }
}
