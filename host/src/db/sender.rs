//! Sends a statement by its name, as sessions of our own allow, or as a transaction without a name.

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow, PgStatement};
use sqlx::{AssertSqlSafe, Either, Execute, Executor as _, Postgres, SqlStr};

use super::conn::leaves_session;
use super::error::{Progress, progress_once_sent, tag};
use super::session::Session;

/// The way to send one statement.
pub(super) struct Sender<'s> {
    connection: &'s mut PgConnection,
    way: Way,
}

enum Way {
    /// Statement by a name that the connection remembers.
    Named,
    /// Statement without a name, in the transaction that is open.
    Unnamed,
    /// Statement without a name, in a transaction of its own, which this begins. Between the statement's
    /// preparation and its execution a pooler could pass the backend on to somebody else.
    Alone(String),
}

impl<'s> Sender<'s> {
    pub(super) fn new(connection: &'s mut PgConnection, session: &Session, in_transaction: bool) -> Self {
        let way = match (session.is_per_transaction(), in_transaction) {
            (false, _) => Way::Named,
            (true, true) => Way::Unnamed,
            (true, false) => Way::Alone(session.begin()),
        };
        Self { connection, way }
    }

    pub(super) fn fetch_many<'q: 's, E: Execute<'q, Postgres> + 'q + 's>(
        self,
        query: E,
    ) -> BoxStream<'s, Result<Either<PgQueryResult, PgRow>, sqlx::Error>> {
        let connection = self.connection;
        let begin = match self.way {
            Way::Named => return connection.fetch_many(query),
            Way::Unnamed => return connection.fetch_many(Unnamed(query)),
            Way::Alone(begin) => begin,
        };
        Box::pin(async_stream::try_stream! {
            start(connection, begin).await?;
            let ended = {
                let mut steps = (&mut *connection).fetch_many(Unnamed(query));
                loop {
                    match steps.try_next().await {
                        Ok(Some(step)) => yield step,
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                }
            };
            end(connection, ended).await?;
        })
    }

    pub(super) async fn fetch_optional<'q, E: Execute<'q, Postgres> + 'q>(
        self,
        query: E,
    ) -> Result<Option<PgRow>, sqlx::Error> {
        let connection = self.connection;
        match self.way {
            Way::Named => connection.fetch_optional(query).await,
            Way::Unnamed => connection.fetch_optional(Unnamed(query)).await,
            Way::Alone(begin) => {
                start(connection, begin).await?;
                let row = (&mut *connection).fetch_optional(Unnamed(query)).await;
                end(connection, row).await
            }
        }
    }
}

async fn start(connection: &mut PgConnection, begin: String) -> Result<(), sqlx::Error> {
    let begun = sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection).await;
    begun.map(|_| ()).map_err(tag(Progress::NotSent))
}

/// Commits what went well, and takes back the rest.
async fn end<T>(connection: &mut PgConnection, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
    match answer {
        Ok(answer) => match sqlx::raw_sql("commit").execute(connection).await {
            Ok(_) => Ok(answer),
            Err(error) => Err(tag(progress_once_sent(&error))(error)),
        },
        Err(error) => {
            // What ended the session has taken it back, and so does whoever drops the connection.
            if leaves_session(&error) {
                sqlx::raw_sql("rollback").execute(connection).await.map_err(tag(Progress::NotCommitted))?;
            }
            Err(error)
        }
    }
}

/// A statement that is prepared without a name. Types that are not Postgres' own must not be in it: sqlx would ask for
/// them by statements without a name, too.
struct Unnamed<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unnamed<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}
