//! The command line, noun then verb. Answers go to standard output, all else to standard error; nothing
//! here decides about messages.

mod audit;
mod completion;
mod config;
mod dead;
mod dev;
mod doctor;
mod failure;
mod given;
mod handler;
mod inbox;
mod keys;
mod man;
mod migrate;
mod outbox;
mod print;
mod run;
mod select;
mod status;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, environment};
use crate::db::{Db, migrate as schema, reach};
use crate::handler::{COMPILE_COMMAND, CompileLimits, compile_in_this_process, this_binary_compiles};
use failure::Failure;
#[cfg(test)]
pub(crate) use print::{fields_text, table_text};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage, configuration or input
  3  not found
  4  a server cannot be reached
  5  the new version asks for more (handler check OLD NEW)
  6  something is at fault (doctor)
 10  retry, 11 skipped, 12 rejected, 13 failure, 14 fault (handler invoke; 0 is completed)

Settings come from mailroom.toml (or the file that --config or MAILROOM_CONFIG names) and from the
environment over it: host.expiry is MAILROOM__HOST__EXPIRY.";

/// A host for event handlers compiled to WebAssembly components, with a Postgres inbox and outbox for Kafka.
#[derive(Debug, Parser)]
#[command(name = "mailroom", version, after_help = AFTER_HELP)]
struct Cli {
    /// The configuration file; ./mailroom.toml by default, where it exists
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host until it is told to stop (SIGTERM or Ctrl-C)
    Run,
    /// Run the host with a Postgres and a Kafka of its own
    Dev(dev::Dev),
    /// Bring the database's schema up to this version
    Migrate(migrate::Migrate),
    /// Show hosts, handlers, what waits, and what is wrong
    Status(Output),
    /// Look for faults of the installation, each with why it matters and what mends it
    Doctor(doctor::Doctor),
    /// Say what a message, a key or a lane waits for
    Why(why::Why),
    /// The configuration
    #[command(subcommand)]
    Config(config::Verb),
    /// Handlers
    #[command(subcommand)]
    Handler(handler::Verb),
    /// Messages from Kafka
    #[command(subcommand)]
    Inbox(inbox::Verb),
    /// Messages for Kafka
    #[command(subcommand)]
    Outbox(outbox::Verb),
    /// Messages that failed for good
    #[command(subcommand)]
    Dead(dead::Verb),
    /// Keys that do not go on
    #[command(subcommand)]
    Keys(keys::Verb),
    /// Print the script by which a shell completes commands and options
    Completion(completion::Completion),
    /// Write a man page of each command into a folder
    Man(man::Man),
    /// Changes that operators made
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Compile a component from standard input; a host runs this by itself
    #[command(name = COMPILE_COMMAND, hide = true)]
    Compile {
        /// Processor time
        #[arg(long)]
        seconds: u64,
        /// Bytes of memory
        #[arg(long)]
        memory: u64,
        /// Threads that compile
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, Args)]
struct Output {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Compile { seconds, memory, threads } = cli.command {
        let time = Duration::from_secs(seconds);
        return compile_in_this_process(CompileLimits { time, memory, threads });
    }
    this_binary_compiles();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Io("starting the runtime", error).report(),
    };
    let ended = runtime.block_on(Box::pin(dispatch(cli)));
    // Kafka's client may still wait for its brokers on threads of its own.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let file = Settings(cli.config);
    match cli.command {
        Command::Run => run::run(file.load()?).await,
        Command::Dev(dev) => dev::dev(&dev, &file).await,
        Command::Migrate(migrate) => migrate::migrate(migrate, &file.load()?).await,
        Command::Status(output) => status::status(&file.load()?, &file.open().await?, output).await,
        Command::Doctor(doctor) => return doctor::doctor(&doctor, &file.load()?).await,
        Command::Why(why) => why::why(&why, &file.load()?, &file.open().await?).await,
        Command::Config(verb) => config::config(verb, &file).await,
        Command::Handler(verb) => return handler::handler(verb, &file).await,
        Command::Inbox(verb) => inbox::inbox(verb, &file.open().await?).await,
        Command::Outbox(verb) => outbox::outbox(verb, &file.open().await?).await,
        Command::Dead(verb) => {
            let worker = file.load()?.host.worker;
            dead::dead(verb, &file.open().await?, worker.as_str()).await
        }
        Command::Keys(verb) => keys::keys(verb, &file.open().await?).await,
        Command::Completion(completion) => completion::completion(&completion),
        Command::Man(man) => man::man(&man),
        Command::Audit(verb) => audit::audit(verb, &file.open().await?).await,
        // Done before there is a runtime.
        Command::Compile { .. } => Ok(()),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Path of the settings, if one is given.
#[derive(Debug)]
struct Settings(Option<PathBuf>);

impl Settings {
    fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.0.as_deref(), environment())?)
    }

    /// The database, when it answers and has this version's schema.
    async fn open(&self) -> Result<Db, Failure> {
        let db = reach::reach(&self.load()?.postgres).await?;
        schema::check(&db).await?;
        Ok(db)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn dead_letters_are_chosen_by_ids_or_by_what_narrows() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("mailroom dead replay 0195d1a0-0000-7000-8000-000000000000 --rate 100/s"));
        assert!(parses("mailroom dead edit 0195d1a0-0000-7000-8000-000000000000 --payload -1 --dry-run"));
        assert!(!parses("mailroom dead edit 0195d1a0-0000-7000-8000-000000000000"));
        assert!(!parses("mailroom dead edit 0195d1a0-0000-7000-8000-000000000000 --payload {} --tombstone"));
        assert!(parses("mailroom dead discard --reason crash-loop --dry-run --json"));
        assert!(!parses("mailroom dead replay --all 0195d1a0-0000-7000-8000-000000000000"));
        assert!(!parses("mailroom dead replay --all --rate 0/s"));
        assert!(!parses("mailroom dead replay --reason tired"));
    }
}
