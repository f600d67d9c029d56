//! The host as a library: a configuration, native handlers, and a future that runs until it is stopped.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::app;
use crate::config::{BadName, Config, HandlerName, Manifest};
use crate::handler::{CompilePace, Handler, NativeHandler, Refused};
use crate::telemetry;

/// The host. [`Host::builder`] is its beginning; the crate's own page has an example.
#[derive(Debug)]
pub struct Host(());

impl Host {
    /// A host with this configuration. Components of its drop folder run as they do under `mailroom run`.
    pub fn builder(config: Config) -> Builder {
        Builder {
            config: Arc::new(config),
            handlers: Vec::new(),
            pace: CompilePace::Background,
            refused: None,
        }
    }
}

/// A host that does not run yet.
#[derive(Debug)]
#[must_use = "run it"]
pub struct Builder {
    config: Arc<Config>,
    handlers: Vec<Arc<Handler>>,
    pace: CompilePace,
    /// The first handler that is no good.
    refused: Option<Error>,
}

/// Reason why a host ended by itself, or did not begin. Its words name what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HostError(#[from] Error);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the name {name:?} of a native handler {source}")]
    Name { name: String, source: BadName },
    #[error("two native handlers are called {0}; give one of them another name")]
    Twice(HandlerName),
    #[error("native handler {name} does not run: {source}")]
    Refused { name: HandlerName, source: Refused },
    #[error(transparent)]
    App(#[from] app::Error),
}

impl Builder {
    /// Adds a native handler. The manifest has its grants, limits and rules, and may have its
    /// subscriptions; `NAME.toml` in the drop folder does not apply to it, and a component of the same
    /// name is refused. What is wrong with the handler is told by [`Builder::run`].
    pub fn handler(mut self, name: &str, manifest: Manifest, handler: impl NativeHandler) -> Self {
        if self.refused.is_none() {
            match self.loaded(name, manifest, handler) {
                Ok(handler) => self.handlers.push(Arc::new(handler)),
                Err(error) => self.refused = Some(error),
            }
        }
        self
    }

    /// Compiles components on all cores: somebody waits for what is dropped.
    pub(crate) fn waited_for(self) -> Self {
        Self { pace: CompilePace::Foreground, ..self }
    }

    /// Writes the host's log to standard error, in the form and with the filter of `[log]` in its
    /// configuration. Without this its events go to the process's own `tracing` subscriber.
    pub fn log_to_stderr(self) -> Self {
        telemetry::init(&self.config.log);
        self
    }

    /// Runs the host until `stop` is done: then it settles what runs, gives its lanes back and ends, within
    /// the configuration's `host.stop-grace`. It needs a multi-threaded tokio runtime with all drivers.
    ///
    /// # Errors
    /// Where a handler is no good, or a setting or the database's schema is not as this version needs it.
    /// Postgres or Kafka being away is no error, nor is what either refuses until an operator acts: the host waits, says
    /// so, and goes on.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), HostError> {
        if let Some(refused) = self.refused {
            return Err(refused.into());
        }
        let token = CancellationToken::new();
        let mut host = Box::pin(app::run(self.config, self.handlers, self.pace, token.clone()));
        tokio::select! {
            ended = &mut host => return ended.map_err(|error| Error::App(error).into()),
            () = stop => token.cancel(),
        }
        host.await.map_err(|error| Error::App(error).into())
    }

    fn loaded(&self, name: &str, manifest: Manifest, handler: impl NativeHandler) -> Result<Handler, Error> {
        let parsed = HandlerName::parse(name);
        let name = parsed.map_err(|source| Error::Name { name: name.to_owned(), source })?;
        if self.handlers.iter().any(|earlier| earlier.name == name) {
            return Err(Error::Twice(name));
        }
        let loaded = Handler::native(name.clone(), manifest, handler, &self.config);
        loaded.map_err(|source| Error::Refused { name, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Servers;
    use crate::{Call, Failure, Message, Outcome, Subscription};

    struct Takes(&'static [&'static str]);

    impl NativeHandler for Takes {
        fn version(&self) -> &str {
            "1"
        }

        fn subscriptions(&self) -> Vec<Subscription> {
            self.0.iter().map(|topic| Subscription::topic(*topic)).collect()
        }

        async fn handle(&self, _: Message<'_>, _: &mut Call) -> Result<Outcome, Failure> {
            Ok(Outcome::Completed)
        }
    }

    #[tokio::test]
    async fn a_handler_that_is_no_good_is_named_before_anything_starts() {
        for (names, topics, named) in [
            (&["No Name"][..], &["in"][..], "\"No Name\" of a native handler must be"),
            (&["same", "same"], &["in"], "two native handlers are called same"),
            (&["idle"], &[], "native handler idle does not run: it subscribes to no topic"),
        ] {
            let config = Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().0;
            let manifest = Manifest::default_for(&config);
            let host = names.iter().fold(Host::builder(config), |host, name| {
                host.handler(name, manifest.clone(), Takes(topics))
            });
            let error = host.run(std::future::pending()).await.unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
