//! Makes sure of what building, tests and demo need and cargo does not bring. The thing itself is looked
//! for, not the package; only what is missing is installed, and only where we may.

use crate::run::{Result, command, finish, output, succeeds};
use mailroom_servers::{
    KafkaRelease, PostgresRelease, java_is_there, kafka_jars_are_there, postgres_programs,
};
use std::path::Path;
use std::process::Command;

/// Something that is needed, and the Debian package that has it.
pub(crate) struct Need {
    pub(crate) what: &'static str,
    pub(crate) package: &'static str,
    pub(crate) is_there: fn() -> bool,
}

static NEEDS: [Need; 12] = [
    Need { what: "Postgres", package: "postgresql", is_there: || postgres_programs().is_ok() },
    Need { what: "psql", package: "postgresql-client", is_there: psql_is_there },
    // Debian puts it on no search path.
    Need { what: "PgBouncer", package: "pgbouncer", is_there: || Path::new("/usr/sbin/pgbouncer").exists() },
    Need { what: "Java 17 or newer", package: "default-jre-headless", is_there: || java_is_there().is_ok() },
    Need { what: "Maven, to fetch servers", package: "maven", is_there: maven_is_there },
    Need { what: "a C and C++ compiler and make", package: "build-essential", is_there: compilers_are_there },
    Need { what: "pkg-config", package: "pkg-config", is_there: || succeeds("pkg-config", &["--version"]) },
    Need {
        what: "OpenSSL's headers",
        package: "libssl-dev",
        is_there: || library("openssl", "openssl/ssl.h"),
    },
    Need { what: "openssl", package: "openssl", is_there: || succeeds("openssl", &["version"]) },
    Need { what: "zlib's headers", package: "zlib1g-dev", is_there: || library("zlib", "zlib.h") },
    Need { what: "Chromium", package: "chromium", is_there: || Path::new("/usr/bin/chromium").exists() },
    Need {
        what: "Chromium's driver",
        package: "chromium-driver",
        is_there: || Path::new("/usr/bin/chromedriver").exists(),
    },
];

/// Does nothing when all is there.
pub(crate) fn install() -> Result {
    packages(&NEEDS.iter().collect::<Vec<_>>())?;
    wasm_target()?;
    kafka(KafkaRelease::V4)
}

/// Releases of servers that the suite has besides: the oldest and the newest that mailroom works with, and one that it
/// refuses.
const RELEASES: [PostgresRelease; 3] = [PostgresRelease::V13, PostgresRelease::V14, PostgresRelease::V18];

/// Fetches what of the releases is not there.
pub(crate) fn releases() -> Result {
    for release in RELEASES.into_iter().filter(|release| !release.is_there()) {
        let (version, folder) = (release.version(), release.folder()?);
        println!(
            "Fetching Postgres {version} from Maven Central into {} ({} MB)",
            folder.display(),
            PostgresRelease::MEGABYTES
        );
        release.fetch()?;
    }
    kafka(KafkaRelease::V3)
}

fn kafka(release: KafkaRelease) -> Result {
    let jars = release.jars();
    if !kafka_jars_are_there(&jars) {
        let version = release.version();
        println!(
            "Fetching Apache Kafka {version} from Maven Central into {} ({} MB)",
            jars.display(),
            KafkaRelease::MEGABYTES
        );
        release.fetch(&jars)?;
    }
    Ok(())
}

/// Installs what of these is missing, where we may.
pub(crate) fn packages(needs: &[&'static Need]) -> Result {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let what = missing.iter().map(|need| need.what).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !we_are_root() || !succeeds("apt-get", &["--version"]) {
        let line = format!("sudo apt-get install --yes {}", packages.join(" "));
        return Err(format!("missing: {what}. On Debian and Ubuntu run\n\n    {line}\n").into());
    }
    println!("Installing {} ({what})", packages.join(" "));
    finish(apt_get(&["update"])?)?;
    let mut install = apt_get(&["install", "--yes", "--no-install-recommends"])?;
    install.args(&packages);
    finish(install)?;
    match self::missing(needs).first() {
        None => Ok(()),
        Some(need) => Err(format!("{} is missing though {} is installed", need.what, need.package).into()),
    }
}

fn missing(needs: &[&'static Need]) -> Vec<&'static Need> {
    needs.iter().filter(|need| !(need.is_there)()).copied().collect()
}

pub(crate) fn apt_get(args: &[&str]) -> Result<Command> {
    let mut command = command("apt-get", &["--quiet"])?;
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

fn wasm_target() -> Result {
    if wasm_target_is_there()? {
        return Ok(());
    }
    println!("Adding the target wasm32-wasip2");
    finish(command("rustup", &["target", "add", "wasm32-wasip2"])?)
        .map_err(|error| format!("the compiler cannot build for wasm32-wasip2, and {error}"))?;
    if wasm_target_is_there()? {
        return Ok(());
    }
    Err("`rustup target add wasm32-wasip2` did not add it to the compiler that is used here".into())
}

fn wasm_target_is_there() -> Result<bool> {
    let folder = output(command("rustc", &["--print", "target-libdir", "--target", "wasm32-wasip2"])?)?;
    Ok(Path::new(folder.trim()).is_dir())
}

pub(crate) fn we_are_root() -> bool {
    command("id", &["-u"]).and_then(output).is_ok_and(|id| id.trim() == "0")
}

fn psql_is_there() -> bool {
    succeeds("psql", &["--version"]) || postgres_programs().is_ok_and(|dir| dir.join("psql").exists())
}

fn maven_is_there() -> bool {
    let fetched =
        [KafkaRelease::V3, KafkaRelease::V4].iter().all(|kafka| kafka_jars_are_there(&kafka.jars()))
            && RELEASES.iter().all(|postgres| postgres.is_there());
    fetched || succeeds("mvn", &["--version"])
}

fn compilers_are_there() -> bool {
    ["cc", "c++", "make"].iter().all(|program| succeeds(program, &["--version"]))
}

/// The package's own description, or the header where Debian puts it.
fn library(name: &str, header: &str) -> bool {
    succeeds("pkg-config", &["--exists", name]) || Path::new("/usr/include").join(header).exists()
}
