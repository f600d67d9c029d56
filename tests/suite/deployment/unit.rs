//! The unit of systemd: its settings are known, systemd finds nothing wrong with it where it is there, and it shuts in what
//! it can.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::paths;

use super::{Scratch, accepts, text};

const UNIT: &str = "deploy/systemd/mailroom.service";
/// Exposure that is allowed by `systemd-analyze security`, in tenths of its points.
const EXPOSURE_MAX: &str = "20";

/// Directives by their names, with all their values.
fn directives(unit: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut directives: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut sections = Vec::new();
    for line in unit.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[') {
            sections.push(section.trim_end_matches(']').to_owned());
            continue;
        }
        let (name, value) = line.split_once('=').with_context(|| format!("{line} sets nothing"))?;
        directives.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    assert_eq!(sections, ["Unit", "Service", "Install"]);
    Ok(directives)
}

#[tokio::test]
async fn its_settings_are_known_with_its_secrets_in_files() -> Result<()> {
    // What is commented out is to be right, too.
    let unit = text(UNIT)?
        .replace("\n#LoadCredential", "\nLoadCredential")
        .replace("\n#Environment", "\nEnvironment");
    let (scratch, directives) = (Scratch::new()?, directives(&unit)?);
    let secrets = scratch.secrets().await?;
    let credentials = directives.get("LoadCredential").context("no credentials")?;
    let names = credentials.iter().map(|credential| credential.split(':').next().unwrap_or_default());
    assert_eq!(names.collect::<Vec<_>>(), ["postgres-url", "admin-token"]);
    let env = directives.get("Environment").context("no environment")?.iter().map(|setting| {
        let (name, value) = setting.split_once('=').context("a variable has a value")?;
        ensure!(!value.contains("/etc/mailroom/postgres-url"), "it reads root's file");
        let cache = scratch.path().join("cache").display().to_string();
        Ok((name.to_owned(), value.replace("%d", &secrets).replace("%C", &cache)))
    });
    let env: Vec<_> = env.collect::<Result<Vec<_>>>()?;
    ensure!(env.iter().filter(|(_, value)| value.starts_with(&secrets)).count() == 2, "{env:?}");
    let config = "[kafka]\nbrokers = \"k:9092\"\n[admin]\nlisten = \"0.0.0.0:9180\"\n";
    accepts(&scratch, &env, Some(config)).await
}

#[test]
fn it_shuts_a_host_in_and_leaves_it_what_it_needs() -> Result<()> {
    let directives = directives(&text(UNIT)?)?;
    let is = |name: &str, value: &str| {
        ensure!(directives.get(name).is_some_and(|values| values == &[value]), "{name} is not {value}");
        Ok(())
    };
    for name in [
        "DynamicUser",
        "NoNewPrivileges",
        "PrivateDevices",
        "PrivateTmp",
        "ProtectHome",
        "RestrictNamespaces",
    ] {
        is(name, "yes")?;
    }
    is("ProtectSystem", "strict")?;
    is("CapabilityBoundingSet", "")?;
    is("SystemCallFilter", "@system-service")?;
    is("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX")?;
    // Compiled code is written to memory and then run.
    ensure!(!directives.contains_key("MemoryDenyWriteExecute"), "no handler could be compiled");
    is("CacheDirectory", "mailroom")?;
    is("CacheDirectoryMode", "0700")?;
    let stop: u32 = directives.get("TimeoutStopSec").context("no TimeoutStopSec")?.concat().parse()?;
    ensure!(stop > 25, "it is killed within host.stop-grace");
    Ok(())
}

#[test]
fn systemd_finds_nothing_wrong_with_it_where_systemd_is() -> Result<()> {
    let scratch = Scratch::new()?;
    let (unit, installed) = (text(UNIT)?, "/usr/local/bin/mailroom");
    ensure!(unit.contains(&format!("ExecStart={installed} run\n")));
    let program = paths::binary()?.display().to_string();
    let path = scratch.write("mailroom.service", &unit.replace(installed, &program))?;
    let analyze = |args: &[&str], path: &str| Command::new("systemd-analyze").args(args).arg(path).output();
    if analyze(&["--version"], "").is_err() {
        return directives(&unit).map(drop);
    }
    let verified = analyze(&["verify", "--man=no"], &path)?;
    ensure!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    let security = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX];
    let judged = analyze(&security, &path)?;
    ensure!(judged.status.success(), "{judged:?}");
    // systemd skips what it does not know, and says so.
    fs::write(&path, unit.replace(installed, &program).replace("ProtectHome=", "ProtectHouse="))?;
    let verified = analyze(&["verify", "--man=no"], &path)?;
    ensure!(!verified.stderr.is_empty(), "a directive that there is not goes unnoticed");
    fs::write(&path, unit.replace(installed, &program).replace("CapabilityBoundingSet=\n", ""))?;
    ensure!(!analyze(&security, &path)?.status.success(), "a host with all capabilities passes");
    Ok(())
}
