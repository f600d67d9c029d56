//! Answers of Postgres that a handler's SQL makes as long as it likes: what is too long is refused by its length, before
//! the host has read it.

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{
    Host, LATER, Manifest, Message, PoolMode, SOON, Setup, World, becomes, in_world, in_world_with_pooler,
};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::arrange::sql_role;
use crate::certificates::Certificates;

/// Bytes by which the host's memory may rise: an answer of 4 MiB, which a handler may have, is copied a few
/// times.
const PEAK_BYTES_MAX: u64 = 64 << 20;

/// Statements whose answers are a hundred times as long.
const LONG_ROW: &str = "select repeat('x', 500000000)";
const LONG_ERROR: &str = "select raises(200000000)";
const LONG_NOTICE: &str = "select notes(200000000)";
/// Has notices sent, which the host asks Postgres to keep.
const LISTENS: &str = "select set_config('client_min_messages', 'notice', false)";

const SCHEMA: [&str; 6] = [
    "create function public.raises(bytes int) returns int language plpgsql as
        $$ begin raise exception '%', repeat('x', bytes); end $$",
    "create function public.notes(bytes int) returns int language plpgsql as
        $$ begin raise notice '%', repeat('x', bytes); return bytes; end $$",
    "create function public.says_late() returns trigger language plpgsql as
        $$ begin execute 'select ' || new.says; return null; end $$",
    "create table public.late (says text)",
    "create constraint trigger late after insert on public.late deferrable initially deferred
        for each row execute function public.says_late()",
    "create table public.client (name text)",
];

/// A handler with SQL, and one without beside it.
struct Talkative {
    input: String,
    beside: String,
    role: String,
    url: String,
}

impl Talkative {
    async fn new(world: &World) -> Result<Self> {
        let input = world.kafka.topic("in", 1).await?;
        let beside = world.kafka.topic("beside", 1).await?;
        let (role, url) = sql_role(world, "talkative").await?;
        for statement in SCHEMA {
            world.db.execute(statement).await?;
        }
        for statement in [
            format!("grant insert on public.late, public.client to {role}"),
            // The server's own log keeps none of it either.
            format!("alter role {role} set log_min_messages = 'panic'"),
        ] {
            world.db.execute(AssertSqlSafe(statement)).await?;
        }
        let manifest = Manifest::takes(&[&input])
            .sql("talkative")
            .with("retry.attempts-max = 1")
            .with("limits.deadline = \"25s\"");
        world.drop_handler("talkative", "sql-runner", &manifest)?;
        world.drop_handler("beside", "noop", &Manifest::takes(&[&beside]))?;
        Ok(Self { input, beside, role, url })
    }

    fn start(&self, world: &World) -> Result<Host> {
        self.start_at(world, &self.url)
    }

    fn start_at(&self, world: &World, url: &str) -> Result<Host> {
        world.start_host_with(
            "a",
            &[("MAILROOM__SQL__TALKATIVE__URL", url), ("MAILROOM__HOST__EXPIRY", "40s")],
        )
    }

    /// One key: each message waits for the one before.
    fn says(&self, id: &str, statements: &[&str]) -> Message {
        let statements: Vec<_> = statements.iter().map(|sql| json!({ "sql": sql })).collect();
        Message::to(&self.input).key("k").id(id).json(&json!({ "statements": statements }))
    }

    /// Has each of the messages end, between two that are as others are, with one of the other handler beside each.
    async fn end_all(&self, world: &World, host: &Host, messages: &[Message]) -> Result<()> {
        let already = ended(world).await?;
        let plain = ["select repeat('x', 4000000)"];
        world.kafka.send(&self.says("before", &plain)).await?;
        becomes("a first message is through", already + 1, SOON, async || ended(world).await).await?;
        let before = host.resident_bytes_peak()?;
        for (number, message) in messages.iter().enumerate() {
            world.kafka.send(message).await?;
            world.kafka.send(&Message::to(&self.beside).key("k").id(&format!("beside-{number}"))).await?;
        }
        world.kafka.send(&self.says("behind", &plain)).await?;

        let all = already + i64::try_from(2 * messages.len() + 2)?;
        becomes("all have ended", all, LATER, async || ended(world).await).await?;
        let peak = host.resident_bytes_peak()?;
        eprintln!("memory in MiB: {} before, {} at most", before >> 20, peak >> 20);
        ensure!(peak <= before + PEAK_BYTES_MAX, "{} MiB at most, {} before", peak >> 20, before >> 20);
        let spent =
            "select coalesce(sum(attempts_made), 0)::bigint - count(*) filter (where status = 'failed')
                       from mailroom.inbox";
        ensure!(world.db.one::<i64>(spent).await? == 0, "an attempt was spent on what has not failed");
        becomes("no session of the handler goes on", 0, SOON, async || self.busy_sessions(world).await).await
    }

    async fn busy_sessions(&self, world: &World) -> Result<i64> {
        let busy = "select count(*) from pg_stat_activity where usename = $1 and state <> 'idle'";
        Ok(sqlx::query_scalar(busy).bind(&self.role).fetch_one(world.db.pool()).await?)
    }
}

async fn ended(world: &World) -> Result<i64> {
    world.db.one("select count(*) from mailroom.inbox where status <> 'pending'").await
}

/// Fails unless these messages have failed, and no others, each by the limit's name.
async fn refused(world: &World, expected: &[(&str, &str, &str)]) -> Result<()> {
    let letters =
        "select message_id, coalesce(code, ''), error from mailroom.dead_letter order by message_id";
    let letters: Vec<(String, String, String)> = world.db.rows(letters).await?;
    ensure!(letters.len() == expected.len(), "{letters:?}");
    for ((id, code, error), expected) in letters.iter().zip(expected) {
        let named = error.contains(expected.2) && error.contains("an answer may have 4194304 bytes");
        ensure!((id.as_str(), code.as_str()) == (expected.0, expected.1) && named, "{id}: {error} ({code})");
    }
    Ok(())
}

/// Has a row, an error and a notice that are too long.
async fn answers_are_bounded(world: &World, talkative: &Talkative, host: &Host) -> Result<()> {
    let messages = [
        talkative.says("error", &[LONG_ERROR]),
        talkative.says("notice", &[LISTENS, LONG_NOTICE, "select notes(2)"]),
        talkative.says("row", &["select 1", LONG_ROW]),
    ];
    talkative.end_all(world, host, &messages).await?;
    let row = ("row", "54000", "a row of 500000010 bytes");
    refused(world, &[("error", "54000", "an error of 2000"), row]).await
}

#[test]
fn a_row_or_an_error_of_any_size_is_refused_by_name_a_notice_is_dropped_and_neighbours_go_on() {
    in_world(Setup::default(), async |world| {
        let talkative = Talkative::new(world).await?;
        let host = talkative.start(world)?;
        answers_are_bounded(world, &talkative, &host).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_commit_that_says_too_much_fails_where_it_is_an_error_and_is_done_where_it_is_a_notice() {
    in_world(Setup::default(), async |world| {
        let talkative = Talkative::new(world).await?;
        let host = talkative.start(world)?;
        let messages = [
            talkative.says("error", &["insert into late values ('raises(200000000)')"]),
            talkative.says("notice", &[LISTENS, "insert into late values ('notes(200000000)')"]),
        ];
        talkative.end_all(world, &host, &messages).await?;
        refused(world, &[("error", "", "an error of 2000")]).await?;
        ensure!(
            world.db.column::<String>("select says from late").await? == ["notes(200000000)"],
            "a row of a commit that failed is there, or none of one that was done"
        );
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn answers_are_bounded_behind_a_pooler_in_session_mode() {
    in_world_with_pooler(Setup::default(), PoolMode::Session, async |world| {
        let talkative = Talkative::new(world).await?;
        let pooler = world.pooler.as_ref().context("this world has a pooler")?;
        pooler.admit(&talkative.role, "talkative")?;
        let url = talkative.url.replacen(&world.db.address(), &pooler.address(), 1);
        let host = talkative.start_at(world, &url)?;
        answers_are_bounded(world, &talkative, &host).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn answers_are_bounded_in_tls_with_the_certificates_that_the_url_names() {
    in_world(Setup { own_postgres: true, ..Setup::default() }, async |world| {
        let talkative = Talkative::new(world).await?;
        let [ours, others] = ["ours", "others"].map(|name| world.folder().join(name));
        let ours = Certificates::new(ours, &talkative.role)?;
        let others = Certificates::new(others, &talkative.role)?;
        ours.install(world, &format!("hostssl all {} 127.0.0.1/32 cert", talkative.role)).await?;
        let (certificate, key) = (ours.file("client.crt"), ours.file("client.key"));
        let url = |authority: &Certificates| {
            let (role, place, database) = (&talkative.role, world.db.address(), world.db.name());
            let root = authority.file("authority.crt");
            format!(
                "postgres://{role}@{place}/{database}?sslmode=verify-full&sslrootcert={root}\
                 &sslcert={certificate}&sslkey={key}"
            )
        };

        let host = talkative.start_at(world, &url(&others))?;
        let client = "insert into client select client_dn from pg_stat_ssl where pid = pg_backend_pid()";
        world.kafka.send(&talkative.says("client", &[client])).await?;
        host.wait_log("invalid peer certificate").await?;
        host.stop().await?;

        let host = talkative.start_at(world, &url(&ours))?;
        let named = async || world.db.column::<String>("select name from client").await;
        let name = vec![format!("/CN={}", talkative.role)];
        becomes("Postgres knows the handler by its certificate", name, SOON, named).await?;
        answers_are_bounded(world, &talkative, &host).await?;
        host.stop().await?;
        Ok(())
    });
}
