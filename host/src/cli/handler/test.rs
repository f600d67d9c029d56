//! `handler test`: a project's cases, run in the sandbox, without servers.

mod case;
mod junit;
mod observed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::unset_config;
use crate::author::project::Project;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::config::Config;
use crate::handler::{self, Checked, Reach, Rehearsal};
use crate::settle::StateView;
use case::Case;
use observed::Observed;

const CASES: &str = "cases";
/// The other times and random bytes of the runs that must not matter.
const LATER: Duration = Duration::from_secs(40_000_000);
const SEEDS: [u64; 2] = [1, 2];

const AFTER_HELP: &str = "\
A case is a file DIR/cases/NAME.json:
  {\"message\": {\"payload\": {\"amount_cents\": 4200}, \"key\": \"ada\"},
   \"state\": {\"keyed\": {\"total_cents\": 100}},
   \"config\": {\"GREETING\": \"hello\"},
   \"http\": [{\"request\": \"GET https://api.example.com/x\", \"status\": 200, \"body\": {\"ok\": true}}],
   \"expect\": {\"outcome\": \"completed\", \"state\": {\"keyed\": {\"total_cents\": 4300}},
              \"emitted\": [{\"topic\": \"totals\", \"payload\": {\"total_cents\": 4300}}]}}
The message and the state are as `handler invoke` takes them. HTTP answers are given in their order.
`expect` may have outcome (completed, retry, skipped, rejected, failure or fault), error, code,
retry-after-ms, retry-counts, emitted, state, log, fuel-max and time-max-ms; what it does not name
is not compared. Clocks and random bytes are the case's own: each case runs again at another time
and with other random bytes, and has to do the same.

Ends with 0 where all cases are as expected, 1 where one is not or the component is older than its
sources, 2 where a case cannot be read.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Test {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write what is observed into the cases as what is expected
    #[arg(long)]
    bless: bool,
    /// Write the results as JUnit does, for CI
    #[arg(long, value_name = "FILE.xml")]
    junit: Option<PathBuf>,
}

/// End of a case.
struct Verdict {
    name: String,
    /// A line for each thing that is wrong.
    wrong: Vec<String>,
    /// Usage of the call, or that its file was written anew.
    note: String,
    took: Duration,
}

pub(super) async fn test(args: &Test, config: &Config) -> Result<ExitCode, Failure> {
    let project = Project::open(&args.folder)?;
    let component = project.component();
    if !component.exists() {
        let folder = args.folder.display();
        let why = format!("there is no {}; `mailroom handler build {folder}` makes it", component.display());
        return Err(Failure::NotFound(why));
    }
    if let Some(source) = project.newer_source() {
        let (source, component, folder) = (source.display(), component.display(), args.folder.display());
        return Err(Failure::Refused(format!(
            "{source} was changed after {component} was built; `mailroom handler build {folder}` builds it anew"
        )));
    }
    let cases = cases(&args.folder, args.only.as_deref())?;
    let mut verdicts = Vec::new();
    for case in &cases {
        let started = Instant::now();
        let verdict = Box::pin(run(case, &project, config, args.bless)).await;
        // One that cannot be run keeps no other from it.
        let mut verdict = verdict.unwrap_or_else(|failure| Verdict {
            name: case.name.clone(),
            wrong: vec![failure.to_string()],
            note: String::new(),
            took: Duration::ZERO,
        });
        verdict.took = started.elapsed();
        let mark = if verdict.wrong.is_empty() { "ok  " } else { "FAIL" };
        print::line(&format!("{mark} {}  {}", verdict.name, verdict.note))?;
        for line in &verdict.wrong {
            print::line(&format!("     {}", line.replace('\n', "\n     ")))?;
        }
        verdicts.push(verdict);
    }
    if let Some(file) = &args.junit {
        junit::write(file, project.name.as_str(), &verdicts)?;
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.wrong.is_empty()).count();
    let cases = if verdicts.len() == 1 { "case" } else { "cases" };
    print::line(&format!("{} {cases}, {failed} failed", verdicts.len()))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All that can be read; one that cannot ends the command before the first runs.
fn cases(folder: &Path, only: Option<&str>) -> Result<Vec<Case>, Failure> {
    let folder = folder.join(CASES);
    let none = || Failure::NotFound(format!("there is no case in {}; `--help` shows one", folder.display()));
    let entries = std::fs::read_dir(&folder).map_err(|_| none())?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let (mut cases, mut unreadable) = (Vec::new(), Vec::new());
    for file in &files {
        match Case::read(file) {
            Ok(case) => cases.push(case),
            Err(failure) => unreadable.push(failure.to_string()),
        }
    }
    if !unreadable.is_empty() {
        return Err(Failure::Usage(unreadable.join("\n")));
    }
    if cases.is_empty() {
        return Err(none());
    }
    let all = cases.len();
    cases.retain(|case| only.is_none_or(|only| case.name.contains(only)));
    if cases.is_empty() {
        let only = only.unwrap_or_default();
        let folder = folder.display();
        return Err(Failure::NotFound(format!(
            "none of the {all} cases in {folder} has {only:?} in its name"
        )));
    }
    Ok(cases)
}

async fn run(case: &Case, project: &Project, config: &Config, bless: bool) -> Result<Verdict, Failure> {
    let loaded = load(case, project, config).await?;
    let start = case::clock_start(&case.message(&loaded)?);
    let [seed, other_seed] = SEEDS;
    let first = observe(case, &loaded, start, seed).await?;
    let later = observe(case, &loaded, start + LATER, seed).await?;
    let otherwise = observe(case, &loaded, start, other_seed).await?;
    let mut wrong = Vec::new();
    for (run, made_by, instead) in [
        (&later, "the time (wasi:clocks)", "take times from the message"),
        (&otherwise, "random bytes (wasi:random)", "derive ids from the message's id"),
    ] {
        let differences = observed::between(&first, run);
        if !differences.is_empty() {
            let differences = differences.join("\n  ");
            wrong.push(format!(
                "two runs differ by {made_by}, as two deliveries of one message would; {instead}\n  {differences}"
            ));
        }
    }
    for (place, answer) in case.answers()?.iter().enumerate().skip(first.requests) {
        wrong.push(format!("http[{place}]: the handler did not ask for {}", answer.request));
    }
    let usage = first.usage;
    let mut note = format!("fuel {}, {:.1} ms", usage.fuel, usage.took.as_secs_f64() * 1000.0);
    let differences = case.expect.as_ref().map(|expect| first.differences(expect));
    match differences {
        Some(differences) if differences.is_empty() => {}
        Some(_) | None if bless => {
            let mut expect = first.effects.clone();
            // Bounds are the author's, not observed.
            let is_bound = |key: &str| key.ends_with("-max") || key.ends_with("-max-ms");
            let bounds = case.expect.iter().flatten().filter(|(key, _)| is_bound(key));
            expect.extend(bounds.map(|(key, value)| (key.clone(), value.clone())));
            case.bless(&expect)?;
            note.push_str(", its expectation is written");
        }
        Some(differences) => {
            wrong.extend(differences);
            let is_told = case.expect.as_ref().is_some_and(|expect| expect.contains_key("error"));
            let error = first.effects.get("error").and_then(Value::as_str).filter(|_| !is_told);
            wrong.extend(error.map(|error| format!("its error: {error}")));
        }
        None => {
            let observed = serde_json::to_string_pretty(&Value::Object(first.effects)).unwrap_or_default();
            wrong.push(format!("it has no `expect`; --bless would write\n{observed}"));
        }
    }
    Ok(Verdict { name: case.name.clone(), wrong, note, took: Duration::ZERO })
}

async fn load(case: &Case, project: &Project, config: &Config) -> Result<Checked, Failure> {
    let config = case.config(config)?;
    let (component, manifest) = (project.component(), project.manifest());
    let loaded = Box::pin(handler::load(&component, Some(&manifest), &config, Reach::Nothing)).await;
    loaded.map_err(|why| {
        let hint = unset_config(&why)
            .map(|key| format!("\na case sets configuration with \"config\": {{\"{key}\": \"VALUE\"}}"))
            .unwrap_or_default();
        Failure::Refused(format!("{}: {why}{hint}", component.display()))
    })
}

async fn observe(case: &Case, loaded: &Checked, now: Duration, seed: u64) -> Result<Observed, Failure> {
    let given = case.message(loaded)?;
    let state = StateView::holding(given.message.key.clone(), case.state()?);
    let rehearsal = Rehearsal { now, seed, answers: case.answers()? };
    let watched = loaded.component.watch(&given.message, given.form, state, Some(rehearsal));
    let (called, asked) = Box::pin(watched).await;
    Ok(Observed::of(&called, &asked))
}
