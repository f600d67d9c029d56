//! `handler new`: a project with a handler that works, in one of the languages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::author::language::Language;
use crate::author::scaffold::scaffold;
use crate::author::shell_word;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::config::HandlerName;

#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The handler's name: a-z, 0-9, "-" and "_"
    #[arg(value_name = "NAME")]
    name: String,
    /// The language of its source
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// The folder, which must be absent or empty; by default one with the handler's name
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

pub(super) fn new(args: &New) -> Result<ExitCode, Failure> {
    let name = HandlerName::parse(&args.name);
    let name = name.map_err(|error| Failure::Usage(format!("the handler's name {:?} {error}", args.name)))?;
    let folder = args.into.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
    scaffold(&folder, &name, args.lang)?;
    let folder = shell_word(&folder.display().to_string());
    print::line(&format!(
        "{folder} holds a handler in {language}. Build it, run its cases, and drop it into a host's folder:\n\n  \
         mailroom handler build {folder}\n  \
         mailroom handler test {folder}\n  \
         cp {folder}/{name}.toml {folder}/{name}.wasm handlers/",
        language = args.lang.as_str(),
    ))?;
    Ok(ExitCode::SUCCESS)
}
