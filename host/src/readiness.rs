//! Readiness of this host to do its work, check by check, as `/readyz` answers. A host that is not ready goes
//! on.
//!
//! `/readyz` decides nothing and asks no server: it repeats what loops noted that ask all the time anyhow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::server_health::ServerHealth;

/// One thing that the host needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) ok: bool,
    /// Reason why it is not as it should be.
    pub(crate) why: Option<String>,
}

impl Check {
    fn new(name: &'static str, why: Option<String>) -> Self {
        Self { name, ok: why.is_none(), why }
    }
}

/// State that the loops of the host tell of themselves; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    postgres: ServerHealth,
    kafka: ServerHealth,
    stop: CancellationToken,
    known: Arc<Mutex<Known>>,
}

/// Reasons why something is not as it should be.
#[derive(Debug)]
struct Known {
    migrations: Option<String>,
    session: Option<String>,
    handlers: Option<String>,
}

impl Readiness {
    /// Nothing is ready yet. `stop` is that of the host.
    pub(crate) fn new(postgres: ServerHealth, kafka: ServerHealth, stop: CancellationToken) -> Self {
        let known = Known {
            migrations: Some("the schema was not looked at yet".to_owned()),
            session: Some("this host has not registered yet".to_owned()),
            handlers: Some("the handlers' folder was not read yet".to_owned()),
        };
        Self { postgres, kafka, stop, known: Arc::new(Mutex::new(known)) }
    }

    /// The schema is that of this program.
    pub(crate) fn is_migrated(&self) {
        self.known().migrations = None;
    }

    /// Notes why this host has no session; `None` where it has one.
    pub(crate) fn session(&self, why_not: Option<String>) {
        self.known().session = why_not;
    }

    /// Notes which handlers do not run, and why; `None` where all do.
    pub(crate) fn handlers(&self, why_not: Option<String>) {
        self.known().handlers = why_not;
    }

    /// Gives all checks.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let stopping = self.stop.is_cancelled().then(|| "this host is being stopped".to_owned());
        let (postgres, kafka, known) = (self.postgres.why_not(), self.kafka.why_not(), self.known());
        vec![
            Check::new("postgres", postgres),
            Check::new("migrations", known.migrations.clone()),
            Check::new("session", known.session.clone()),
            Check::new("kafka", kafka),
            Check::new("handlers", known.handlers.clone()),
            Check::new("serving", stopping),
        ]
    }

    /// No code that can panic runs under it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(readiness: &Readiness) -> Vec<&'static str> {
        let checks = readiness.checks().into_iter();
        checks.filter(|check| !check.ok).map(|check| check.name).collect()
    }

    #[test]
    fn each_check_fails_by_itself_and_says_why() {
        let (postgres, kafka) = (ServerHealth::default(), ServerHealth::default());
        let stop = CancellationToken::new();
        let readiness = Readiness::new(postgres.clone(), kafka.clone(), stop.clone());
        assert_eq!(failing(&readiness), ["postgres", "migrations", "session", "kafka", "handlers"]);
        postgres.answered();
        readiness.is_migrated();
        assert_eq!(failing(&readiness), ["session", "kafka", "handlers"]);
        readiness.session(None);
        kafka.answered();
        readiness.handlers(None);
        assert!(failing(&readiness).is_empty());
        readiness.handlers(Some("shipping is refused".to_owned()));
        assert_eq!(readiness.checks()[4].why.as_deref(), Some("shipping is refused"));
        postgres.failed(&"refused");
        stop.cancel();
        assert_eq!(failing(&readiness), ["postgres", "handlers", "serving"]);
    }
}
