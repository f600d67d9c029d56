//! `mailroom doctor`: an installation as it should be has no fault, and each that is planted is found by its code, with
//! what mends it.

use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::{
    LATER, Manifest, PoolMode, SOON, Setup, World, becomes, eventually, in_world, in_world_with_pooler,
};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio::process::Command;

/// Faults of the database, each by what plants it, its code, words of what is said, and the beginning of the remedy.
const IN_POSTGRES: [(&str, &str, &str, &str); 17] = [
    (
        "alter table mailroom.outbox disable trigger before_outbox_insert",
        "trigger-disabled",
        "before_outbox_insert of mailroom.outbox",
        "alter table mailroom.outbox enable trigger before_outbox_insert",
    ),
    (
        "create function public.copy() returns trigger language plpgsql as 'begin return new; end'",
        "trigger-foreign",
        "inbox.copy",
        "drop trigger copy on mailroom.inbox",
    ),
    (
        "create trigger copy before insert on mailroom.inbox for each row execute function public.copy()",
        "trigger-foreign",
        "inbox.copy",
        "drop trigger copy on mailroom.inbox",
    ),
    (
        "alter function mailroom.uuid_v7() owner to pg_monitor",
        "owner-foreign",
        "mailroom.uuid_v7() belongs to pg_monitor",
        "alter function mailroom.uuid_v7() owner to mailroom",
    ),
    (
        "alter table mailroom.state owner to pg_monitor",
        "owner-foreign",
        "table mailroom.state belongs to pg_monitor",
        "alter table mailroom.state owner to mailroom",
    ),
    (
        "alter table mailroom.inbox replica identity nothing",
        "replica-identity",
        "mailroom.inbox",
        "alter table mailroom.inbox replica identity using index inbox_identity",
    ),
    (
        "alter table mailroom.attempt set unlogged",
        "table-unlogged",
        "mailroom.attempt",
        "alter table mailroom.attempt set logged",
    ),
    (
        "alter table mailroom.dead_letter enable row level security",
        "row-security",
        "mailroom.dead_letter",
        "alter table mailroom.dead_letter disable row level security",
    ),
    (
        "alter table mailroom.outbox set (autovacuum_enabled = false)",
        "autovacuum-off",
        "mailroom.outbox",
        "alter table mailroom.outbox reset (autovacuum_enabled)",
    ),
    (
        "grant select on mailroom.host_key to public",
        "secret-readable",
        "mailroom.host_key",
        "revoke all on mailroom.host_key from public",
    ),
    (
        "create rule quiet as on insert to mailroom.duplicate do instead nothing",
        "rule-foreign",
        "rule quiet of mailroom.duplicate",
        "drop rule quiet on mailroom.duplicate",
    ),
    (
        "drop index mailroom.inbox_due",
        "index-missing",
        "index inbox_due is missing",
        "CREATE INDEX CONCURRENTLY inbox_due ON mailroom.inbox",
    ),
    (
        "alter table mailroom.lane drop constraint lane_kind_check",
        "schema-drift",
        "lane.lane_kind_check is missing",
        "alter table mailroom.lane add constraint lane_kind_check CHECK",
    ),
    (
        "alter table mailroom.host alter column waits drop not null",
        "schema-drift",
        "column host.waits is `jsonb default",
        "alter table mailroom.host alter column waits set not null",
    ),
    (
        "create or replace function mailroom.bears_token(headers jsonb) returns boolean language sql immutable
         as 'select false'",
        "schema-drift",
        "function bears_token(headers jsonb) is not as its migration made it",
        "run `create or replace function mailroom.bears_token` of migrations/0030_publish_by_right.sql again",
    ),
    (
        // In one transaction, of which all is counted at once.
        "do $$ begin
             insert into mailroom.outbox (topic, event_type) select 'x', 'x' from generate_series(1, 11000);
             delete from mailroom.outbox where seq > 10;
         end $$",
        "dead-tuples",
        "mailroom.outbox has 1",
        "vacuum (analyze) mailroom.outbox",
    ),
    (
        "alter sequence mailroom.outbox_seq_seq restart with 3",
        "sequence-behind",
        "mailroom.outbox_seq_seq stands at",
        "alter table mailroom.outbox alter seq restart with 11",
    ),
];

/// A host that waits since a moment that has not come.
const FAST_CLOCK: &str = r#"insert into mailroom.host (id, worker, version, relays, expires_at, waits)
    values (gen_random_uuid(), 'fast', '0', false, clock_timestamp() + interval '1 hour',
            jsonb_build_array(jsonb_build_object('what', 'Kafka', 'why', 'away',
                                                 'since', clock_timestamp() + interval '1 minute')))"#;

/// Transaction ids in plenty: each row is a subtransaction's.
const BURN: &str = "do $$ begin
    create temporary table burnt () on commit drop;
    for i in 1..210000 loop
        begin insert into burnt default values; exception when others then null; end;
    end loop; end $$";

/// Topics of the test by their settings, with the fault of each and what its remedy sets.
const IN_KAFKA: [(&str, &str, &str, &str, &str); 5] = [
    ("needs-two", "min.insync.replicas", "2", "replicas-in-sync", "min.insync.replicas=1"),
    (
        "unclean",
        "unclean.leader.election.enable",
        "true",
        "unclean-election",
        "unclean.leader.election.enable=false",
    ),
    ("short", "retention.ms", "3600000", "retention-short", "retention.ms=86400000"),
    ("compacted", "cleanup.policy", "compact", "compacted-input", "cleanup.policy=delete"),
    ("small", "max.message.bytes", "1000", "message-size", "max.message.bytes=1000000"),
];

fn count(said: &Value, name: &str) -> Result<u64> {
    said.get(name).and_then(Value::as_u64).with_context(|| format!("no {name} in {said}"))
}

/// An answer of the doctor.
struct Diagnosis(Value);

impl Diagnosis {
    /// Asks with these arguments and settings; the exit code has to fit the answer.
    async fn of(world: &World, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        let ran = world.mailroom_with(&[&["doctor", "--json"][..], args].concat(), env).await?;
        let said: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("no JSON: {ran:?}"))?;
        let counted = count(&said, "errors")? + count(&said, "warnings")?;
        ensure!(ran.code == Some(if counted == 0 { 0 } else { 6 }), "the exit code does not fit: {ran:?}");
        Ok(Self(said))
    }

    fn findings(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.get("findings").and_then(Value::as_array).into_iter().flatten().filter_map(|finding| {
            let text = |name: &str| finding.get(name).and_then(Value::as_str);
            Some((text("code")?, text("what")?, text("remedy")?))
        })
    }

    /// Fails unless there is a finding of this code that says `what`, with a remedy that has these words.
    fn has(&self, code: &str, what: &str, remedy: &str) -> Result<()> {
        let found = self
            .findings()
            .any(|(of, says, mends)| of == code && says.contains(what) && mends.contains(remedy));
        ensure!(found, "no `{code}` that says `{what}`, mended by `{remedy}`: {:#}", self.0);
        Ok(())
    }

    fn is_clean(&self) -> Result<()> {
        ensure!(self.findings().next().is_none(), "nothing is at fault: {:#}", self.0);
        Ok(())
    }
}

/// Restarts this world's own Postgres with settings that no running one takes.
async fn restart_with(world: &World, settings: &[&str]) -> Result<()> {
    for setting in settings {
        world.db.execute(AssertSqlSafe(format!("alter system set {setting}"))).await?;
    }
    world.with_postgres(|postgres| postgres.restart()).await?;
    eventually("Postgres answers", SOON, async || Ok(world.db.one::<i32>("select 1").await? == 1)).await
}

#[test]
fn an_installation_as_it_should_be_has_no_fault_and_each_that_is_planted_is_found_with_its_remedy() {
    let setup = Setup { own_postgres: true, ..Setup::default() };
    in_world_with_pooler(setup, PoolMode::Transaction, async |world| {
        let good = world.kafka.topic("good", 1).await?;
        world.drop_handler("noop", "noop", &Manifest::takes(&[&good]).publishes(&[&good]))?;
        let url = world.db.url();
        let direct = [("MAILROOM__POSTGRES__URL", &*url), ("MAILROOM__POSTGRES__POOL_MODE", "session")];
        Diagnosis::of(world, &[], &direct).await?.is_clean()?;
        Diagnosis::of(world, &[], &[]).await?.is_clean()?;
        let said = world.mailroom(&["doctor"]).await?.ok()?;
        assert!(said.contains("Errors: 0, warnings: 0, notes: 0."), "{said}");

        let undeclared = Diagnosis::of(world, &[], &[("MAILROOM__POSTGRES__POOL_MODE", "session")]).await?;
        undeclared.has(
            "pooler-undeclared",
            "gives its backends to others",
            "postgres.pool-mode = \"transaction\"",
        )?;

        in_postgres(world, &direct).await?;
        in_kafka(world, &direct).await
    });
}

/// Plants faults of the database and of its server, finds them, and mends what a statement mends.
async fn in_postgres(world: &World, direct: &[(&str, &str)]) -> Result<()> {
    restart_with(world, &["max_prepared_transactions = 5", "autovacuum_freeze_max_age = 100000"]).await?;
    // First, so that no vacuum which the server starts by itself cleans up what is deleted after it.
    let prepare = "begin; insert into public.x values (1); prepare transaction 'left-behind'";
    world.db.execute("create table public.x (n integer)").await?;
    sqlx::raw_sql(prepare).execute(world.db.pool()).await?;
    // In a session of its own: what a session did is counted only once it is idle.
    let held = world.db.hold("select 1 from public.x").await?;
    for (plant, ..) in IN_POSTGRES {
        world.db.execute(plant).await?;
    }
    world.db.execute(FAST_CLOCK).await?;
    world.db.execute(BURN).await?;
    let database = world.db.name();
    world
        .db
        .execute(AssertSqlSafe(format!("alter database {database} set synchronous_commit = off")))
        .await?;
    let mut standby = receiver(world)?;
    let streams = "select count(*) > 0 from pg_stat_replication where state = 'streaming'";
    eventually("the standby follows", SOON, async || world.db.one::<bool>(streams).await).await?;
    let counted =
        "select n_dead_tup > 10000 from pg_stat_all_tables where relid = 'mailroom.outbox'::regclass";
    eventually("dead rows are counted", SOON, async || world.db.one::<bool>(counted).await).await?;

    let many = [direct, &[("MAILROOM__POSTGRES__CONNECTIONS_MAX", "400")][..]].concat();
    let found = Diagnosis::of(world, &["--transactions", "0s"], &many).await?;

    for (_, code, what, remedy) in IN_POSTGRES {
        found.has(code, what, remedy)?;
    }
    found.has("host-clock", "the clock of host fast is ", "timedatectl set-ntp true")?;
    found.has("prepared-old", "'left-behind'", "rollback prepared 'left-behind'")?;
    found.has("transaction-old", "idle in transaction", "select pg_terminate_backend(")?;
    found.has("wraparound", database, "vacuum (freeze)")?;
    let reset = format!("alter database {database} reset synchronous_commit");
    found.has("commit-asynchronous", "from the database", &reset)?;
    found.has("standby-asynchronous", "second_site", "synchronous_standby_names = 'ANY 1 (second_site)'")?;
    found.has("connections-few", "may open 400 connections", "alter system set max_connections = 403")?;

    standby.kill().await?;
    held.release().await?;
    world.db.execute("rollback prepared 'left-behind'").await?;
    let roles = rights(world, direct).await?;
    world.db.execute("delete from mailroom.host").await?;
    // A function is made anew by its migration's words, which a remedy only names.
    let last = "function bears_token(headers jsonb) is not as its migration made it";
    becomes("what a statement mends is mended", vec![last.to_owned()], LATER, async || {
        let left = Diagnosis::of(world, &[], direct).await?;
        for (_, _, remedy) in left.findings() {
            mend(world, remedy).await?;
        }
        Ok(left.findings().map(|(_, what, _)| what.to_owned()).collect())
    })
    .await?;
    for role in roles {
        world.db.execute(AssertSqlSafe(format!("drop owned by {role}"))).await?;
        world.db.execute(AssertSqlSafe(format!("drop role {role}"))).await?;
    }
    Ok(())
}

/// Finds what roles lack; gives the roles.
async fn rights(world: &World, direct: &[(&str, &str)]) -> Result<[String; 2]> {
    let roles = ["weak", "shop"].map(|name| format!("{name}_{}", world.db.name()));
    let [weak, shop] = &roles;
    for statement in [
        format!("create role {weak} login password 'p'"),
        format!("create role {shop} login createdb password 'p'"),
        format!("grant usage on schema mailroom to {weak}"),
        format!("grant select on all tables in schema mailroom to {weak}"),
    ] {
        world.db.execute(AssertSqlSafe(statement)).await?;
    }
    let (weak_url, shop_url) = (world.db.url_as(weak, "p"), world.db.url_as(shop, "p"));
    let wrong_url = world.db.url_as(shop, "wrong");
    let of_weak = [
        direct,
        &[
            ("MAILROOM__POSTGRES__URL", &*weak_url),
            ("MAILROOM__SQL__SHOP__URL", &*shop_url),
            ("MAILROOM__SQL__AWAY__URL", &*wrong_url),
        ][..],
    ]
    .concat();
    let found = Diagnosis::of(world, &[], &of_weak).await?;
    let lacks = format!("role {weak} lacks insert, update, delete on ");
    let grant = format!("grant select, insert, update, delete on all tables in schema mailroom to {weak}");
    found.has("grants", &lacks, &grant)?;
    found.has("grants", "may not draw from", "grant select, usage on all sequences in schema mailroom")?;
    found.has("not-visible", weak, &format!("grant pg_read_all_stats to {weak}"))?;
    found.has("sql-role", "sql.shop: it has attributes", &format!("alter role {shop} nosuperuser"))?;
    let settle = format!("grant execute on function mailroom.settle_with_sql to {shop}");
    found.has("sql-role", "may not call mailroom.settle_with_sql", &settle)?;
    found.has("sql-role-away", "sql.away", "correct sql.away.url")?;
    Ok(roles)
}

/// Runs a remedy that is SQL, each of its statements by itself as psql does.
async fn mend(world: &World, remedy: &str) -> Result<()> {
    const SQL: [&str; 9] = [
        "alter table",
        "alter function",
        "alter database",
        "drop ",
        "revoke ",
        "CREATE ",
        "select setval",
        "rollback ",
        "vacuum",
    ];
    if !SQL.iter().any(|verb| remedy.starts_with(verb)) {
        return Ok(());
    }
    for statement in remedy.split("; ") {
        let run = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(world.db.pool()).await;
        run.with_context(|| format!("the remedy `{remedy}`"))?;
    }
    Ok(())
}

/// Follows the log of this world's Postgres, as a standby does.
fn receiver(world: &World) -> Result<tokio::process::Child> {
    let folder = world.folder().join("standby");
    fs::create_dir_all(&folder)?;
    let url = format!("{}?application_name=second_site", world.db.url());
    let mut command = Command::new("pg_receivewal");
    command.arg("-D").arg(&folder).arg("-d").arg(url).kill_on_drop(true);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("pg_receivewal cannot be started")
}

/// Plants faults in Kafka and in the folder of handlers, and finds them.
async fn in_kafka(world: &World, direct: &[(&str, &str)]) -> Result<()> {
    let mut names = Vec::new();
    for (name, key, value, ..) in IN_KAFKA {
        names.push(world.kafka.topic_with(name, 1, &[(key, value)]).await?);
    }
    let missing = world.kafka.topic_name("missing");
    let mut takes: Vec<&str> = names.iter().map(String::as_str).collect();
    takes.push(&missing);
    world.drop_handler("wide", "noop", &Manifest::takes(&takes).publishes(&takes))?;
    world.drop_component("broken", b"no component")?;
    let compacted = world.kafka.topic_name("compacted");
    let insert = format!("insert into mailroom.outbox (topic, event_type) values ('{compacted}', 'x')");
    world.db.execute(AssertSqlSafe(insert)).await?;

    let found =
        Diagnosis::of(world, &[], &[direct, &[("MAILROOM__RETENTION__INBOX", "48h")][..]].concat()).await?;

    for ((.., code, remedy), topic) in IN_KAFKA.iter().zip(&names) {
        found.has(code, topic, remedy)?;
    }
    found.has("compacted-without-keys", &compacted, "cleanup.policy=delete")?;
    found.has("inbox-retention", &world.kafka.topic_name("good"), "set retention.inbox to more than")?;
    found.has("topic-missing", &missing, &format!("--create --topic {missing}"))?;
    found.has("handler-refused", "broken.wasm", "mailroom handler check ")
}

#[test]
fn a_database_or_a_server_with_which_no_host_could_work_is_said_with_what_to_do() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        let latin = format!("{}_latin", world.db.name());
        let create = format!(
            "create database {latin} encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0"
        );
        world.db.execute(AssertSqlSafe(create)).await?;
        let url = world.db.url();
        let (server, _) = url.rsplit_once('/').context("no database in the URL")?;
        let latin_url = format!("{server}/{latin}");

        let found = Diagnosis::of(world, &[], &[("MAILROOM__POSTGRES__POOL_MODE", "transaction")]).await?;
        found.has("schema-behind", "lacks", "mailroom migrate")?;
        found.has("direct-url-missing", "postgres.direct-url is not set", "set postgres.direct-url")?;
        let found = Diagnosis::of(world, &[], &[("MAILROOM__POSTGRES__URL", &*latin_url)]).await?;
        found.has("encoding", "LATIN1", "createdb --encoding UTF8")?;
        world.db.execute(AssertSqlSafe(format!("drop database {latin}"))).await?;

        let nobody = [
            ("MAILROOM__POSTGRES__URL", "postgres://u:p@127.0.0.1:1/x"),
            ("MAILROOM__KAFKA__BROKERS", "127.0.0.1:1"),
            ("MAILROOM__HOST__HANDLERS", "nowhere"),
        ];
        let found = Diagnosis::of(world, &[], &nobody).await?;
        found.has("postgres-away", "127.0.0.1:1/x", "correct postgres.url")?;
        found.has("kafka-away", "127.0.0.1:1", "correct kafka.brokers")?;
        found.has("handlers-folder", "nowhere", "mkdir -p nowhere")
    });
}
