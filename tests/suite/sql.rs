//! Handlers with SQL: what they write commits with their message or not at all, and their role is all they have.

use anyhow::Result;
use mailroom_tests::{Host, Manifest, Message, SOON, Setup, World, becomes, eventually, in_world};
use serde_json::{Value, json};

/// A handler with SQL, its topics, and the table that its role may write.
struct Shop {
    input: String,
    output: String,
    url: String,
}

impl Shop {
    async fn new(world: &World) -> Result<Self> {
        let input = world.kafka.topic("in", 1).await?;
        let output = world.kafka.topic("out", 1).await?;
        let role = format!("shop_{}", world.group("x").replace('.', "_"));
        for statement in [
            format!("create role {role} login password 'shop'"),
            "create table public.sale (id text primary key, cents bigint not null check (cents > 0))"
                .to_owned(),
            "create table public.late (id text, constraint once unique (id) deferrable initially deferred)"
                .to_owned(),
            format!("grant select, insert, update, delete on public.sale, public.late to {role}"),
            format!("grant usage on schema mailroom to {role}"),
            format!("grant execute on function mailroom.settle_with_sql to {role}"),
        ] {
            world.db.execute(sqlx::AssertSqlSafe(statement)).await?;
        }
        let url = world.db.url_as(&role, "shop");
        let manifest =
            Manifest::takes(&[&input]).publishes(&[&output]).sql("shop").with("breaker.threshold = 1000");
        world.drop_handler("sql-runner", "sql-runner", &manifest)?;
        Ok(Self { input, output, url })
    }

    fn start(&self, world: &World) -> Result<Host> {
        world.start_host_with("a", &[("MAILROOM__SQL__SHOP__URL", &self.url)])
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
fn a_statement_that_fails_or_is_none_of_the_five_takes_the_call_with_it_and_nothing_else() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        world.kafka.send(&shop.sale("before", 1)).await?;
        let corpus = [
            ("commit", "42601"),
            ("rollback", "42601"),
            ("begin", "42601"),
            ("savepoint s", "42601"),
            ("set role mailroom", "42601"),
            ("set session authorization default", "42601"),
            ("reset all", "42601"),
            ("select 1; select 2", "42601"),
            ("select 1; commit", "42601"),
            ("copy sale to program 'touch /tmp/owned'", "42601"),
            ("do $$ begin end $$", "42601"),
            ("call nothing()", "42601"),
            ("create temp table t (a int)", "42601"),
            ("select 1 into public.t", "42501"),
            ("listen x", "42601"),
            ("", "42601"),
            ("-- nothing", "42601"),
            ("select set_config('role', 'mailroom', true)", "42501"),
            ("select set_config('session_authorization', 'mailroom', true)", "42501"),
            ("select * from mailroom.inbox", "42501"),
            ("delete from mailroom.lane", "42501"),
            ("select id from mailroom.host", "42501"),
            ("select pg_read_file('/etc/passwd')", "42501"),
            ("select pg_sleep(600)", "57014"),
            ("select uuid_nil from (select gen_random_uuid() as uuid_nil) s", "42846"),
            ("insert into sale values ('zero', 0)", "23514"),
            ("select mailroom.settle_with_sql(gen_random_uuid(), 1, 1, 1, 0, 'x', '[]', '[]')", "MR001"),
        ];
        let mut messages = Vec::new();
        for (place, (statement, _)) in corpus.iter().enumerate() {
            let (key, id) = (format!("k{place}"), format!("m{place:02}"));
            let first =
                json!({"sql": "insert into sale values ($1, 1)", "params": [format!("lost-{place:02}")]});
            let statements = json!([first, {"sql": statement}]);
            let message = Message::to(&shop.input).key(&key).id(&id);
            messages.push(message.json(&json!({"statements": statements, "stubborn": place % 2 == 0})));
        }
        world.kafka.send_all(&messages).await?;
        world.kafka.send(&shop.sale("behind", 1)).await?;

        let all = i64::try_from(corpus.len())? + 2;
        becomes("all have ended", all, 4 * SOON, async || world.db.one::<i64>(ENDED).await).await?;
        let letters = letters(world).await?;
        assert_eq!(letters.len(), corpus.len(), "{letters:#?}");
        for ((id, error, code), (statement, sqlstate)) in letters.iter().zip(corpus) {
            let named = error.contains(sqlstate) || code.as_deref() == Some(sqlstate);
            let late = sqlstate == "57014" && error.contains("deadline");
            assert!(named || late, "{id}: {statement:?} should give {sqlstate}: {error} {code:?}");
        }
        assert_eq!(world.db.one::<String>(SALES).await?, "before behind");
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
fn a_host_killed_before_the_commit_leaves_neither_the_business_row_nor_the_completion() {
    in_world(Setup::default(), async |world| {
        let shop = Shop::new(world).await?;
        let host = shop.start(world)?;
        world.kafka.send(&shop.sale("one", 1)).await?;
        becomes("a first message is through", 1, SOON, async || world.db.completed().await).await?;

        // It has inserted its sale, and waits for the row that the settlement writes.
        let held = world.db.hold("lock table mailroom.outbox in share mode").await?;
        world.kafka.send(&shop.sale("two", 2)).await?;
        let waits = async || world.db.waits_for_lock("settle_with_sql").await;
        eventually("the settlement is open", SOON, waits).await?;
        let killed = host.kill().await?;
        held.release().await?;
        becomes("the dead host's sessions are gone", 0, SOON, async || world.db.busy_sessions().await)
            .await?;
        assert_eq!(world.db.one::<String>(SALES).await?, "one");
        assert_eq!(world.db.completed().await?, 1);

        let host = killed.restart()?;
        becomes("it is done", 2, SOON, async || world.db.completed().await).await?;
        assert_eq!(world.db.one::<String>(SALES).await?, "one two");
        assert_eq!(world.db.one::<i64>(COUNTED).await?, 2);
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
