//! Servers of a database, of which one takes writes, and who we are there. What the configuration names a file for is
//! read again where no connection is to be had: a password is rotated without a restart.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx_core::net::tls::CertificateInput;
use tokio::time::timeout;

use super::DbError;
use super::reach::place;
use crate::config::PostgresUrl;

/// Access to the servers of a database.
#[derive(Debug)]
pub(super) struct Servers {
    /// The setting that says it, for people.
    setting: String,
    application_name: &'static str,
    known: Mutex<Arc<Known>>,
}

/// A server, and the files by which it is known and knows us.
pub(super) struct Target {
    pub(super) options: PgConnectOptions,
    pub(super) root_certificate: Option<CertificateInput>,
    pub(super) certificate: Option<CertificateInput>,
    pub(super) key: Option<CertificateInput>,
}

/// Servers as the setting names them, or its file did last.
#[derive(Debug)]
struct Known {
    url: PostgresUrl,
    options: Vec<PgConnectOptions>,
    /// The server that took us last.
    chosen: AtomicUsize,
}

impl Servers {
    /// # Errors
    /// Where a URL cannot be read.
    pub(super) fn new(
        url: &PostgresUrl,
        setting: impl Into<String>,
        application_name: &'static str,
    ) -> Result<Self, DbError> {
        let known =
            Known::new(url.clone(), application_name).map_err(DbError::new("reading a URL of Postgres"))?;
        Ok(Self { setting: setting.into(), application_name, known: Mutex::new(Arc::new(known)) })
    }

    /// No code that can panic runs under it.
    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns where it is, for people: host, port and database, without user and password.
    pub(super) fn place(&self) -> String {
        self.known().options.iter().map(place).collect::<Vec<_>>().join(",")
    }

    /// The options of the server that took us last.
    pub(super) fn chosen(&self) -> PgConnectOptions {
        self.known().chosen()
    }

    /// The same for whoever speaks TLS to that server in the client's place.
    pub(super) fn target(&self) -> Target {
        let known = self.known();
        let file = |param| known.url.tls_file(param).map(CertificateInput::from);
        Target {
            options: known.chosen(),
            root_certificate: file("sslrootcert"),
            certificate: file("sslcert"),
            key: file("sslkey"),
        }
    }

    /// Connects to the first server that takes us, within the limit. Where none does and the URL's file says something
    /// else by now, that is tried as well.
    pub(super) async fn connect<T, F>(
        &self,
        limit: Duration,
        connect: impl Fn(PgConnectOptions) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        match self.known().connect(limit, &connect).await {
            Err(_) if self.read_again() => self.known().connect(limit, &connect).await,
            connected => connected,
        }
    }

    /// Goes on to what is to be tried next after the last choice failed: what the file says by now, or the next server.
    /// Gives whether the file says something new.
    pub(super) fn choose_next(&self) -> bool {
        if self.read_again() {
            return true;
        }
        let known = self.known();
        let next = (known.chosen.load(Ordering::Relaxed) + 1) % known.options.len();
        known.chosen.store(next, Ordering::Relaxed);
        false
    }

    /// Reads the URL's file again; gives whether it says something new. What cannot be read changes nothing.
    fn read_again(&self) -> bool {
        let before = self.known();
        let known = match before.url.read_again() {
            Ok(Some(url)) if url != before.url => Known::new(url, self.application_name),
            Ok(_) => return false,
            Err(problem) => Err(sqlx::Error::Configuration(problem.into())),
        };
        match known {
            Ok(known) => {
                tracing::info!("{}-file says something new and is used from now on", self.setting);
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "{}-file cannot be read; what it said before is used", self.setting);
                false
            }
        }
    }
}

/// Connects to one server; says so where something else answers.
pub(super) async fn open(options: PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    options.connect().await.map_err(unlike_postgres)
}

/// Makes an error of the operator's of an answer to the first packet that the protocol does not have. Later it is a
/// fault of the connection, which another one may not have.
pub(super) fn unlike_postgres(error: sqlx::Error) -> sqlx::Error {
    let sqlx::Error::Protocol(problem) = error else { return error };
    sqlx::Error::Configuration(format!("what answers there is not Postgres: {problem}").into())
}

impl Known {
    fn new(url: PostgresUrl, application_name: &str) -> Result<Self, sqlx::Error> {
        let options = url.servers.iter().map(|server| {
            let options: PgConnectOptions = server.expose().parse()?;
            // Poolers refuse parameters of a startup packet that they do not track.
            let options = options.extra_float_digits(None);
            let named = options.get_application_name().is_some();
            Ok(if named { options } else { options.application_name(application_name) })
        });
        let options: Vec<PgConnectOptions> = options.collect::<Result<_, sqlx::Error>>()?;
        if options.is_empty() {
            return Err(sqlx::Error::Configuration("no server is named".into()));
        }
        Ok(Self { url, options, chosen: AtomicUsize::new(0) })
    }

    fn chosen(&self) -> PgConnectOptions {
        let chosen = self.chosen.load(Ordering::Relaxed);
        // There is one at least.
        self.options.iter().cycle().nth(chosen).cloned().unwrap_or_default()
    }

    async fn connect<T, F>(
        &self,
        limit: Duration,
        connect: &impl Fn(PgConnectOptions) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let count = self.options.len();
        let first = self.chosen.load(Ordering::Relaxed);
        let each = limit / u32::try_from(count).unwrap_or(u32::MAX);
        let mut last = sqlx::Error::PoolTimedOut;
        for (at, options) in self.options.iter().enumerate().cycle().skip(first).take(count) {
            match timeout(each, connect(options.clone())).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(connected) => {
                    self.chosen.store(at, Ordering::Relaxed);
                    return Ok(connected);
                }
                Err(error) => last = self.explained(error),
            }
        }
        Err(last)
    }

    /// Names the file where the client's own words do not, and where no other try will do before somebody has acted.
    fn explained(&self, error: sqlx::Error) -> sqlx::Error {
        // A socket that is not there has one of these kinds too, and is an outage.
        let may_be_a_file = [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::IsADirectory];
        let of_a_file = matches!(&error, sqlx::Error::Io(error) if may_be_a_file.contains(&error.kind()));
        let unreadable = of_a_file.then(|| TLS_FILES.iter().find_map(|param| self.unreadable(param)));
        unreadable.flatten().map_or(error, |problem| sqlx::Error::Configuration(problem.into()))
    }

    /// Says why the file that a parameter names cannot be read.
    fn unreadable(&self, param: &str) -> Option<String> {
        let file = self.url.tls_file(param)?;
        if let CertificateInput::File(path) = CertificateInput::from(file) {
            let problem = std::fs::File::open(&path).and_then(|file| is_file(&file)).err()?;
            return Some(format!("{}, the file of {param}, cannot be read: {problem}", path.display()));
        }
        None
    }
}

const TLS_FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

fn is_file(file: &std::fs::File) -> std::io::Result<()> {
    if file.metadata()?.is_dir() { Err(ErrorKind::IsADirectory.into()) } else { Ok(()) }
}
