//! `mailroom config`: whether it is valid, and what holds.

use clap::Subcommand;

use super::failure::Failure;
use super::{Output, Settings, print};
use crate::config::{Config, Servers, Setting, Source, environment};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say whether the configuration is valid, or all that is wrong
    Check,
    /// Show every setting with where it comes from; secrets are hidden
    Show(Output),
}

pub(super) fn config(verb: Verb, settings: &Settings) -> Result<(), Failure> {
    let (_, shown) = Config::load_with(settings.0.as_deref(), environment(), Servers::Needed)?;
    match verb {
        Verb::Check => print::line("ok"),
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
