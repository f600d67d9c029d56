//! `handler check`: one component as a host would load it, or what grows from one version to the next.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::growth::{self, Growth};
use super::{manifest, refused};
use crate::cli::failure::Failure;
use crate::cli::{Output, print};
use crate::config::Config;
use crate::handler::{self, Report};

/// The exit code where a new version asks for more, so that CI can ask a person.
const GROWN: u8 = 5;

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// A newer version of it: show what it asks for beyond the first, and end with 5 if there is anything
    #[arg(value_name = "NEW.wasm", conflicts_with = "manifest")]
    new: Option<PathBuf>,
    /// Manifest of the component; by default the one beside it with the same name, where it exists
    #[arg(long, value_name = "FILE.toml")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn check(args: &Check, config: &Config) -> Result<ExitCode, Failure> {
    let report = report(&args.file, args.manifest.as_deref(), config).await?;
    let Some(new) = &args.new else {
        if args.output.json { print::json(&report) } else { print::line(&report.to_string()) }?;
        return Ok(ExitCode::SUCCESS);
    };
    let later = self::report(new, None, config).await?;
    let growth: Growth = growth::between(&report, &later);
    if args.output.json { print::json(&growth) } else { print::line(&growth.to_string()) }?;
    Ok(if growth.grown.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(GROWN) })
}

async fn report(file: &Path, named: Option<&Path>, config: &Config) -> Result<Report, Failure> {
    let manifest = manifest(file, named)?;
    let checked = Box::pin(handler::check(file, manifest.as_deref(), config)).await;
    checked.map_err(|why| refused(file, &why))
}
