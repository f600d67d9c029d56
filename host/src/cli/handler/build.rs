//! `handler build`: a project's component, whatever its language.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bytesize::ByteSize;
use clap::Args;

use crate::author::build;
use crate::author::project::Project;
use crate::cli::failure::Failure;
use crate::cli::print;

const AFTER_HELP: &str = "\
The language is known by the project's file: Cargo.toml, package.json, requirements.txt, go.mod, or
a Makefile for C. The language's own tool does the build, and its words go to standard error; a tool
that is missing is named with what installs it. The component lies beside its manifest, DIR/NAME.wasm,
and replaces the one before only when it is complete.

Ends with 0 where it was built, 1 where the build failed, 2 where the folder is no project.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Build {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(super) fn build(args: &Build) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let project = Project::open(&args.folder)?;
    let built = build::build(&project)?;
    print::line(&format!(
        "{}: {} in {:.1} s\n{}",
        built.file.display(),
        ByteSize(u64::try_from(built.bytes).unwrap_or(u64::MAX)),
        started.elapsed().as_secs_f64(),
        imports(&built.imports),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Packages of WASI that toolchains import whatever the source does; nothing is granted through them.
const ALWAYS: [&str; 6] =
    ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// Describes what the component can ask a host for, then what its toolchain brought along.
fn imports(all: &[String]) -> String {
    let (mut asked, mut always) = (BTreeSet::new(), BTreeSet::new());
    for import in all {
        let name = import.split('@').next().unwrap_or(import);
        match name.split_once('/') {
            Some((package, _)) if ALWAYS.contains(&package) => always.insert(package),
            // Types are no function.
            Some((_, "types")) => false,
            Some(_) | None => asked.insert(name),
        };
    }
    let joined = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    match (asked.is_empty(), always.is_empty()) {
        (true, true) => "imports nothing".to_owned(),
        (true, false) => format!("imports what its toolchain always does ({})", joined(always)),
        (false, true) => format!("imports {}", joined(asked)),
        (false, false) => {
            format!("imports {}, and what its toolchain always does ({})", joined(asked), joined(always))
        }
    }
}
