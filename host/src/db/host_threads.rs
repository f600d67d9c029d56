//! The host's own threads. The answers of a connection come by the threads that made it, and those of guests may be busy
//! for long: so connections are made here, whoever asks for one.

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Threads of the runtime in which the database was set up.
#[derive(Debug, Clone)]
pub(super) struct HostThreads(Handle);

impl HostThreads {
    /// Takes the threads of the caller.
    pub(super) fn current() -> Self {
        Self(Handle::current())
    }

    /// Makes a connection on these threads; it is given up where nobody waits for it any more.
    pub(super) async fn connect<C: Send + 'static>(
        &self,
        connecting: impl Future<Output = Result<C, sqlx::Error>> + Send + 'static,
    ) -> Result<C, sqlx::Error> {
        let made = AbortOnDropHandle::new(self.0.spawn(connecting)).await;
        made.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed))
    }

    /// Runs a task that ends by itself.
    pub(super) fn detach(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(task));
    }
}
