//! `mailroom handler`: a component before it is dropped into the folder, and what hosts have loaded.

mod build;
mod check;
mod given;
mod growth;
mod invoke;
mod new;
mod test;
mod told;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;
use super::{Output, Settings, print};
use crate::config::{Config, Servers, environment};
use crate::db::audit::Operator;
use crate::db::{Db, breakers, handlers_list, pauses};
use crate::handler::Refused;
use crate::telemetry;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a project for a new handler, in one of the languages
    New(new::New),
    /// Build a project's component with the tools of its language
    Build(build::Build),
    /// Run a project's cases in the sandbox, without servers
    Test(test::Test),
    /// Say whether a host would load this component, and what it would do; of two, what grows between them
    Check(check::Check),
    /// Call this component once with a message from a file, without servers
    Invoke(invoke::Invoke),
    /// List what each host has loaded
    List(Output),
    /// Start nothing of a handler on any host; its messages are stored and wait
    Pause {
        /// The handler, or its consumer group
        name: String,
        /// Reason, for whoever reads `status` and `audit list`
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let a paused handler go on
    Resume {
        /// The handler, or its consumer group
        name: String,
        /// Reason, for whoever reads `audit list`
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Close a handler's circuit breaker on all hosts
    Reset {
        /// The handler, or its consumer group
        name: String,
        /// Reason, for whoever reads `audit list`
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(super) async fn handler(verb: Verb, settings: &Settings) -> Result<ExitCode, Failure> {
    telemetry::init_for_author();
    match verb {
        Verb::New(new) => return new::new(&new),
        Verb::Build(build) => return build::build(&build),
        Verb::Test(test) => return test::test(&test, &without_servers(settings)?).await,
        Verb::Check(check) => return check::check(&check, &without_servers(settings)?).await,
        Verb::Invoke(invoke) => return invoke::invoke(&invoke, without_servers(settings)?).await,
        Verb::List(output) => {
            let loaded = handlers_list::list(&settings.open().await?).await?;
            if output.json { print::json(&loaded) } else { table(&loaded) }
        }
        Verb::Pause { name, reason } => {
            let config = settings.load()?;
            let db = settings.open().await?;
            let by = Operator::at_command_line(config.host.worker.as_str(), reason.as_deref());
            for group in known_groups(&db, &config, &name).await? {
                pauses::pause(&db, &group, &by).await?;
                print::line(&format!(
                    "{group} is paused: hosts start nothing more of it, end what runs, and go on storing its \
                     messages. `mailroom handler resume {name}` lets it go on."
                ))?;
            }
            Ok(())
        }
        Verb::Resume { name, reason } => {
            let config = settings.load()?;
            let db = settings.open().await?;
            let by = Operator::at_command_line(config.host.worker.as_str(), reason.as_deref());
            let mut resumed = false;
            for group in known_groups(&db, &config, &name).await? {
                if pauses::resume(&db, &group, &by).await? {
                    resumed = true;
                    print::line(&format!("{group} goes on."))?;
                }
            }
            let not_paused =
                || Failure::NotFound(format!("{name} is not paused; `mailroom status` lists what is"));
            resumed.then_some(()).ok_or_else(not_paused)
        }
        Verb::Reset { name, reason } => reset(&name, reason.as_deref(), settings).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn reset(name: &str, reason: Option<&str>, settings: &Settings) -> Result<(), Failure> {
    let config = settings.load()?;
    let db = settings.open().await?;
    let by = Operator::at_command_line(config.host.worker.as_str(), reason);
    for group in breakers::groups_of(config.namespace.as_str(), name) {
        if breakers::reset(&db, &group, &by).await? {
            return print::line(&format!("The breaker of {group} is closed."));
        }
    }
    Err(Failure::NotFound(format!("no breaker of {name} is open; `mailroom status` lists them")))
}

/// The settings that a component depends on; servers need not be named.
fn without_servers(settings: &Settings) -> Result<Config, Failure> {
    Ok(Config::load_with(settings.0.as_deref(), environment(), Servers::Unneeded)?.0)
}

/// The manifest of that name, else the one beside the component where there is one.
fn manifest(file: &Path, named: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    there(file)?;
    match named {
        Some(named) => there(named).map(|()| Some(named.to_owned())),
        None => Ok(Some(file.with_extension("toml")).filter(|beside| beside.exists())),
    }
}

fn there(path: &Path) -> Result<(), Failure> {
    let absent = || Failure::NotFound(format!("there is no file {}", path.display()));
    path.exists().then_some(()).ok_or_else(absent)
}

fn refused(file: &Path, refused: &Refused) -> Failure {
    Failure::Refused(format!("{}: {refused}", file.display()))
}

/// The first key of `[handler-config]` that a manifest grants and that nobody has set, where that is what it is refused for.
fn unset_config(refused: &Refused) -> Option<&str> {
    let Refused::Manifest(errors) = refused else { return None };
    let error = errors.0.iter().find(|error| error.key == "grants.config")?;
    error.value.as_deref()?.strip_prefix('"')?.strip_suffix('"')
}

async fn known_groups(db: &Db, config: &Config, name: &str) -> Result<Vec<String>, Failure> {
    let groups = pauses::groups_of(db, config.namespace.as_str(), name).await?;
    if groups.is_empty() {
        let known = "`mailroom handler list` shows those that hosts have loaded";
        return Err(Failure::NotFound(format!(
            "no host has worked on a handler or consumer group {name}; {known}"
        )));
    }
    Ok(groups)
}

/// Prints the table of handlers, which is also part of `status`.
pub(super) fn table(loaded: &[handlers_list::Loaded]) -> Result<(), Failure> {
    let row = |loaded: &handlers_list::Loaded| {
        vec![
            loaded.name.clone(),
            loaded.consumer_group.clone(),
            loaded.worker.clone(),
            if loaded.alive { loaded.state.clone() } else { "dead host".to_owned() },
            loaded.version.clone().unwrap_or_default(),
            loaded.digest.as_deref().map(|digest| digest.chars().take(12).collect()).unwrap_or_default(),
            print::moment(loaded.since),
            print::short(loaded.last_error.as_deref()),
        ]
    };
    let header = ["HANDLER", "GROUP", "HOST", "STATE", "VERSION", "DIGEST", "SINCE", "ERROR"];
    print::table(&header, loaded.iter().map(row).collect(), "No host has loaded a handler.")
}
