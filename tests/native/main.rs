//! A program of its own around the library: a host with one native handler, `native`. It is started like
//! `mailroom run`, and reads the handler's manifest from `native.toml` beside the configuration file.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mailroom::config::{Config, Manifest, environment};
use mailroom::{Call, Failure, Handler, Host, Message, Outcome, Outgoing, Subscription};
use tokio::signal::unix::{SignalKind, signal};

/// Allocator that `mailroom` has too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers where a message asks for it, else completes and does nothing.
struct Answers;

impl Handler for Answers {
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::topic("native")]
    }

    async fn handle(&self, message: Message<'_>, call: &mut Call) -> Result<Outcome, Failure> {
        let Some(topic) = message.header("answer-to") else { return Ok(Outcome::Completed) };
        if message.header("panic").is_some() && message.attempt() == 1 {
            return panics(message);
        }
        let before = call.keyed().get("answers").await?.unwrap_or_else(|| b"0".to_vec());
        let count = String::from_utf8(before)?.parse::<u32>()? + 1;
        call.keyed().set("answers", count.to_string()).await?;
        let answer = Outgoing::new(std::str::from_utf8(topic)?, "native.answered").key_of(message);
        call.publish(answer.payload(format!(r#"{{"answers": {count}}}"#))).await?;
        Ok(Outcome::Completed)
    }
}

#[expect(clippy::panic, reason = "a panic of a handler is what a test asks for")]
fn panics(message: Message<'_>) -> Result<Outcome, Failure> {
    panic!("told to panic by {}", message.message_id())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("native-host: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let file = config_file(std::env::args().skip(1)).ok_or("usage: native-host --config FILE run")?;
    let config = Config::load(Some(&file), environment())?;
    let manifest = Manifest::parse(&fs::read_to_string(beside(&file))?, &config)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(Host::builder(config).handler("native", manifest, Answers).log_to_stderr().run(stop).await?)
}

fn beside(config: &Path) -> PathBuf {
    config.with_file_name("native.toml")
}

fn config_file(mut words: impl Iterator<Item = String>) -> Option<PathBuf> {
    match (words.next()?.as_str(), words.next()?, words.next()?.as_str(), words.next()) {
        ("--config", file, "run", None) => Some(PathBuf::from(file)),
        _ => None,
    }
}
