//! `mailroom config`: whether it is valid, what holds, and what there is to set.

pub(super) mod connect;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::{Output, Settings, print};
use crate::config::{Config, Declaration, Manifest, Servers, Setting, Source, environment, markdown};
use crate::kafka::check_settings;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say whether the configuration is valid, or all that is wrong
    Check(Check),
    /// Show every setting with where it comes from; secrets are hidden
    Show(Output),
    /// List every key with its type, bounds, default and meaning; no file and no server is needed
    Keys(Keys),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Try Postgres, its roles and its schema, Kafka, and the topics and consumer groups of the handlers that are there
    #[arg(long)]
    connect: bool,
}

#[derive(Debug, Args)]
pub(super) struct Keys {
    /// List the keys of a handler's manifest instead of those of mailroom.toml
    #[arg(long)]
    manifest: bool,
    /// Answer with a table in Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn config(verb: Verb, settings: &Settings) -> Result<(), Failure> {
    let load = || Config::load_with(settings.0.as_deref(), environment(), Servers::Needed);
    match verb {
        Verb::Check(Check { connect }) => {
            let (config, _) = load()?;
            check_settings(&config)?;
            let problems = if connect { connect::problems(&config).await } else { Vec::new() };
            if problems.is_empty() { print::line("ok") } else { Err(Failure::Refused(problems.join("\n"))) }
        }
        Verb::Show(Output { json: true }) => print::json(&load()?.1),
        Verb::Show(Output { json: false }) => {
            let (_, shown) = load()?;
            print::table(&["SETTING", "VALUE", "FROM"], shown.iter().map(row).collect(), "")
        }
        Verb::Keys(which) => keys(&which),
    }
}

fn keys(which: &Keys) -> Result<(), Failure> {
    let declared = if which.manifest { Manifest::declared() } else { Config::declared() };
    match which {
        Keys { output: Output { json: true }, .. } => print::json(&declared),
        Keys { markdown: true, .. } => print::line(markdown(&declared).trim_end()),
        Keys { .. } => {
            let entries: Vec<String> = declared.iter().map(entry).collect();
            print::line(&entries.join("\n"))
        }
    }
}

fn entry(Declaration { key, kind, bounds, default, meaning }: &Declaration) -> String {
    let separator = if bounds.is_empty() { "" } else { ", " };
    format!("{key}\n  {kind}{separator}{bounds}; default: {default}\n  {meaning}\n")
}

fn row(setting: &Setting) -> Vec<String> {
    let source = match setting.source {
        Source::Default => "default",
        Source::File => "file",
        Source::Env => "environment",
    };
    vec![setting.key.clone(), setting.value.clone(), source.to_owned()]
}
