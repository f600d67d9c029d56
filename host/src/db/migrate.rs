//! The schema's migrations, embedded in the binary and recorded in `mailroom.migrations`. Only
//! `mailroom migrate` applies them; a host only checks that they are there.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, Migrator};

use super::error::no_answer;
use super::pooler::REMEDY;
use super::{Db, DbError};

const TABLE: &str = "mailroom.migrations";
/// The first major version of Postgres that has all that the schema needs.
const POSTGRES_MIN: i32 = 14;
/// Time that Postgres has to say what is applied.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("../migrations");
    migrator.dangerous_set_table_name(TABLE);
    migrator.create_schema("mailroom");
    migrator
});

/// Reason why a schema is not the one that this binary works with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// An operator has to migrate.
    #[error("the database lacks {missing} of mailroom's migrations: run `mailroom migrate`")]
    Behind {
        /// Number of migrations that are not applied.
        missing: usize,
    },
    /// An operator has to run the newer binary.
    #[error(
        "the database was migrated by a newer mailroom (migration {applied}, this one knows {known}): run that one"
    )]
    Newer {
        /// The newest migration in the database.
        applied: i64,
        /// The newest migration in this binary.
        known: i64,
    },
    /// A file was edited after it was applied, which must not happen.
    #[error(
        "migration {0} was applied with another text than this binary has: use the binary that applied it"
    )]
    Changed(i64),
    /// The schema cannot be made there.
    #[error("Postgres {0} is too old: mailroom needs Postgres {POSTGRES_MIN} or later")]
    Old(String),
    /// Texts of a message could not be stored as they are.
    #[error("the database has the encoding {0}: mailroom needs one that was made with `encoding 'UTF8'`")]
    Encoding(String),
    /// A statement of a migration failed: its transaction was rolled back.
    #[error("migration {version:04} was rolled back, those before it stay: {source}")]
    Migration {
        /// Number of the migration.
        version: i64,
        /// Error of Postgres.
        source: DbError,
    },
    /// Sessions are not our own.
    #[error("Postgres at {0} gives its backends to others between our transactions: {REMEDY}")]
    Pooled(String),
    /// Postgres or the way to it.
    #[error("{}", .0.with_remedy())]
    Db(#[from] DbError),
}

/// A migration that has not been applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Pending {
    /// Number of the migration, from its file's name.
    pub(crate) version: i64,
    /// The words of its file's name.
    pub(crate) description: String,
    /// Statements of the migration.
    pub(crate) sql: String,
}

impl Pending {
    fn new(migration: &Migration) -> Self {
        Self {
            version: migration.version,
            description: migration.description.to_string(),
            sql: migration.sql.as_str().to_owned(),
        }
    }
}

/// The migrations of this binary that are applied, as number and words, and those that are not.
///
/// # Errors
/// [`SchemaError::Newer`] and [`SchemaError::Changed`] where the database is not of this binary's line.
pub(crate) async fn pending(db: &Db) -> Result<(Vec<(i64, String)>, Vec<Pending>), SchemaError> {
    let doing = "reading which migrations are applied";
    let applied = tokio::time::timeout(ANSWERS_WITHIN, async { Ok((server(db).await?, applied(db).await?)) });
    let answered = applied.await.map_err(|_| DbError::new(doing)(no_answer(ANSWERS_WITHIN)))?;
    let (Server { encoding, version, version_number }, applied) = answered.map_err(SchemaError::Db)?;
    if version_number / 10_000 < POSTGRES_MIN {
        return Err(SchemaError::Old(version));
    }
    // What has no encoding stores any bytes.
    if !["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
        return Err(SchemaError::Encoding(encoding));
    }
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default();
    if let Some(newest) = applied.iter().map(|applied| applied.version).max().filter(|newest| *newest > known)
    {
        return Err(SchemaError::Newer { applied: newest, known });
    }
    let (mut done, mut pending) = (Vec::new(), Vec::new());
    for migration in MIGRATOR.iter() {
        match applied.iter().find(|applied| applied.version == migration.version) {
            None => pending.push(Pending::new(migration)),
            Some(applied) if migration.checksum != applied.checksum => {
                return Err(SchemaError::Changed(migration.version));
            }
            Some(_) => done.push((migration.version, migration.description.to_string())),
        }
    }
    Ok((done, pending))
}

/// The last migration whose SQL has this text, by the name of its file.
pub(crate) fn last_with(text: &str) -> Option<String> {
    let of = MIGRATOR.iter().rfind(|migration| migration.sql.as_str().contains(text))?;
    Some(format!("migrations/{:04}_{}.sql", of.version, of.description.replace(' ', "_")))
}

/// Applies what is pending, each migration in a transaction of its own, and tells before each.
///
/// # Errors
/// As [`pending`], and what Postgres says of a migration; those before it stay applied.
pub(crate) async fn apply(db: &Db, mut on_each: impl FnMut(&Pending)) -> Result<(), SchemaError> {
    let (_, pending) = pending(db).await?;
    let doing = || DbError::new("migrating");
    // A migration may take longer than a statement of the host, and "already exists" is no news.
    let mut connection = db.connect().await.map_err(doing())?;
    sqlx::query!(
        "select set_config('statement_timeout', '0', false) as timeout,
                set_config('client_min_messages', 'warning', false) as messages"
    )
    .fetch_one(&mut connection)
    .await
    .map_err(doing())?;
    for migration in &pending {
        on_each(migration);
        let applied = MIGRATOR.run_direct(Some(migration.version), &mut connection, false).await;
        applied.map_err(|error| SchemaError::Migration {
            version: migration.version,
            source: DbError::new("applying it")(statement_error(error)),
        })?;
    }
    Ok(())
}

/// The error of the statement that failed, which says whether Postgres is away.
fn statement_error(error: MigrateError) -> sqlx::Error {
    if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
        return error;
    }
    sqlx::Error::Migrate(Box::new(error))
}

/// Checks that a host can work with the database: its schema is this binary's, and sessions are as they are
/// said to be.
///
/// # Errors
/// Says what an operator has to do.
pub(crate) async fn check_for_host(db: &Db) -> Result<(), SchemaError> {
    if let Some(place) = db.unsaid_pooler().await? {
        return Err(SchemaError::Pooled(place));
    }
    check(db).await
}

/// Checks that the schema is this binary's.
///
/// # Errors
/// Says what an operator has to do.
pub(crate) async fn check(db: &Db) -> Result<(), SchemaError> {
    match pending(db).await?.1.len() {
        0 => Ok(()),
        missing => Err(SchemaError::Behind { missing }),
    }
}

/// Facts about the server and the database.
struct Server {
    encoding: String,
    /// Version as people know it.
    version: String,
    /// Ten thousand times the major version, and the minor.
    version_number: i32,
}

async fn server(db: &Db) -> Result<Server, DbError> {
    sqlx::query_as!(
        Server,
        r#"select current_setting('server_encoding') as "encoding!",
                  current_setting('server_version') as "version!",
                  current_setting('server_version_num')::integer as "version_number!""#
    )
    .fetch_one(db.pool())
    .await
    .map_err(DbError::new("asking for the server's version and the database's encoding"))
}

/// A migration that the database has.
#[derive(sqlx::FromRow)]
struct Applied {
    version: i64,
    checksum: Vec<u8>,
}

/// Lists the migrations that are applied; nothing where there is no table yet, which this does not make.
async fn applied(db: &Db) -> Result<Vec<Applied>, DbError> {
    let doing = || DbError::new("reading which migrations are applied");
    let there = sqlx::query_scalar!(r#"select to_regclass($1) is not null as "there!""#, TABLE)
        .fetch_one(db.pool())
        .await
        .map_err(doing())?;
    if !there {
        return Ok(Vec::new());
    }
    // Unchecked, since the database by which statements are checked is made by these migrations.
    let applied = sqlx::query_as("select version, checksum from mailroom.migrations order by version");
    applied.fetch_all(db.pool()).await.map_err(doing())
}
