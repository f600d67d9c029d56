//! Handlers with SQL: what they write commits with their message or not at all, and their role is all they have.

mod bounds;
mod corpus;
mod fence;
mod kills;
mod session;

use anyhow::Result;
use mailroom_tests::{Host, Manifest, Message, Proxy, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::{Value, json};

use crate::arrange::sql_role;

/// A handler with SQL, its topics, and the tables that its role may write.
struct Shop {
    input: String,
    output: String,
    role: String,
    url: String,
}

impl Shop {
    async fn new(world: &World) -> Result<Self> {
        let input = world.kafka.topic("in", 1).await?;
        let output = world.kafka.topic("out", 1).await?;
        let (role, url) = sql_role(world, "shop").await?;
        for statement in [
            "create table public.sale (id text primary key, cents bigint not null check (cents > 0))"
                .to_owned(),
            "create table public.late (id text, constraint once unique (id) deferrable initially deferred)"
                .to_owned(),
            // Without a key: what is written twice is there twice.
            "create table public.entry (id text not null, by name not null default current_user)".to_owned(),
            format!(
                "grant select, insert, update, delete on public.sale, public.late, public.entry to {role}"
            ),
        ] {
            world.db.execute(sqlx::AssertSqlSafe(statement)).await?;
        }
        let manifest =
            Manifest::takes(&[&input]).publishes(&[&output]).sql("shop").with("breaker.threshold = 1000");
        world.drop_handler("sql-runner", "sql-runner", &manifest)?;
        Ok(Self { input, output, role, url })
    }

    fn start(&self, world: &World) -> Result<Host> {
        world.start_host_with("a", &[("MAILROOM__SQL__SHOP__URL", &self.url)])
    }

    /// Starts a host with the proxy between the handler's SQL and Postgres; the host itself reaches it
    /// directly.
    fn start_behind(&self, world: &World, proxy: &Proxy) -> Result<Host> {
        let url = self.url.replacen(&world.db.address(), &proxy.address(), 1);
        world.start_host_with("a", &[("MAILROOM__SQL__SHOP__URL", &url)])
    }

    /// Sessions of its role that have a statement or a transaction open.
    async fn busy_sessions(&self, world: &World) -> Result<i64> {
        let busy = "select count(*) from pg_stat_activity where usename = $1 and state <> 'idle'";
        Ok(sqlx::query_scalar(busy).bind(&self.role).fetch_one(world.db.pool()).await?)
    }

    fn says(&self, id: &str, script: &Value) -> Message {
        Message::to(&self.input).key("k").id(id).json(script)
    }

    fn sale(&self, id: &str, cents: i64) -> Message {
        let sql = "insert into sale (id, cents) values ($1, $2)";
        let statements = json!([{"sql": sql, "params": [id, cents]}]);
        self.says(id, &json!({"statements": statements, "topic": self.output, "counts": true}))
    }
}

const SALES: &str = "select coalesce(string_agg(id, ' ' order by id), '') from sale";
const ENDED: &str = "select count(*) from mailroom.inbox where status <> 'pending'";
const COUNTED: &str =
    "select coalesce(max(convert_from(value, 'UTF8')::bigint), 0) from mailroom.state where name = 'count'";

/// The words of the dead letters, by message.
async fn letters(world: &World) -> Result<Vec<(String, String, Option<String>)>> {
    world.db.rows("select message_id, error, code from mailroom.dead_letter order by message_id").await
}

/// Has a handler read and write by SQL, and fail once.
pub(crate) async fn sales_by_sql(world: &World) -> Result<()> {
    let shop = Shop::new(world).await?;
    let host = shop.start(world)?;
    let fails = json!({"statements": [{"sql": "insert into sale values ('lost', 1)"}], "fails": true});
    let reads = json!({
        "statements": [
            {"sql": "select id, cents, cents::text, null::text, true, 1.5::float8, 'x'::bytea from sale where cents >= $1",
             "params": [2]},
            {"sql": "update sale set cents = cents + $1 where id = $2", "params": [1, "two"]},
            {"sql": "insert into sale select 'three', coalesce($1, 3)", "params": [null]},
        ],
        "topic": shop.output,
    });
    world
        .kafka
        .send_all(&[
            shop.sale("one", 1),
            shop.sale("two", 2),
            shop.says("fails", &fails),
            shop.says("reads", &reads),
        ])
        .await?;

    becomes("all have ended", 4, SOON, async || world.db.one::<i64>(ENDED).await).await?;
    assert_eq!(world.db.one::<String>(SALES).await?, "one three two");
    assert_eq!(world.db.one::<i64>("select cents from sale where id = 'two'").await?, 3);
    assert_eq!(world.db.one::<i64>(COUNTED).await?, 2, "state committed with them");
    becomes("what they emitted is on Kafka", 3, SOON, async || {
        Ok(world.kafka.read_all(&shop.output).await?.len())
    })
    .await?;
    let last = world.kafka.read_all(&shop.output).await?.pop();
    let last = last.map(|record| record.json()).transpose()?;
    let answers = last.and_then(|json| json.get("answers").cloned());
    assert_eq!(answers, Some(json!([[["two", 2, "2", null, true, 1.5, [120]]], [], []])));
    assert_eq!(letters(world).await?, [("fails".into(), "told to fail".into(), None)]);
    host.stop().await?;
    Ok(())
}

#[test]
fn what_a_handler_writes_by_sql_commits_with_its_message_and_goes_with_it() {
    in_world(Setup::default(), sales_by_sql);
}

#[test]
fn a_constraint_that_is_checked_at_the_commit_fails_its_own_message_alone() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        let twice = json!({"statements": [{"sql": "insert into late values ('a'), ('a')"}]});
        world.kafka.send_all(&[shop.says("twice", &twice), shop.sale("next", 1)]).await?;

        becomes("both have ended", 2, SOON, async || world.db.one::<i64>(ENDED).await).await?;
        let letters = letters(world).await?;
        assert!(letters.len() == 1 && letters[0].1.contains("once"), "{letters:?}");
        assert_eq!(world.db.one::<String>(SALES).await?, "next");
        let attempts = "select attempts_made from mailroom.inbox where message_id = 'twice'";
        assert_eq!(world.db.one::<i32>(attempts).await?, 3, "each commit that failed was an attempt");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_role_that_could_do_more_than_its_handler_may_is_refused_by_name() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let url = world.db.url();
        let host = world.start_host_with("a", &[("MAILROOM__SQL__SHOP__URL", &url)])?;
        world.kafka.send(&shop.sale("one", 1)).await?;

        eventually("the host says what is wrong", SOON, async || {
            Ok(host.log()?.contains("the SQL role shop:") && host.log()?.contains("nosuperuser"))
        })
        .await?;
        let untouched = "select count(*) from mailroom.inbox where status = 'pending' and attempts_made = 0";
        assert_eq!(world.db.one::<i64>(untouched).await?, 1, "the message waits, uncounted");
        assert!(!host.log()?.contains("after_connect"), "the pool does not try again and again by itself");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn what_a_handler_read_of_its_state_beside_its_sql_holds_or_its_rows_go_with_its_message() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        world.kafka.send(&shop.says("first", &json!({"counts": true}))).await?;
        becomes("there is a count", 1, SOON, async || world.db.completed().await).await?;

        let held = world.db.hold("lock table mailroom.outbox in share mode").await?;
        let insert = json!([{"sql": "insert into entry (id) values ('peeks')"}]);
        let peeks = json!({"statements": insert, "topic": shop.output, "peeks": true});
        world.kafka.send(&shop.says("peeks", &peeks)).await?;
        let waits = async || world.db.waits_for_lock("settle_with_sql").await;
        eventually("its settlement waits", SOON, waits).await?;
        let replaced = "update mailroom.state set value = '100', version = version + 1";
        world.db.execute(replaced).await?;
        held.release().await?;

        becomes("both are done", 2, SOON, async || world.db.completed().await).await?;
        let said = "select convert_from(payload, 'UTF8')::jsonb->>'peeked' from mailroom.outbox";
        assert_eq!(world.db.column::<String>(said).await?, ["100"], "it saw what was there in the end");
        assert_eq!(world.db.one::<i64>("select count(*) from entry").await?, 1);
        let cost = "select count(*) from mailroom.inbox where attempts_made > 0";
        assert_eq!(world.db.one::<i64>(cost).await?, 0, "a lost race costs nothing");
        host.stop().await?;
        Ok(())
    });
}

/// Query for what a message leaves, but for what is each row's own.
const LEFT: &str = "select to_jsonb(i) - array['seq', 'id', 'message_id', 'offset', 'key', 'okey', 'payload', 'headers', 'created_at',
               'updated_at', 'completed_at', 'scheduled_at', 'produced_at_ms']
            || jsonb_build_object('emitted', to_jsonb(o) - array['seq', 'id', 'lane', 'key', 'created_at', 'updated_at',
               'completed_at', 'scheduled_at', 'published_partition', 'published_offset', 'causation_id', 'correlation_id',
               'status', 'idempotency_key', 'deliveries', 'payload'])
            || jsonb_build_object('by the message', o.causation_id = i.message_id and o.correlation_id = i.message_id,
                                  'key of its group', o.idempotency_key = i.consumer_group || chr(31) || 'once ' || i.message_id)
          from mailroom.inbox i join mailroom.outbox o on o.causation_id = i.message_id order by i.seq";

#[test]
fn a_message_leaves_the_same_whether_its_call_used_sql_or_not() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        // An application's own key of that name is another one.
        let published =
            r#"select mailroom.publish('none', 'k', 't', '{"a": 1}', idempotency_key => 'once with')"#;
        world.db.execute(published).await?;
        let says = |id: &str, statements: Value| {
            let once = format!("once {id}");
            shop.says(
                id,
                &json!({"statements": statements, "topic": shop.output, "once": once, "counts": true}),
            )
        };
        let with = says("with", json!([{"sql": "insert into entry (id) values ('with')"}]));
        world.kafka.send_all(&[says("without", json!([])), with]).await?;

        becomes("both are done", 2, SOON, async || world.db.completed().await).await?;
        let left: Vec<Value> = world.db.column(LEFT).await?;
        assert_eq!(left.len(), 2, "each has emitted one message");
        assert_eq!(left[0], left[1]);
        assert_eq!(left[0]["key of its group"], json!(true), "{}", left[0]);
        assert_eq!(world.db.one::<i64>(COUNTED).await?, 2);
        host.stop().await?;
        Ok(())
    });
}
