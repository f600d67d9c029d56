//! Passwords that are rotated while hosts run, and servers of which one takes over from another.

use std::fs;

use anyhow::{Context as _, Result};
use mailroom_tests::{SOON, Setup, World, becomes, eventually, in_world};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::arrange::{Scripted, sql_role};

/// A role that may do all, with a file that holds its URL.
struct Rotated {
    role: String,
    file: std::path::PathBuf,
}

impl Rotated {
    async fn new(world: &World) -> Result<Self> {
        let role = format!("rotated_{}", world.group("x").replace('.', "_"));
        let create = format!("create role {role} login superuser password 'first'");
        world.db.execute(AssertSqlSafe(create)).await?;
        let rotated = Self { role, file: world.folder().join("url") };
        rotated.write(world, "first")?;
        Ok(rotated)
    }

    fn write(&self, world: &World, password: &str) -> Result<()> {
        Ok(fs::write(&self.file, format!("{}\n", world.db.url_as(&self.role, password)))?)
    }

    fn file(&self) -> Result<&str> {
        self.file.to_str().context("the path is text")
    }

    /// Gives the role another password, and ends its sessions.
    async fn rotate(&self, world: &World, password: &str) -> Result<()> {
        let alter = format!("alter role {} password '{password}'", self.role);
        world.db.execute(AssertSqlSafe(alter)).await?;
        self.end_sessions(world).await
    }

    async fn end_sessions(&self, world: &World) -> Result<()> {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1";
        sqlx::query(end).bind(&self.role).execute(world.db.pool()).await?;
        Ok(())
    }

    async fn sessions(&self, world: &World) -> Result<i64> {
        let query = "select count(*) from pg_stat_activity where usename = $1 and query ilike '%listen%'";
        Ok(sqlx::query_scalar(query).bind(&self.role).fetch_one(world.db.pool()).await?)
    }

    async fn remove(&self, world: &World) -> Result<()> {
        world.db.execute(AssertSqlSafe(format!("drop role {}", self.role))).await.map(|_| ())
    }
}

#[test]
fn a_rotated_password_is_read_again_by_every_pool_and_the_listener_without_a_restart() {
    in_world(Setup::default(), async |world| {
        let rotated = Rotated::new(world).await?;
        let scripted = Scripted::drop_into(world, 1).await?;
        // In place of the URL, which only a file without one leaves out.
        let config = fs::read_to_string(world.settings_file()?)?;
        let url = format!("url = \"{}\"", world.db.url());
        let config = config.replace(&url, &format!("url-file = {:?}", rotated.file()?));
        let host = world.start_host_at(&config, "a")?;
        world.kafka.send(&scripted.emits("k", 1)).await?;
        becomes("a first message is through", 1, SOON, async || world.db.completed().await).await?;

        // Refused first, since the file comes later than the password: both orders happen.
        rotated.rotate(world, "second").await?;
        host.wait_log("password authentication failed").await?;
        rotated.write(world, "second")?;
        world.kafka.send(&scripted.emits("k", 2)).await?;

        becomes("the second is through", 2, SOON, async || world.db.completed().await).await?;
        let listens = async || Ok(rotated.sessions(world).await? == 1);
        eventually("the host listens again", SOON, listens).await?;
        host.wait_log("postgres.url-file says something new").await?;
        host.stop().await?;
        rotated.remove(world).await
    });
}

#[test]
fn a_rotated_password_of_a_handlers_role_is_read_again() {
    in_world(Setup::default(), async |world| {
        let (role, url) = sql_role(world, "shop").await?;
        let file = world.folder().join("shop-url");
        fs::write(&file, &url)?;
        let input = world.kafka.topic("in", 1).await?;
        let manifest = mailroom_tests::Manifest::takes(&[&input]).sql("shop");
        world.drop_handler("sql-runner", "sql-runner", &manifest)?;
        let says = |id: &str| {
            let script = json!({"statements": [{"sql": "select 1"}]});
            mailroom_tests::Message::to(&input).key("k").id(id).json(&script)
        };
        let path = file.to_str().context("the path is text")?;
        let host = world.start_host_with("a", &[("MAILROOM__SQL__SHOP__URL_FILE", path)])?;
        world.kafka.send(&says("one")).await?;
        becomes("a first message is through", 1, SOON, async || world.db.completed().await).await?;

        world.db.execute(AssertSqlSafe(format!("alter role {role} password 'other'"))).await?;
        fs::write(&file, world.db.url_as(&role, "other"))?;
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1";
        sqlx::query(end).bind(&role).execute(world.db.pool()).await?;
        world.kafka.send(&says("two")).await?;

        becomes("the second is through", 2, SOON, async || world.db.completed().await).await?;
        let made = "select max(attempts_made)::bigint from mailroom.inbox";
        assert_eq!(world.db.one::<i64>(made).await?, 0, "no attempt was spent on it");
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn the_first_of_several_servers_that_takes_writes_is_used() {
    in_world(Setup::default(), async |world| {
        let scripted = Scripted::drop_into(world, 1).await?;
        // Nobody listens at the first.
        let several =
            world.db.url().replacen(&world.db.address(), &format!("127.0.0.1:1,{}", world.db.address()), 1);
        let url = format!("{several}?target_session_attrs=read-write");
        let host = world.start_host_with("a", &[("MAILROOM__POSTGRES__URL", &url)])?;

        world.kafka.send(&scripted.emits("k", 1)).await?;

        becomes("a message is through", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_handlers_sql_goes_on_to_the_server_that_takes_it() {
    in_world(Setup::default(), async |world| {
        let (_, url) = sql_role(world, "shop").await?;
        let input = world.kafka.topic("in", 1).await?;
        let manifest = mailroom_tests::Manifest::takes(&[&input]).sql("shop");
        world.drop_handler("sql-runner", "sql-runner", &manifest)?;
        // Nobody listens at the first.
        let several = url.replacen(&world.db.address(), &format!("127.0.0.1:1,{}", world.db.address()), 1);
        let host = world.start_host_with("a", &[("MAILROOM__SQL__SHOP__URL", &several)])?;

        let script = json!({"statements": [{"sql": "select 1"}]});
        world.kafka.send(&mailroom_tests::Message::to(&input).key("k").id("one").json(&script)).await?;

        becomes("it is through", 1, SOON, async || world.db.completed().await).await?;
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn a_url_that_asks_for_what_mailroom_cannot_do_is_refused_by_name() {
    in_world(Setup::default(), async |world| {
        let config = fs::read_to_string(world.settings_file()?)?;
        for (param, named) in [
            ("channel_binding=require", "channel_binding"),
            ("target_session_attrs=standby", "target_session_attrs"),
            ("ssl_mod=require", "ssl_mod"),
        ] {
            let url = world.db.url();
            let path = world.folder().join("refused.toml");
            fs::write(&path, config.replace(&url, &format!("{url}?{param}")))?;
            world.mailroom_at(&path, &["config", "check"]).await?.refused(2, &["postgres.url", named])?;
        }
        Ok(())
    });
}

/// Host that logs in to its own Kafka by what two files say.
struct LoggedIn<'w> {
    world: &'w World,
    scripted: Scripted,
    env: Vec<(&'static str, String)>,
    sent: i64,
}

impl<'w> LoggedIn<'w> {
    async fn new(world: &'w World) -> Result<Self> {
        let scripted = Scripted::drop_into(world, 1).await?;
        let file = |name: &str| world.folder().join(name).display().to_string();
        let env = vec![
            ("MAILROOM__KAFKA__BROKERS", world.login_brokers()?),
            ("MAILROOM__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_PLAINTEXT".to_owned()),
            ("MAILROOM__KAFKA__PROPERTIES__SASL_MECHANISM", "SCRAM-SHA-256".to_owned()),
            ("MAILROOM__KAFKA__SASL_USERNAME_FILE", file("name")),
            ("MAILROOM__KAFKA__SASL_PASSWORD_FILE", file("password")),
        ];
        Ok(Self { world, scripted, env, sent: 0 })
    }

    fn env(&self) -> Vec<(&str, &str)> {
        self.env.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn write(&self, name: &str, password: &str) -> Result<()> {
        fs::write(self.world.folder().join("name"), format!("{name}\n"))?;
        Ok(fs::write(self.world.folder().join("password"), format!("{password}\n"))?)
    }

    async fn set_password(&self, name: &'static str, password: &'static str) -> Result<()> {
        self.world.with_kafka(move |kafka| kafka.set_password(name, password)).await
    }

    /// Sends one more message, and waits until what came of it is published.
    async fn passes(&mut self) -> Result<()> {
        self.sent += 1;
        self.world.kafka.send(&self.scripted.emits("k", self.sent)).await?;
        let published = "select count(*) from mailroom.outbox where status = 'completed'";
        becomes("it is handled and published", self.sent, SOON, async || self.world.db.one(published).await)
            .await
    }
}

#[test]
fn a_login_of_kafka_that_is_rotated_is_read_again_by_all_clients_without_a_restart() {
    in_world(Setup { own_kafka: true, ..Setup::default() }, async |world| {
        let mut shop = LoggedIn::new(world).await?;
        shop.write("shop-1", "first")?;
        shop.set_password("shop-1", "first").await?;
        let host = world.start_host_with("a", &shop.env())?;
        shop.passes().await?;

        // Whoever is there has to log in again every six seconds.
        shop.set_password("shop-1", "second").await?;
        host.wait_log("check security.protocol, sasl.mechanism, sasl.username and sasl.password").await?;
        shop.write("shop-1", "second")?;
        host.wait_log("kafka.sasl-password-file says something new").await?;
        shop.passes().await?;

        shop.set_password("shop-2", "third").await?;
        shop.write("shop-2", "third")?;
        shop.set_password("shop-1", "gone").await?;
        host.wait_log("kafka.sasl-username-file says something new").await?;
        shop.passes().await?;
        // A topic that comes later is found by whoever looks at topics.
        let late = world.kafka.topic("late", 1).await?;
        world.drop_handler("late", "noop", &mailroom_tests::Manifest::takes(&[&late]))?;
        world.kafka.send(&mailroom_tests::Message::to(&late).key("k").json(&json!({}))).await?;
        becomes("all are through", shop.sent + 1, SOON, async || world.db.completed().await).await?;
        let log = host.log()?;
        for secret in ["second", "third"] {
            anyhow::ensure!(
                !log.contains(&format!("\"{secret}\"")) && !log.contains(&format!(" {secret} ")),
                "{log}"
            );
        }
        host.stop().await?;
        Ok(())
    });
}

#[test]
fn files_of_a_login_are_refused_by_name_where_they_cannot_be_used() {
    in_world(Setup { unmigrated: true, ..Setup::default() }, async |world| {
        let file = |name: &str| world.folder().join(name).display().to_string();
        fs::write(file("empty"), "\n")?;
        fs::write(file("password"), "hidden-password\n")?;
        const FILE: &str = "MAILROOM__KAFKA__SASL_PASSWORD_FILE";
        let other = ("MAILROOM__KAFKA__PROPERTIES__SASL_PASSWORD", "other-password");
        for (path, also, problem) in [
            (file("nowhere"), None, "cannot read the file"),
            (file("empty"), None, "the file is empty"),
            (file("password"), Some(other), "must not be given together with kafka.properties.sasl.password"),
        ] {
            let mut env = vec![(FILE, path.as_str())];
            env.extend(also);
            let ran = world.mailroom_with(&["config", "check"], &env).await?;
            anyhow::ensure!(!format!("{ran:?}").contains("-password\""), "{ran:?}");
            ran.refused(2, &["kafka.sasl-password-file", problem])?;
        }
        let path = file("password");
        let shown = world.mailroom_with(&["config", "show"], &[(FILE, path.as_str())]).await?;
        let shown = shown.ok()?;
        anyhow::ensure!(shown.contains(&path) && !shown.contains("hidden-password"), "{shown}");
        Ok(())
    });
}
