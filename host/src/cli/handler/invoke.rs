//! `handler invoke`: one call of a component, or several of the same, without a host or servers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::given::{self, Fields};
use super::told::{Calls, Told};
use super::{manifest, refused, unset_config};
use crate::cli::failure::Failure;
use crate::cli::{Output, print};
use crate::config::Config;
use crate::handler::{self, Reach};
use crate::pipeline::outcome::{End, Outcome};
use crate::settle::StateView;

const AFTER_HELP: &str = "\
The message is a JSON object; only payload must be there, null is a tombstone:
  {\"payload\": {\"order_id\": \"o-1\"}, \"key\": \"ada\", \"event-type\": \"order.placed\",
   \"headers\": {\"tenant\": \"north\"}, \"position\": {\"topic\": \"orders\"}, \"attempt\": 2}
Bytes are text, {\"text\": …} or {\"base64\": …}; any other JSON as payload is sent as its text. The state is
{\"keyed\": {NAME: VALUE}, \"shared\": {NAME: VALUE}}, which is also how --json tells what it is afterwards.

Ends with 0 where the handler completed, 10 retry, 11 skipped, 12 rejected, 13 failure, 14 fault (of several
calls: the first that did not complete); with 1 to 4 as every command where it could not be called.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Invoke {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The message, in JSON
    #[arg(long, value_name = "FILE.json")]
    message: PathBuf,
    /// Manifest of the component; by default the one beside it with the same name, where it exists
    #[arg(long, value_name = "FILE.toml")]
    manifest: Option<PathBuf>,
    /// The state that it finds, in JSON; none by default
    #[arg(long, value_name = "FILE.json")]
    state: Option<PathBuf>,
    /// A value of [handler-config], over that of the configuration file; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Call it so often, each time with the same state, and tell the median time; in instances as the manifest says
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    times: u32,
    /// Send the HTTP requests that its manifest grants, for real; without it none is sent
    #[arg(long)]
    http: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn invoke(args: &Invoke, mut config: Config) -> Result<ExitCode, Failure> {
    for given in &args.set {
        let (key, value) = given.split_once('=').ok_or_else(|| no_value(given))?;
        config.set_handler_value(key, value.to_owned()).map_err(Failure::Usage)?;
    }
    let manifest = manifest(&args.file, args.manifest.as_deref())?;
    let reach = if args.http { Reach::Http } else { Reach::Nothing };
    let loaded = Box::pin(handler::load(&args.file, manifest.as_deref(), &config, reach)).await;
    let loaded = loaded.map_err(|why| match (refused(&args.file, &why), unset_config(&why)) {
        (Failure::Refused(words), Some(key)) => {
            Failure::Refused(format!("{words}\n--set {key}=VALUE sets it for this call"))
        }
        (failure, _) => failure,
    })?;
    let given = given::message(Fields::read(&args.message)?, &loaded)?;
    let values = args.state.as_deref().map(|path| given::state(Fields::read(path)?)).transpose()?;
    let values = values.unwrap_or_default();
    let state = StateView::holding(given.message.key.clone(), values);
    let mut calls = Calls::default();
    let mut shown = None;
    for _ in 0..args.times {
        let called = Box::pin(loaded.component.watch(&given.message, given.form, state.clone(), None)).await;
        calls.add(&called.0);
        // What did not complete is what its author wants to see.
        if shown.as_ref().is_none_or(|(_, code)| *code == 0) {
            let code = code(&called.0.end)?;
            shown = Some((called, code));
        }
    }
    let Some(((called, asked), code)) = shown else { return Ok(ExitCode::SUCCESS) };
    let told =
        Told { name: loaded.name.as_str(), given: &given, called: &called, asked: &asked, calls: &calls };
    if args.output.json { print::json(&told.to_json()) } else { print::line(&told.to_string()) }?;
    Ok(ExitCode::from(code))
}

fn no_value(given: &str) -> Failure {
    Failure::Usage(format!("--set {given}: must be KEY=VALUE"))
}

/// Returns the exit code, as the help lists it.
fn code(end: &End) -> Result<u8, Failure> {
    match end {
        End::Decided(Outcome::Completed) => Ok(0),
        End::Decided(Outcome::Retry { .. }) => Ok(10),
        End::Decided(Outcome::Skipped(_)) => Ok(11),
        End::Decided(Outcome::Rejected(_)) => Ok(12),
        End::Faulted(fault) if fault.is_failure() => Ok(13),
        End::Faulted(_) => Ok(14),
        End::Unavailable(why) | End::NotCalled(why) => Err(Failure::Host(why.clone())),
    }
}
