//! Looks of the doctor at Postgres.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;

use super::drift;
use super::finding::{Code, Finding};
use crate::config::{Config, PoolMode, Postgres};
use crate::db::doctor::{self, ClockLook, Fault};
use crate::db::migrate::{self, SchemaError};
use crate::db::sequences::{self, TooLow};
use crate::db::{Db, DbError, Meaning, reach, status};

/// Clocks may differ by so much.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::seconds(2);

/// Findings, with what other checks need to know.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) findings: Vec<Finding>,
    /// Topics that were read before.
    pub(super) read: BTreeSet<String>,
    /// The database, where it could be opened and is not shared with others.
    pub(super) db: Option<Db>,
}

/// Looks at the database, and as the roles of `[sql]`.
pub(super) async fn look(config: &Config, transactions: Duration) -> Look {
    let mut look = Look::default();
    if config.postgres.direct().is_none() {
        let what = "postgres.pool-mode is \"transaction\", and postgres.direct-url is not set";
        let remedy = "set postgres.direct-url, or MAILROOM__POSTGRES__DIRECT_URL, to Postgres itself";
        look.findings.push(Finding::new(Code::DirectUrlMissing, what, remedy));
    }
    match reach::reach(&config.postgres).await {
        Ok(db) => database(config, transactions, db, &mut look).await,
        Err(error) => {
            let remedy = "start it, or correct postgres.url; `mailroom config show` shows what holds";
            look.findings.push(Finding::new(Code::PostgresAway, error.to_string(), remedy));
        }
    }
    look.findings.extend(sql_roles(config).await);
    look
}

async fn database(config: &Config, transactions: Duration, db: Db, look: &mut Look) {
    match db.unsaid_pooler().await {
        Ok(None) => {}
        Ok(Some(place)) => {
            let error = SchemaError::Pooled(place);
            let remedy =
                "set postgres.pool-mode = \"transaction\", and postgres.direct-url to Postgres itself";
            look.findings.push(Finding::new(Code::PoolerUndeclared, error.to_string(), remedy));
            // Whatever a session says there is another's.
            db.close().await;
            return;
        }
        Err(error) => look.findings.push(not_checked(&error)),
    }
    let is_migrated = match migrate::check(&db).await {
        Ok(()) => true,
        Err(error) => {
            look.findings.push(of_schema(&error));
            false
        }
    };
    let connections = connections(config, &db, is_migrated).await;
    let faults = doctor::catalogue(&db, transactions, connections).await;
    look.findings.extend(known(faults));
    look.findings.extend(machine_clock(&db).await);
    if is_migrated {
        match doctor::schema(&db).await {
            Ok(lines) => look.findings.extend(drift::find(doctor::SCHEMA, &lines)),
            Err(error) => look.findings.push(not_checked(&error)),
        }
        look.findings.extend(sequences_behind(&db).await);
        look.findings.extend(host_clocks(&db).await);
        match status::offsets(&db).await {
            Ok(reads) => look.read = reads.into_iter().map(|read| read.topic).collect(),
            Err(error) => look.findings.push(not_checked(&error)),
        }
        look.db = Some(db);
    } else {
        db.close().await;
    }
}

/// Connections that the hosts which live may open, this one counted once at least; none where a pooler has those of
/// Postgres.
async fn connections(config: &Config, db: &Db, is_migrated: bool) -> i32 {
    if config.postgres.pool_mode == PoolMode::Transaction {
        return 0;
    }
    let hosts = if is_migrated { status::hosts(db).await.unwrap_or_default() } else { Vec::new() };
    let alive = hosts.iter().filter(|host| host.expires_in_secs > 0.0).count().max(1);
    let of_one = config.postgres.connections_max;
    i32::try_from(alive).unwrap_or(i32::MAX).saturating_mul(i32::try_from(of_one).unwrap_or(i32::MAX))
}

async fn sequences_behind(db: &Db) -> Vec<Finding> {
    match sequences::too_low(db).await {
        Ok(low) => {
            let finding = |low: &TooLow| Finding::new(Code::SequenceBehind, low.to_string(), low.remedy());
            low.iter().map(finding).collect()
        }
        Err(error) => vec![not_checked(&error)],
    }
}

fn of_schema(error: &SchemaError) -> Finding {
    let (code, remedy) = match error {
        SchemaError::Behind { .. } => (Code::SchemaBehind, "mailroom migrate"),
        SchemaError::Newer { .. } => (Code::SchemaNewer, "run the mailroom that migrated it"),
        SchemaError::Changed(_) => (Code::SchemaChanged, "use the binary that applied it"),
        SchemaError::Old(_) => (Code::PostgresOld, "upgrade Postgres to 14 or later, as by pg_upgrade"),
        SchemaError::Encoding(_) => {
            (Code::Encoding, "createdb --encoding UTF8 --template template0 NAME; mailroom migrate")
        }
        SchemaError::Migration { .. } => (Code::SchemaBehind, "mailroom migrate"),
        SchemaError::Pooled(_) => (Code::PoolerUndeclared, "set postgres.pool-mode = \"transaction\""),
        SchemaError::Db(error) => return not_checked(error),
    };
    Finding::new(code, error.to_string(), remedy)
}

/// A check that Postgres did not answer.
pub(super) fn not_checked(error: &DbError) -> Finding {
    let remedy = match error.meaning() {
        Meaning::Operator(remedy) => remedy,
        Meaning::Outage | Meaning::Retry => "run `mailroom doctor` again",
        Meaning::BadData | Meaning::Bug => "report it with this line",
    };
    Finding::new(Code::NotChecked, error.to_string(), remedy)
}

/// Gives what a statement found; where it failed, that.
fn known(faults: Result<Vec<Fault>, DbError>) -> Vec<Finding> {
    match faults {
        Ok(faults) => {
            let finding = |Fault { code, what, remedy }: Fault| {
                Finding::new(Code::of(&code).unwrap_or(Code::NotChecked), what, remedy)
            };
            faults.into_iter().map(finding).collect()
        }
        Err(error) => vec![not_checked(&error)],
    }
}

async fn machine_clock(db: &Db) -> Option<Finding> {
    match doctor::clock(db).await {
        Ok(look) => {
            let (apart, direction) = apart(look)?;
            let secs = apart.as_seconds_f64();
            let what = format!("the clock of this machine is {secs:.1} s {direction} Postgres'");
            Some(Finding::new(Code::ClockSkew, what, "timedatectl set-ntp true, on both machines"))
        }
        Err(error) => Some(not_checked(&error)),
    }
}

/// The least by which a clock differs from Postgres', and its direction, where that is too much.
fn apart(ClockLook { before, server, after }: ClockLook) -> Option<(TimeDelta, &'static str)> {
    let (ahead, behind) = (before - server, server - after);
    match (ahead > CLOCKS_APART_MAX, behind > CLOCKS_APART_MAX) {
        (true, _) => Some((ahead, "ahead of")),
        (_, true) => Some((behind, "behind")),
        (false, false) => None,
    }
}

async fn host_clocks(db: &Db) -> Vec<Finding> {
    let ahead = match doctor::clocks_ahead(db).await {
        Ok(ahead) => ahead,
        Err(error) => return vec![not_checked(&error)],
    };
    let too_far = ahead.into_iter().filter(|host| host.ahead_secs > CLOCKS_APART_MAX.as_seconds_f64());
    let finding = |host: doctor::ClockAhead| {
        let what =
            format!("the clock of host {} is {:.1} s ahead of Postgres'", host.worker, host.ahead_secs);
        Finding::new(
            Code::HostClock,
            what,
            format!("timedatectl set-ntp true, on the machine of {}", host.worker),
        )
    };
    too_far.map(finding).collect()
}

async fn sql_roles(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, role) in &config.sql {
        let as_role =
            Postgres { url: role.url.clone(), pool_mode: PoolMode::Session, ..config.postgres.clone() };
        match reach::reach(&as_role).await {
            Ok(db) => {
                match db.unsaid_pooler().await {
                    Ok(Some(place)) => {
                        let what = format!("sql.{name}: {}", SchemaError::Pooled(place));
                        let remedy =
                            format!("set sql.{name}.url to Postgres itself, or to a pooler in session mode");
                        findings.push(Finding::new(Code::PoolerUndeclared, what, remedy));
                    }
                    Ok(None) => {
                        findings.extend(known(doctor::sql_role(&db).await).into_iter().map(|finding| {
                            Finding { what: format!("sql.{name}: {}", finding.what), ..finding }
                        }))
                    }
                    Err(error) => findings.push(not_checked(&error)),
                }
                db.close().await;
            }
            Err(error) => {
                let remedy = format!("create the role with its password, or correct sql.{name}.url");
                findings.push(Finding::new(Code::SqlRoleAway, format!("sql.{name}: {error}"), remedy));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_apart_only_where_the_time_of_the_question_does_not_explain_it() {
        let at = |seconds: i64| chrono::DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap();
        let look = |server, after| apart(ClockLook { before: at(0), server: at(server), after: at(after) });
        assert_eq!(look(5, 10), None);
        assert_eq!(look(12, 10), None);
        assert_eq!(look(13, 10), Some((TimeDelta::seconds(3), "behind")));
        assert_eq!(look(-3, 10), Some((TimeDelta::seconds(3), "ahead of")));
    }
}
