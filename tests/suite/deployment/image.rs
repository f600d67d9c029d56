//! The image: what its build copies and installs is there, and who runs it is nobody in particular. No engine of containers
//! is at hand that would build it.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::paths;

use super::{Scratch, accepts, text};

const FILE: &str = "deploy/Dockerfile";

/// Instructions with their arguments, each on one line.
fn instructions() -> Result<Vec<(String, String)>> {
    let text = text(FILE)?;
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let instructions = joined.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        let (name, arguments) = line.split_once(' ').with_context(|| format!("{line} has no argument"))?;
        let arguments = arguments.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok((name.to_owned(), arguments))
    });
    instructions.collect()
}

/// Stages by their names, each with the one that it goes on from and its instructions.
fn stages() -> Result<Vec<Stage>> {
    let mut stages: Vec<Stage> = Vec::new();
    for (name, arguments) in instructions()? {
        if name == "FROM" {
            let (from, stage) = arguments.split_once(" AS ").unwrap_or((&arguments, ""));
            stages.push(Stage { name: stage.to_owned(), from: from.to_owned(), does: Vec::new() });
        } else {
            stages.last_mut().context("nothing stands before FROM")?.does.push((name, arguments));
        }
    }
    Ok(stages)
}

#[derive(Debug)]
struct Stage {
    name: String,
    from: String,
    does: Vec<(String, String)>,
}

impl Stage {
    fn all(&self, instruction: &str) -> Vec<&str> {
        let of = self.does.iter().filter(|(name, _)| name == instruction);
        of.map(|(_, arguments)| arguments.as_str()).collect()
    }
}

/// A stage by its name.
fn named<'s>(stages: &'s [Stage], name: &str) -> Result<&'s Stage> {
    stages.iter().find(|stage| stage.name == name).with_context(|| format!("there is no stage {name}"))
}

#[test]
fn what_a_stage_copies_is_in_the_context_or_made_by_an_earlier_stage() -> Result<()> {
    let (stages, ignored) = (stages()?, text(&format!("{FILE}.dockerignore"))?);
    ensure!(ignored.lines().any(|line| line == "*"), "the context is the whole repository");
    let taken: BTreeSet<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut copied = BTreeSet::new();
    for (number, stage) in stages.iter().enumerate() {
        for copy in stage.all("COPY") {
            let words: Vec<&str> = copy.split(' ').collect();
            let (_, sources) = words.split_last().context("COPY has a place")?;
            if let Some(from) = words.first().and_then(|word| word.strip_prefix("--from=")) {
                let earlier = stages.get(..number).context("earlier stages")?;
                let made = named(earlier, from)?.all("RUN").concat();
                ensure!(
                    sources.iter().skip(1).all(|source| made.contains(source)),
                    "{copy}: nobody makes it"
                );
                continue;
            }
            for source in sources {
                ensure!(paths::root().join(source).exists(), "{copy}: there is no {source}");
                ensure!(taken.contains(source), "{copy}: {source} is left out of the context");
                copied.insert(*source);
            }
        }
    }
    assert_eq!(taken, copied, "taken into the context, and copied");
    for manifest in ["Cargo.toml", "handlers/Cargo.toml"] {
        let workspace = text(manifest)?;
        let members = workspace.split_once("\nmembers = [").and_then(|(_, rest)| rest.split_once(']'));
        let members = members.context("members")?.0.split(',').map(|member| member.trim().trim_matches('"'));
        let folder = manifest.strip_suffix("Cargo.toml").unwrap_or_default();
        for member in members.filter(|member| !member.is_empty()) {
            let member = format!("{folder}{member}");
            let top = member.split('/').next().unwrap_or_default();
            ensure!(copied.contains(top), "{member} is of the workspace of {manifest} and is not copied");
        }
    }
    Ok(())
}

#[test]
fn programs_are_built_by_the_repositorys_toolchain_from_packages_that_it_has() -> Result<()> {
    let (stages, toolchain) = (stages()?, text("rust-toolchain.toml")?);
    let channel = toolchain.split('"').nth(1).context("a channel")?;
    let source = named(&stages, "source")?;
    ensure!(source.from.starts_with(&format!("rust:{channel}-")), "{} is not {channel}", source.from);
    let env = source.all("ENV").concat();
    ensure!(env.contains(&format!("RUSTUP_TOOLCHAIN={channel} ")), "{env}");
    ensure!(paths::root().join("host/.sqlx").exists() && env.contains("SQLX_OFFLINE=true"), "{env}");
    for (stage, packages) in [("host", &["mailroom"][..]), ("handlers", &["invoice", "shipping"])] {
        let run = named(&stages, stage)?.all("RUN").concat();
        ensure!(run.contains("cargo build --locked --release "), "{run}");
        let built: Vec<&str> =
            run.split("--package ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
        assert_eq!(built, packages);
    }
    let handlers = named(&stages, "handlers")?.all("RUN").concat();
    for manifest in handlers.split(' ').filter(|word| word.ends_with(".toml")) {
        ensure!(paths::root().join(manifest).exists(), "there is no {manifest}");
    }
    Ok(())
}

#[tokio::test]
async fn the_image_runs_a_host_as_nobody_with_settings_that_it_knows() -> Result<()> {
    let stages = stages()?;
    let last = stages.last().context("stages")?;
    assert_eq!(last.from, "mailroom", "built where no target is named");
    let runs = named(&stages, "mailroom")?;
    assert_eq!((runs.all("ENTRYPOINT"), runs.all("CMD")), (vec![r#"["mailroom"]"#], vec![r#"["run"]"#]));
    let user = runs.all("USER");
    let (user, group) = user.last().and_then(|user| user.split_once(':')).context("a user and a group")?;
    ensure!(user.parse::<u32>()? > 0 && group.parse::<u32>()? > 0, "root, or a name");
    let made = runs.all("RUN").concat();
    let own = format!("--mode 0700 --owner {user} --group {group} /var/cache/mailroom");
    ensure!(made.contains(&own), "the folder of compiled code is not its user's own: {made}");
    let scratch = Scratch::new()?;
    let env = runs.all("ENV").concat();
    let mut settings: Vec<(String, String)> = Vec::new();
    for setting in env.split(' ') {
        let (name, value) = setting.split_once('=').context("ENV sets a value")?;
        settings.push((name.to_owned(), value.to_owned()));
    }
    ensure!(settings.len() == 2, "{settings:?}");
    for (name, value) in
        [("MAILROOM__POSTGRES__URL", "postgres://u:p@h/d"), ("MAILROOM__KAFKA__BROKERS", "k:9092")]
    {
        settings.push((name.to_owned(), value.to_owned()));
    }
    accepts(&scratch, &settings, None).await
}

/// Libraries of Debian's base image, and packages that have others.
#[cfg(target_os = "linux")]
#[test]
fn the_image_has_the_libraries_that_the_program_is_linked_against() -> Result<()> {
    const OF_THE_BASE: [&str; 6] =
        ["ld-linux", "libc.so", "libdl.so", "libgcc_s.so", "libm.so", "libpthread.so"];
    const PACKAGES: [(&str, &str); 3] =
        [("libcrypto.so.3", "libssl3"), ("libssl.so.3", "libssl3"), ("libz.so.1", "zlib1g")];
    let installed = named(&stages()?, "mailroom")?.all("RUN").concat();
    let output = Command::new("ldd").arg(paths::binary()?).output()?;
    ensure!(output.status.success(), "{output:?}");
    let listed = String::from_utf8(output.stdout)?;
    let libraries = listed.lines().filter_map(|line| line.trim().split(' ').next());
    let mut count = 0;
    for library in libraries.filter(|library| !library.starts_with("linux-vdso")) {
        count += 1;
        let name = library.rsplit('/').next().unwrap_or_default();
        if OF_THE_BASE.iter().any(|base| name.starts_with(base)) {
            continue;
        }
        let package = PACKAGES.iter().find(|(of, _)| *of == name).map(|(_, package)| *package);
        let package = package.with_context(|| format!("no package is known that has {name}"))?;
        ensure!(
            installed.contains(&format!(" {package} ")),
            "{name} is in {package}, which is not installed"
        );
    }
    ensure!(count > 3, "{listed}");
    Ok(())
}
