//! Activity of a host while there is nothing to do.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mailroom_tests::db::Db;
use mailroom_tests::{SOON, eventually};
use tokio::time::{Instant, interval};

use crate::figure::{Figure, Idle, Measured};
use crate::ground::{Ground, Handler};
use crate::stage::Stage;

/// Time for which it is watched, after as long a time to become quiet.
const WATCHED: Duration = Duration::from_secs(10);

/// Linux counts a process' time in these.
const TICKS_PER_SEC: f64 = 100.0;

/// Counts for ten seconds what it asks of Postgres and what it takes of a core.
pub(crate) async fn measure(stage: &Stage) -> Result<Figure> {
    let ground = Ground::new(stage, "idle", Handler::Component).await?;
    let host = ground.host_up().await?;
    let asleep = "select exists (select from mailroom.relay_sleep where asleep_until > clock_timestamp())";
    eventually("the relay sleeps", SOON, async || ground.db.one::<bool>(asleep).await).await?;
    let counted = Counted::of(stage, &ground.db).await?;
    let mut watch = interval(WATCHED);
    watch.tick().await;
    watch.tick().await;
    let before = counted.begin(&ground.db).await?;
    let (ticks, begun) = (ticks(host.pid()?)?, Instant::now());
    watch.tick().await;
    let secs = begun.elapsed().as_secs_f64();
    let cpu = self::ticks(host.pid()?)? - ticks;
    let asked = counted.now(&ground.db).await? - before;
    if counted == Counted::Statements {
        tell(&ground.db).await?;
    }
    host.stop().await?;
    ground.remove().await?;
    let idle = Idle {
        counted: counted.word(),
        // The look at the end counts the one at the beginning.
        per_sec: f64::from(u32::try_from(asked - 1)?) / secs,
        cpu_percent: cpu / TICKS_PER_SEC / secs * 100.0,
    };
    Ok(Figure { of: "idle host", is: Measured::Idle(idle) })
}

/// Kind of event that Postgres can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Statements,
    Transactions,
}

impl Counted {
    async fn of(stage: &Stage, db: &Db) -> Result<Self> {
        if !stage.counts_statements {
            return Ok(Self::Transactions);
        }
        db.execute("create extension pg_stat_statements").await?;
        Ok(Self::Statements)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Statements => "statements",
            Self::Transactions => "transactions",
        }
    }

    /// Forgets what was counted so far, or says how much it is.
    async fn begin(self, db: &Db) -> Result<i64> {
        if self == Self::Statements {
            db.execute("select pg_stat_statements_reset()").await?;
            return Ok(0);
        }
        self.now(db).await
    }

    /// Counts them in this database so far.
    async fn now(self, db: &Db) -> Result<i64> {
        db.one(match self {
            Self::Statements => {
                "select sum(calls)::bigint from pg_stat_statements
                  where dbid = (select oid from pg_database where datname = current_database())"
            }
            Self::Transactions => {
                "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
            }
        })
        .await
    }
}

/// Shows what was asked most.
async fn tell(db: &Db) -> Result<()> {
    let most = "select calls, regexp_replace(left(query, 100), '\\s+', ' ', 'g') from pg_stat_statements
                 where dbid = (select oid from pg_database where datname = current_database())
                 order by calls desc limit 6";
    for (calls, query) in db.rows::<(i64, String)>(most).await? {
        eprintln!("  {calls} × {query}");
    }
    Ok(())
}

/// Processor time of a process so far, user and system.
fn ticks(pid: u32) -> Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let stat =
        fs::read_to_string(&file).with_context(|| format!("could not read {file}, which Linux has"))?;
    spent(&stat).with_context(|| format!("{file} is not as expected"))
}

/// The 14th and 15th field. The second, the program's name, may contain anything.
fn spent(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(f64::from(user) + f64::from(system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_behind_whatever_the_program_is_called() {
        let stat = "4711 (mail) room) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 8 0 1 2 3";
        assert_eq!(spent(stat), Some(150.0));
        assert_eq!(spent("4711 (mailroom) S 1 2"), None);
    }
}
