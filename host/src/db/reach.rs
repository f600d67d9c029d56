//! The first connection of a command: it says at once, with the server's address, why there is none.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;

use super::meaning::{self, Meaning};
use super::servers::open;
use super::{Db, DbError};
use crate::config;

/// An address that swallows packets never answers.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Postgres does not take us.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to Postgres at {place}: {}", words(source))]
pub(crate) struct Unreachable {
    place: String,
    #[source]
    source: sqlx::Error,
}

/// Reason why a command has no database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    /// The server, the network or the credentials.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The URL cannot be read.
    #[error(transparent)]
    Url(#[from] DbError),
}

/// The pool, once a connection was had.
///
/// # Errors
/// Names the server's address, never the password.
pub(crate) async fn reach(postgres: &config::Postgres) -> Result<Db, ReachError> {
    let db = Db::of_command(postgres)?;
    let connecting = async { db.0.servers.connect(CONNECT_LIMIT, open).await?.close().await };
    let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
    let connected = connected.map_err(|_| sqlx::Error::PoolTimedOut).flatten();
    connected.map_err(|source| Unreachable { place: db.0.servers.place(), source })?;
    Ok(db)
}

/// Says what went wrong and what to do, without the line of Postgres's own source that sqlx adds.
fn words(error: &sqlx::Error) -> String {
    let why = if matches!(error, sqlx::Error::PoolTimedOut) {
        format!("no answer within {CONNECT_LIMIT:?}")
    } else {
        error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
    };
    if let Meaning::Operator(remedy) = meaning::of(error) {
        return format!("{why}: {remedy}");
    }
    format!("{why}. Does it run there, and are user, password and database of postgres.url right?")
}

/// Host, port and database, without user and password.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}
