//! Prometheus and its promtool, by which tests judge alerts and dashboards.

use crate::install;
use crate::run::{Result, built, command, finish, succeeds};
use std::fs;

const PROGRAMS: [&str; 2] = ["promtool", "prometheus"];
const PACKAGE: &str = "prometheus";

/// Takes the programs out of Debian's package, where neither cargo's target folder nor the search path has them. The
/// package is not installed: it would start a server, now and whenever the machine starts.
pub(crate) fn fetch() -> Result {
    let folder = built("../prometheus")?;
    let is_there =
        |program: &&str| folder.join("usr/bin").join(program).exists() || succeeds(program, &["--version"]);
    if PROGRAMS.iter().all(is_there) {
        return Ok(());
    }
    if !succeeds("apt-get", &["--version"]) || !succeeds("dpkg-deb", &["--version"]) {
        let programs = PROGRAMS.join(" and ");
        return Err(format!("missing: {programs}, 2.42 or newer; put them on the search path").into());
    }
    println!("Fetching Debian's package {PACKAGE} into {} (19 MB)", folder.display());
    if install::we_are_root() {
        finish(install::apt_get(&["update"])?)?;
    }
    let part = folder.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    let mut download = install::apt_get(&["download", PACKAGE])?;
    download.current_dir(&part);
    finish(download)?;
    for entry in fs::read_dir(&part)? {
        let package = entry?.path();
        if package.extension().is_some_and(|ending| ending == "deb") {
            let [from, to] = [&package, &part].map(|path| path.to_string_lossy().into_owned());
            finish(command("dpkg-deb", &["--extract", &from, &to])?)?;
            fs::remove_file(package)?;
        }
    }
    // All of it or nothing, whenever this is stopped.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(part, &folder)?;
    match PROGRAMS.iter().find(|program| !is_there(program)) {
        None => Ok(()),
        Some(program) => Err(format!("{program} is missing though {PACKAGE} was fetched").into()),
    }
}
