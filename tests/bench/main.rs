//! The benchmark: the real `mailroom` on a Postgres and a Kafka of the benchmark's own, each figure beside
//! its floor, a minimal program that runs on the same tables in the same run. It measures and judges
//! nothing: the ratios are for people, whatever they are. What was started is stopped.

mod args;
mod stage;
mod ground;
mod rounds;
mod payload;
mod relay;
mod producers;
mod handled;
mod metrics;
mod drain;
mod blocked;
mod latency;
mod idle;
mod neighbour;
mod reload;
mod call;
mod languages;
mod floor;
mod machine;
mod figure;
mod report;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mailroom_tests::paths;

use args::{Args, Asked, Form, Scenario};
use figure::Figure;
use report::Report;
use stage::Stage;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(args)) => args,
        Ok(Asked::Help) => {
            println!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not be measured: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    if args.only == Some(Scenario::Languages) {
        return run_languages(args).await;
    }
    let stage = Stage::start().await?;
    let measured = measure(&stage, args).await;
    let stopped = stage.stop().await;
    let report = measured?;
    match args.form {
        Form::Table => println!("{}", report.table()),
        Form::Json => println!("{:#}", report.json()),
    }
    if args.write {
        let file = "docs/benchmark.md";
        let before = fs::read_to_string(paths::root().join(file)).unwrap_or_default();
        write(file, report.page(&before))?;
    }
    stopped
}

/// Needs no servers.
async fn run_languages(args: Args) -> Result<()> {
    let languages = languages::measure().await?;
    match args.form {
        Form::Table => println!("{}", languages::table(&languages)),
        Form::Json => println!("{:#}", languages::json(&languages)),
    }
    if args.write {
        write("docs/languages.md", languages::page(&languages))?;
    }
    Ok(())
}

fn write(file: &str, page: String) -> Result<()> {
    let file = paths::root().join(file);
    fs::write(&file, page).with_context(|| format!("could not write {}", file.display()))
}

async fn measure(stage: &Stage, args: Args) -> Result<Report> {
    let machine = machine::line(stage).await?;
    let mut figures = Vec::new();
    for scenario in Scenario::ALL {
        if args.only.is_none_or(|only| only == scenario) {
            eprintln!("measuring {} …", scenario.word());
            figures.extend(one(stage, scenario, args.messages).await?);
        }
    }
    Ok(Report { machine, messages: args.messages, figures })
}

async fn one(stage: &Stage, scenario: Scenario, messages: u32) -> Result<Vec<Figure>> {
    let measured = match scenario {
        Scenario::Relay => relay::measure(stage, messages).await.map(|figure| vec![figure]),
        Scenario::Producers => producers::measure(stage, messages).await.map(|figure| vec![figure]),
        Scenario::Handled => handled::measure(stage, messages).await,
        Scenario::Metrics => metrics::measure(stage, messages).await.map(|figure| vec![figure]),
        Scenario::Drain => drain::measure(stage, messages).await,
        Scenario::Blocked => blocked::measure(stage, messages).await.map(|figure| vec![figure]),
        Scenario::Latency => latency::measure(stage).await,
        Scenario::Idle => idle::measure(stage).await.map(|figure| vec![figure]),
        Scenario::Neighbour => neighbour::measure(stage).await.map(|figure| vec![figure]),
        Scenario::Reload => reload::measure(stage).await,
        Scenario::Call => call::measure(stage).await,
        Scenario::Languages => bail!("they are measured alone"),
    };
    measured.with_context(|| format!("scenario {}", scenario.word()))
}
