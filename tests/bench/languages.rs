//! One handler in each language: what its component weighs, how long a host compiles it, and what a call of it costs.
//! Without servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{Start, paths};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::call::invoke;

/// The languages by the names of people, and their handlers.
const HANDLERS: [(&str, &str); 6] = [
    ("Rust", "totals-rust"),
    ("C", "totals-c"),
    ("JavaScript (QuickJS)", "totals-javascript"),
    ("TypeScript (QuickJS)", "totals-typescript"),
    ("Go", "totals-go"),
    ("Python", "totals-python"),
];
/// Calls of a run; so many in new instances take Python half a minute.
const CALLS: &str = "5000";
/// Number of runs, of which the best counts: what else the machine does makes a run slower, never faster.
const ROUNDS: usize = 3;

/// Findings about one language.
#[derive(Debug)]
pub(crate) struct Language {
    name: &'static str,
    bytes: u64,
    /// Seconds of compiling beside messages, on one thread.
    compile_secs: f64,
    /// Seconds of `handler check`, on all cores.
    check_secs: f64,
    first_us: f64,
    new_us: f64,
    reused_us: f64,
}

/// Builds and measures each.
pub(crate) async fn measure() -> Result<Vec<Language>> {
    let folder = paths::target()?.join("bench-languages");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut languages = Vec::new();
    for (name, handler) in HANDLERS {
        eprintln!("measuring {name} …");
        let measured = Measuring::of(&folder, handler).await?.language(name).await;
        languages.push(measured.with_context(|| format!("language {name}"))?);
    }
    Ok(languages)
}

/// One handler on its way.
struct Measuring {
    component: PathBuf,
    message: PathBuf,
    start: Start,
    new: PathBuf,
    reuse: PathBuf,
}

impl Measuring {
    async fn of(folder: &Path, handler: &str) -> Result<Self> {
        let project = paths::root().join("handlers").join(handler);
        let mut build = Command::new(paths::binary()?);
        let built = build.args(["handler", "build"]).arg(&project).status().await?;
        ensure!(built.success(), "`handler build` of {} ended with {built}", project.display());
        let folder = folder.join(handler);
        fs::create_dir_all(&folder)?;
        let config = folder.join("mailroom.toml");
        fs::write(&config, format!("[host]\ncompiled = {:?}\n", folder.join("compiled")))?;
        let granted = fs::read_to_string(project.join(format!("{handler}.toml")))?;
        let others = granted.lines().filter(|line| !line.starts_with("instances"));
        let granted = others.collect::<Vec<_>>().join("\n");
        let (new, reuse) = (folder.join("new.toml"), folder.join("reuse.toml"));
        fs::write(&new, &granted)?;
        fs::write(&reuse, format!("instances = \"reuse\"\n{granted}"))?;
        let start =
            Start { binary: paths::binary()?, config, env: Vec::new(), log: folder.join("mailroom.log") };
        Ok(Self {
            component: project.join(format!("{handler}.wasm")),
            message: project.join("message.json"),
            start,
            new,
            reuse,
        })
    }

    async fn language(&self, name: &'static str) -> Result<Language> {
        let check = ["handler", "check", &self.component.to_string_lossy()].map(str::to_owned);
        let check: Vec<&str> = check.iter().map(String::as_str).collect();
        let mut took = [0.0; 2];
        for took in &mut took {
            let began = Instant::now();
            self.start.ran(&check).await?.ok()?;
            *took = began.elapsed().as_secs_f64();
        }
        let [cold, warm] = took;
        let (mut first, mut new, mut reused) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            first = first.min(self.median_us(&self.new, "1").await?);
            new = new.min(self.median_us(&self.new, CALLS).await?);
            reused = reused.min(self.median_us(&self.reuse, CALLS).await?);
        }
        Ok(Language {
            name,
            bytes: fs::metadata(&self.component)?.len(),
            compile_secs: self.compile_secs().await?,
            // The second time it is taken from the store.
            check_secs: cold - warm,
            first_us: first,
            new_us: new,
            reused_us: reused,
        })
    }

    /// Measures what a host does for a component that it sees for the first time, in seconds.
    async fn compile_secs(&self) -> Result<f64> {
        let mut compile = Command::new(&self.start.binary);
        compile.args(["compile-component", "--seconds", "3600", "--memory", &(8_u64 << 30).to_string()]);
        compile.stdin(fs::File::open(&self.component)?).stdout(Stdio::null());
        let began = Instant::now();
        let compiled = compile.status().await?;
        ensure!(compiled.success(), "compiling it ended with {compiled}");
        Ok(began.elapsed().as_secs_f64())
    }

    async fn median_us(&self, manifest: &Path, times: &str) -> Result<f64> {
        let (median_us, _) = invoke(&self.start, [&self.component, manifest, &self.message], times).await?;
        Ok(median_us)
    }
}

/// The page for the docs.
pub(crate) fn page(languages: &[Language]) -> String {
    format!(
        "# Languages in figures\n\nMade by `cargo xtask bench --only languages --write`, on two cores. Each handler is the \
         one of `handlers/totals-…`: it reads the JSON of an order, adds to a total in its key's state, and publishes the \
         sum.\n\n{}\n*Compiled* is what a host does once for a component, beside messages and on one thread; *for a person* is what \
         `handler check` takes longer with an empty store of compiled code, on all cores. *First* is the first call of a process, *new* the median of {CALLS} calls with an instance each, \
         *reused* with `instances = \"reuse\"`; each is the best of {ROUNDS} runs. [Handlers](handlers.md) tells which \
         of the two new projects have, and why.\n",
        table(languages)
    )
}

/// The figures, a language a line.
pub(crate) fn table(languages: &[Language]) -> String {
    let head = "| language | component | compiled in | for a person | first call | new instance | reused |\n\
                |---|---:|---:|---:|---:|---:|---:|\n";
    let rows = languages.iter().map(|of| {
        let mib = of.bytes as f64 / f64::from(1 << 20);
        format!(
            "| {} | {mib:.2} MiB | {:.1} s | {:.1} s | {:.0} µs | {:.0} µs | {:.0} µs |\n",
            of.name, of.compile_secs, of.check_secs, of.first_us, of.new_us, of.reused_us
        )
    });
    head.to_owned() + &rows.collect::<String>()
}

/// The same for programs.
pub(crate) fn json(languages: &[Language]) -> Value {
    let figures = languages.iter().map(|of| {
        json!({
            "language": of.name, "bytes": of.bytes, "compile_secs": of.compile_secs,
            "check_secs": of.check_secs, "first_us": of.first_us, "new_us": of.new_us, "reused_us": of.reused_us,
        })
    });
    json!({ "languages": figures.collect::<Vec<_>>() })
}
