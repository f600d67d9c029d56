//! User as whom a server runs. Postgres refuses to run as root, so root starts it as an ordinary user; that
//! user must be able to reach the directory through all directories above it.

use crate::Error;
use crate::error::io;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An ordinary user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The user to run Postgres as: `None` is ourselves, unless we are root.
    pub(crate) fn to_drop_to() -> Result<Option<Self>, Error> {
        let id = Command::new("id").arg("-u").output().map_err(io("start", Path::new("id")))?;
        if String::from_utf8_lossy(&id.stdout).trim() != "0" {
            return Ok(None);
        }
        let path = Path::new("/etc/passwd");
        let passwd = fs::read_to_string(path).map_err(io("read", path))?;
        let user = find(&passwd, "postgres").or_else(|| find(&passwd, "nobody"));
        user.map(Some).ok_or_else(|| Error::Missing {
            what: "a user `postgres` or `nobody` (Postgres refuses to run as root)".to_owned(),
            remedy: "add one (`useradd --system postgres`), or do not run as root".to_owned(),
        })
    }

    /// The outermost directory on the way to `dir` that is closed to this user.
    pub(crate) fn closed_on_the_way_to(&self, dir: &Path) -> Result<Option<PathBuf>, Error> {
        let parents: Vec<&Path> = dir.ancestors().skip(1).collect();
        for parent in parents.into_iter().rev().filter(|parent| !parent.as_os_str().is_empty()) {
            let facts = fs::metadata(parent).map_err(io("look at", parent))?;
            if !self.may_search(facts.mode(), facts.uid(), facts.gid()) {
                return Ok(Some(parent.to_owned()));
            }
        }
        Ok(None)
    }

    fn may_search(&self, mode: u32, owner: u32, group: u32) -> bool {
        let bit = if owner == self.uid {
            0o100
        } else if group == self.gid {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

/// A directory for servers that Postgres can work in: `preferred`, unless we are root and a directory
/// above it is closed to the user whom Postgres runs as (as `/root` is); then one below the system's
/// directory for temporary files, always the same for the same `preferred`. It is made.
pub fn reachable_dir(preferred: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(preferred).map_err(io("create", preferred))?;
    let preferred = preferred.canonicalize().map_err(io("find", preferred))?;
    let Some(user) = User::to_drop_to()? else { return Ok(preferred) };
    // The question is about a server's directory below it.
    if user.closed_on_the_way_to(&preferred.join("server"))?.is_none() {
        return Ok(preferred);
    }
    let mut hasher = DefaultHasher::new();
    preferred.hash(&mut hasher);
    let instead = std::env::temp_dir().join(format!("mailroom-{:016x}", hasher.finish()));
    fs::create_dir_all(&instead).map_err(io("create", &instead))?;
    // Its name can be guessed, so it may be somebody else's trap.
    if fs::symlink_metadata(&instead).map_err(io("look at", &instead))?.uid() != 0 {
        let what = format!("a directory {} of root's own", instead.display());
        return Err(Error::Missing { what, remedy: "remove the one that is there".to_owned() });
    }
    Ok(instead)
}

fn find(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let mut ids = fields.skip(1);
        Some(User { name: name.to_owned(), uid: ids.next()?.parse().ok()?, gid: ids.next()?.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\npostgresql:x:1:1::/:/bin/sh\n\
                          postgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let postgres = User { name: "postgres".to_owned(), uid: 101, gid: 104 };
        assert_eq!(find(PASSWD, "postgres"), Some(postgres));
        assert_eq!(find(PASSWD, "nobody"), None);
    }

    #[test]
    fn the_first_fitting_class_decides_who_may_pass() {
        let user = User { name: "postgres".to_owned(), uid: 101, gid: 104 };
        assert!(user.may_search(0o755, 0, 0));
        assert!(!user.may_search(0o700, 0, 0));
        assert!(user.may_search(0o700, 101, 0));
        assert!(user.may_search(0o710, 0, 104));
        assert!(!user.may_search(0o701, 0, 104));
    }
}
