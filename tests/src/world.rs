//! The world of one test: a database, topics, a handlers folder and a configuration of its own.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::{fs, io};

use anyhow::{Context as _, Result, ensure};
use mailroom_servers::{Kafka as KafkaServer, Postgres as PostgresServer};

use crate::db::Db;
use crate::guests::guest;
use crate::host::{Start, tail};
use crate::servers::{self, Releases, Running};
use crate::settings::Settings;
use crate::{Host, Kafka, Manifest, PoolMode, Pooler, Proxy, Ran, paths};

/// Needs of a test beyond the ordinary.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// A Postgres that the test may stop.
    pub own_postgres: bool,
    /// A Kafka that the test may stop.
    pub own_kafka: bool,
    /// Leave the database empty.
    pub unmigrated: bool,
    /// `MAILROOM__SECTION__KEY` and its value, over the file.
    pub env: &'static [(&'static str, &'static str)],
}

/// Everything that belongs to one test.
#[derive(Debug)]
pub struct World {
    /// The database of this world.
    pub db: Db,
    /// Kafka of the world, with the topics that the test makes.
    pub kafka: Kafka,
    /// Proxy before its own Kafka, in a world that was made so.
    pub kafka_proxy: Option<Proxy>,
    /// Pooler before the database, in a world that was made so.
    pub pooler: Option<Pooler>,
    name: String,
    folder: PathBuf,
    binary: PathBuf,
    env: &'static [(&'static str, &'static str)],
    postgres_server: Running<PostgresServer>,
    kafka_server: Running<KafkaServer>,
}

impl World {
    /// Starts what is shared and creates what is not.
    ///
    /// # Errors
    /// Where a server cannot be had, or the binary or a guest is missing.
    pub async fn new(setup: &Setup) -> Result<Self> {
        Self::behind(setup, Releases::default(), None, None).await
    }

    /// The same on other releases of Postgres and Kafka.
    ///
    /// # Errors
    /// As [`World::new`].
    pub async fn on(setup: &Setup, releases: Releases) -> Result<Self> {
        Self::behind(setup, releases, None, None).await
    }

    /// The same with a PgBouncer before the database, through which all hosts and commands go.
    ///
    /// # Errors
    /// As [`World::new`], and where PgBouncer is not installed.
    pub async fn with_pooler(setup: &Setup, mode: PoolMode) -> Result<Self> {
        Self::behind(setup, Releases::default(), None, Some(mode)).await
    }

    /// The same with a Kafka of its own whose clients all come through [`World::kafka_proxy`].
    ///
    /// # Errors
    /// As [`World::new`].
    pub async fn with_kafka_proxy(setup: &Setup) -> Result<Self> {
        Self::behind(setup, Releases::default(), Some(Proxy::of_kafka().await?), None).await
    }

    async fn behind(
        setup: &Setup,
        releases: Releases,
        kafka_proxy: Option<Proxy>,
        pooled: Option<PoolMode>,
    ) -> Result<Self> {
        let name = format!("t{:010x}", fastrand::u64(..1 << 40));
        let folder = paths::target()?.join("worlds").join(&name);
        fs::create_dir_all(folder.join("handlers"))?;
        let (own_postgres, own_kafka) = (setup.own_postgres, setup.own_kafka || kafka_proxy.is_some());
        let proxy_port = kafka_proxy.as_ref().map(Proxy::port);
        let for_servers = name.clone();
        let (postgres_server, kafka_server) = tokio::task::spawn_blocking(move || -> Result<_> {
            let postgres = match own_postgres {
                true => servers::own_postgres(&for_servers, releases),
                false => servers::shared_postgres(releases),
            }?;
            let kafka = match own_kafka {
                true => servers::own_kafka(&for_servers, releases, proxy_port),
                false => servers::shared_kafka(releases),
            }?;
            Ok((postgres, kafka))
        })
        .await??;
        let url = postgres_server.lock().unwrap_or_else(PoisonError::into_inner).url().to_owned();
        let brokers = kafka_server.lock().unwrap_or_else(PoisonError::into_inner).brokers().to_owned();
        if let Some(proxy) = &kafka_proxy {
            proxy.stand_before(&brokers)?;
        }
        let db = Db::create(&url, &name).await?;
        let kafka = Kafka::connect(&brokers, &name)?;
        let binary = paths::binary()?;
        let env = setup.env;
        let pooler = match pooled {
            Some(mode) => Some(Pooler::start(mode, &db.url(), &servers::folder_of(&name)?).await?),
            None => None,
        };
        let world =
            Self { db, kafka, kafka_proxy, pooler, name, folder, binary, env, postgres_server, kafka_server };
        if !setup.unmigrated {
            world.mailroom(&["migrate"]).await?.ok().context("could not migrate the test's database")?;
        }
        Ok(world)
    }

    /// The consumer group of a handler whose manifest names none.
    #[must_use]
    pub fn group(&self, handler: &str) -> String {
        format!("{}.{handler}", self.name)
    }

    /// The folder of this world, for files of the test's own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts a built guest into the drop folder under the name `handler`, the manifest first.
    ///
    /// # Errors
    /// Where the guest was not built.
    pub fn drop_handler(&self, handler: &str, guest_name: &str, manifest: &Manifest) -> Result<()> {
        fs::write(self.handlers().join(format!("{handler}.toml")), manifest.to_toml())?;
        self.drop_component(handler, &fs::read(guest(guest_name)?)?)
    }

    /// Puts any bytes where a handler's component is, at one stroke.
    ///
    /// # Errors
    /// The file system's own.
    pub fn drop_component(&self, handler: &str, bytes: &[u8]) -> Result<()> {
        let apart = self.folder.join(format!("{handler}.part"));
        fs::write(&apart, bytes)?;
        Ok(fs::rename(apart, self.handlers().join(format!("{handler}.wasm")))?)
    }

    /// Starts a host with the name `worker`; it is not ready yet.
    ///
    /// # Errors
    /// Where the binary cannot be started.
    pub fn start_host(&self, worker: &str) -> Result<Host> {
        self.start(worker)?.host()
    }

    /// The same with another program than `mailroom`, which is started in the same way.
    ///
    /// # Errors
    /// As [`World::start_host`].
    pub fn start_host_of(&self, program: &Path, worker: &str) -> Result<Host> {
        Start { binary: program.to_owned(), ..self.start(worker)? }.host()
    }

    /// The same, with settings of its own: `MAILROOM__SECTION__KEY` and its value.
    ///
    /// # Errors
    /// As [`World::start_host`].
    pub fn start_host_with(&self, worker: &str, env: &[(&str, &str)]) -> Result<Host> {
        let mut start = self.start(worker)?;
        start.env.extend(env.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        start.host()
    }

    /// The same, with the text of a configuration of the test's own.
    ///
    /// # Errors
    /// As [`World::start_host`].
    pub fn start_host_at(&self, config: &str, worker: &str) -> Result<Host> {
        let start = self.start(worker)?;
        fs::write(&start.config, config)?;
        start.host()
    }

    /// The same, with Postgres behind `proxy`.
    ///
    /// # Errors
    /// As [`World::start_host`].
    pub fn start_host_behind(&self, worker: &str, proxy: &Proxy) -> Result<Host> {
        let mut start = self.start(worker)?;
        let url = self.db.url().replacen(&self.db.address(), &proxy.address(), 1);
        start.env.push(("MAILROOM__POSTGRES__URL".to_owned(), url));
        start.host()
    }

    /// Runs `mailroom` with these arguments to its end.
    ///
    /// # Errors
    /// Where it cannot be started or hangs.
    pub async fn mailroom(&self, args: &[&str]) -> Result<Ran> {
        let start = self.start("cli")?;
        self.mailroom_at(&start.config, args).await
    }

    /// The same, with settings of its own: `MAILROOM__SECTION__KEY` and its value.
    ///
    /// # Errors
    /// As [`World::mailroom`].
    pub async fn mailroom_with(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Ran> {
        let mut start = self.start("cli")?;
        start.env.extend(env.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        start.ran(args).await
    }

    /// The same with a configuration file of the test's own.
    ///
    /// # Errors
    /// As [`World::mailroom`].
    pub async fn mailroom_at(&self, config: &Path, args: &[&str]) -> Result<Ran> {
        let start = Start { config: config.to_owned(), ..self.start("cli")? };
        start.ran(args).await
    }

    /// Writes the configuration file that commands of this world use, and gives its path.
    ///
    /// # Errors
    /// The file system's own.
    pub fn settings_file(&self) -> Result<PathBuf> {
        Ok(self.start("cli")?.config)
    }

    /// Does something to this world's own Postgres, off the test's thread.
    ///
    /// # Errors
    /// Where it is the shared one, and what `act` gives.
    pub async fn with_postgres(
        &self,
        act: fn(&mut PostgresServer) -> Result<(), mailroom_servers::Error>,
    ) -> Result<()> {
        on_own(&self.postgres_server, "Postgres", act).await
    }

    /// The address at which this world's own Kafka takes whoever logs in.
    ///
    /// # Errors
    /// Where it is the shared one.
    pub fn login_brokers(&self) -> Result<String> {
        let kafka = self.kafka_server.lock().unwrap_or_else(PoisonError::into_inner);
        kafka.login_brokers().context("the shared Kafka has no listener for logins")
    }

    /// Does something to this world's own Kafka, off the test's thread.
    ///
    /// # Errors
    /// Where it is the shared one, and what `act` gives.
    pub async fn with_kafka(
        &self,
        act: impl FnOnce(&mut KafkaServer) -> Result<(), mailroom_servers::Error> + Send + 'static,
    ) -> Result<()> {
        on_own(&self.kafka_server, "Kafka", act).await
    }

    /// Changes what this world's own Kafka has in a partition's log, while it is stopped.
    ///
    /// # Errors
    /// Where it is the shared one, and what the file system says.
    pub async fn edit_log(
        &self,
        topic: &str,
        partition: i32,
        edit: fn(&mut [u8]) -> Option<()>,
    ) -> Result<()> {
        let topic = topic.to_owned();
        self.with_kafka(move |kafka| {
            kafka.stop()?;
            let file = kafka.log_file(&topic, partition);
            let edited = fs::read(&file).and_then(|mut log| {
                edit(&mut log).ok_or(io::ErrorKind::UnexpectedEof)?;
                fs::write(&file, log)
            });
            edited.map_err(|source| mailroom_servers::Error::Io { doing: "edit", path: file, source })?;
            kafka.restart()
        })
        .await
    }

    /// Removes the database, the topics and the folder. Hosts must have ended.
    ///
    /// # Errors
    /// What Postgres and the file system say.
    pub async fn remove(self) -> Result<()> {
        self.db.remove().await?;
        self.kafka.remove_topics().await?;
        fs::remove_dir_all(&self.folder)?;
        let name = self.name.clone();
        // Its own servers stop here.
        drop(self);
        servers::remove_own(&name)
    }

    fn handlers(&self) -> PathBuf {
        self.folder.join("handlers")
    }

    fn start(&self, worker: &str) -> Result<Start> {
        let config = self.folder.join(format!("{worker}.toml"));
        let settings = Settings {
            namespace: &self.name,
            worker,
            handlers: &self.handlers(),
            compiled: &self.folder.join("compiled"),
            postgres_url: &self.pooler.as_ref().map_or_else(|| self.db.url(), Pooler::url),
            brokers: self.kafka.brokers(),
        };
        fs::write(&config, settings.to_toml())?;
        let mut env: Vec<_> =
            self.env.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        if self.pooler.as_ref().is_some_and(|pooler| pooler.mode() == PoolMode::Transaction) {
            env.push(("MAILROOM__POSTGRES__POOL_MODE".to_owned(), "transaction".to_owned()));
            env.push(("MAILROOM__POSTGRES__DIRECT_URL".to_owned(), self.db.url()));
        }
        let log = self.folder.join(format!("{worker}.log"));
        Ok(Start { binary: self.binary.clone(), config, env, log })
    }

    /// The ends of all logs, for whoever reads why a test failed.
    fn report(&self) -> String {
        let mut report = format!("world {}, database {}\n", self.folder.display(), self.db.url());
        for file in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                report.push_str(&format!("{}:\n{}", path.display(), tail(&path, 60)));
            }
        }
        report
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.folder.exists() {
            eprintln!("{}", self.report());
        }
    }
}

async fn on_own<S: Send + 'static>(
    server: &Running<S>,
    what: &str,
    act: impl FnOnce(&mut S) -> Result<(), mailroom_servers::Error> + Send + 'static,
) -> Result<()> {
    // The process keeps one more of what it shares.
    ensure!(std::sync::Arc::strong_count(server) == 1, "the {what} of this world is shared with other tests");
    let server = std::sync::Arc::clone(server);
    let acted =
        tokio::task::spawn_blocking(move || act(&mut server.lock().unwrap_or_else(PoisonError::into_inner)));
    Ok(acted.await??)
}
