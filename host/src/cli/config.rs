//! `mailroom config`: whether it is valid, and what holds.

mod connect;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::{Output, Settings, print};
use crate::config::{Config, Servers, Setting, Source, environment};
use crate::kafka::check_settings;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say whether the configuration is valid, or all that is wrong
    Check(Check),
    /// Show every setting with where it comes from; secrets are hidden
    Show(Output),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Try Postgres, its roles and its schema, Kafka, and the topics and consumer groups of the handlers that are there
    #[arg(long)]
    connect: bool,
}

pub(super) async fn config(verb: Verb, settings: &Settings) -> Result<(), Failure> {
    let (config, shown) = Config::load_with(settings.0.as_deref(), environment(), Servers::Needed)?;
    match verb {
        Verb::Check(Check { connect }) => {
            check_settings(&config)?;
            let problems = if connect { connect::problems(&config).await? } else { Vec::new() };
            if problems.is_empty() { print::line("ok") } else { Err(Failure::Refused(problems.join("\n"))) }
        }
        Verb::Show(Output { json: true }) => print::json(&shown),
        Verb::Show(Output { json: false }) => {
            print::table(&["SETTING", "VALUE", "FROM"], shown.iter().map(row).collect(), "")
        }
    }
}

fn row(setting: &Setting) -> Vec<String> {
    let source = match setting.source {
        Source::Default => "default",
        Source::File => "file",
        Source::Env => "environment",
    };
    vec![setting.key.clone(), setting.value.clone(), source.to_owned()]
}
