//! `mailroom run`: the host, from the signal's point of view. The first one asks it to stop, the second
//! ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use crate::config::Config;
use crate::kafka::check_settings;
use crate::{Builder, Host, telemetry};

pub(super) async fn run(config: Config) -> Result<(), Failure> {
    telemetry::init(&config.log);
    check_settings(&config)?;
    until_stopped(Host::builder(config)).await
}

/// Runs the host until it ends by itself or by a signal.
pub(super) async fn until_stopped(host: Builder) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::Io("listening for signals", error))?;
    let stop = CancellationToken::new();
    let mut host = Box::pin(host.run(stop.clone().cancelled_owned()));
    tokio::select! {
        ended = &mut host => return ended.map_err(|error| Failure::Host(error.to_string())),
        () = signals.next() => tracing::info!("Stopping; a second signal ends the process at once"),
    }
    stop.cancel();
    tokio::select! {
        ended = &mut host => ended.map_err(|error| Failure::Host(error.to_string())),
        () = signals.next() => Err(Failure::Host("ended by a second signal before the stop was complete".to_owned())),
    }
}

#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
