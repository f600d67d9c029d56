//! Handlers with SQL: what they write commits with their message or not at all, and their role is all they have.

mod corpus;
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

    /// With the proxy between the handler's SQL and Postgres; the host itself reaches it directly.
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

#[test]
fn what_a_handler_writes_by_sql_commits_with_its_message_and_goes_with_it() {
    in_world(Setup::default(), async |world| {
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
        let answers = last.map(|record| record.json()).transpose()?.map(|json| json["answers"].clone());
        assert_eq!(answers, Some(json!([[["two", 2, "2", null, true, 1.5, [120]]], [], []])));
        assert_eq!(letters(world).await?, [("fails".into(), "told to fail".into(), None)]);
        host.stop().await?;
        Ok(())
    });
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
        host.stop().await?;
        Ok(())
    });
}
