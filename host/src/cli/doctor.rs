//! `mailroom doctor`: faults of the installation, each with why it matters and what mends it.

mod drift;
mod finding;
mod kafka;
mod postgres;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::{Output, print};
use crate::config::Config;
use crate::message::one_line;
use finding::{Finding, Severity};

/// Exit code where there is an error or a warning.
const FOUND: u8 = 6;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Name transactions that are open for longer
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    transactions: Duration,
    /// Name topics that keep records for less: the longest time for which hosts may be stopped
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    retention: Duration,
    #[command(flatten)]
    output: Output,
}

/// The findings, as `--json` gives them.
#[derive(Debug, Serialize)]
struct Diagnosis {
    errors: usize,
    warnings: usize,
    notes: usize,
    /// The worst first.
    findings: Vec<Finding>,
}

pub(super) async fn doctor(doctor: &Doctor, config: &Config) -> Result<ExitCode, Failure> {
    let postgres::Look { mut findings, read, db } = postgres::look(config, doctor.transactions).await;
    findings.extend(kafka::look(config, read, db.as_ref(), doctor.retention).await);
    findings.sort_by_key(|finding| finding.severity);
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    let diagnosis = Diagnosis { errors, warnings, notes, findings };
    if doctor.output.json {
        print::json(&diagnosis)?
    } else {
        show(&diagnosis)?
    }
    Ok(if errors + warnings > 0 { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
}

fn show(diagnosis: &Diagnosis) -> Result<(), Failure> {
    for Finding { code, severity, what, why, remedy } in &diagnosis.findings {
        let severity = match severity {
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Note => "NOTE",
        };
        print::line(&format!("{severity} {}: {}", code.word(), one_line(what)))?;
        print::line(&format!("  because  {why}\n  remedy   {}\n", one_line(remedy)))?;
    }
    let Diagnosis { errors, warnings, notes, .. } = diagnosis;
    print::line(&format!("Errors: {errors}, warnings: {warnings}, notes: {notes}."))
}
