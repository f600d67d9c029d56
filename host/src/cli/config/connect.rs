//! `config check --connect`: tries the servers, roles, topics and consumer groups that a host would use.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::config::{Config, Postgres};
use crate::db::doctor::{self, Fault};
use crate::db::migrate as schema;
use crate::db::reach;
use crate::handler::{self, Report};
use crate::kafka::{TopicState, Topics, may_join};

/// All that a host would be refused.
pub(super) async fn problems(config: &Config) -> Vec<String> {
    let (mut problems, handlers) = match handlers(config).await {
        Ok(Loadable { handlers, refused }) => (refused.into_iter().map(|(_, why)| why).collect(), handlers),
        Err(why) => (vec![why], Vec::new()),
    };
    problems.extend(postgres(config).await);
    problems.extend(roles(config).await);
    problems.extend(kafka(config, &handlers).await);
    problems
}

/// The folder of handlers, as a host would load it.
#[derive(Debug, Default)]
pub(in crate::cli) struct Loadable {
    pub(in crate::cli) handlers: Vec<Report>,
    /// Files that would not load, and why.
    pub(in crate::cli) refused: Vec<(PathBuf, String)>,
}

/// Topics that handlers read, and that they and the host publish to.
#[derive(Debug, Default)]
pub(in crate::cli) struct UsedTopics {
    pub(in crate::cli) read: BTreeSet<String>,
    pub(in crate::cli) published: BTreeSet<String>,
}

impl UsedTopics {
    /// Gives the topics of these handlers and of the configuration.
    pub(in crate::cli) fn of(config: &Config, handlers: &[Report]) -> Self {
        let read = handlers.iter().flat_map(read_by).collect();
        let granted = handlers.iter().flat_map(|report| report.grants_publish.iter().cloned());
        let published = granted.chain(config.dead_letters.topic.as_deref().map(str::to_owned)).collect();
        Self { read, published }
    }

    pub(in crate::cli) fn all(&self) -> BTreeSet<String> {
        self.read.union(&self.published).cloned().collect()
    }
}

fn read_by(report: &Report) -> BTreeSet<String> {
    report.subscriptions.iter().flat_map(|subscription| subscription.topics.iter().cloned()).collect()
}

/// The components and scripts of the folder, as a host would load them, and why it would not.
///
/// # Errors
/// Says why the folder cannot be read.
pub(in crate::cli) async fn handlers(config: &Config) -> Result<Loadable, String> {
    let folder = &config.host.handlers;
    let unreadable =
        |error| format!("host.handlers: {}: {error}; a host waits until it is there", folder.display());
    let files = files(folder).map_err(unreadable)?;
    let mut loadable = Loadable::default();
    for file in files {
        let manifest = Some(file.with_extension("toml")).filter(|beside| beside.exists());
        match Box::pin(handler::check(&file, manifest.as_deref(), config)).await {
            Ok(report) => loadable.handlers.push(report),
            Err(why) => {
                let why = format!("{}: {why}", file.display());
                loadable.refused.push((file, why));
            }
        }
    }
    Ok(loadable)
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if handler::is_handler(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The database, its encoding, its schema, and what the host's role may do there.
async fn postgres(config: &Config) -> Vec<String> {
    let db = match reach::reach(&config.postgres).await {
        Ok(db) => db,
        Err(error) => return vec![error.to_string()],
    };
    let lacking = match schema::check_for_host(&db).await {
        Ok(()) => doctor::lacking(&db).await.map_err(|error| error.with_remedy()),
        Err(error) => Err(error.to_string()),
    };
    db.close().await;
    lacking.map_or_else(|error| vec![error], |faults| faults.into_iter().map(in_words).collect())
}

async fn roles(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, role) in &config.sql {
        let as_role = Postgres { url: role.url.clone(), ..config.postgres.clone() };
        let found = match reach::reach(&as_role).await {
            Ok(db) => {
                let faults = doctor::sql_role(&db).await;
                db.close().await;
                faults.map_or_else(
                    |error| vec![error.with_remedy()],
                    |faults| faults.into_iter().map(in_words).collect(),
                )
            }
            Err(error) => vec![error.to_string()],
        };
        problems.extend(found.into_iter().map(|problem| format!("sql.{name}: {problem}")));
    }
    problems
}

/// A fault with what mends it, unless its own words say so.
fn in_words(fault: Fault) -> String {
    let Fault { what, remedy, .. } = fault;
    if what.contains(&remedy) { what } else { format!("{what}: {remedy}") }
}

async fn kafka(config: &Config, handlers: &[Report]) -> Vec<String> {
    let states = match topics(config, UsedTopics::of(config, handlers).all()).await {
        Ok(states) => states,
        Err(why) => return vec![why],
    };
    let mut problems: Vec<String> = states.iter().filter_map(|(topic, state)| sick(topic, state)).collect();
    problems.sort();
    problems.extend(groups(config, handlers).await.into_iter().map(|(_, why)| why));
    problems
}

/// Kafka's answer about these topics, and whether it answers where there are none.
///
/// # Errors
/// Says why it does not answer.
pub(in crate::cli) async fn topics(
    config: &Config,
    topics: BTreeSet<String>,
) -> Result<HashMap<String, TopicState>, String> {
    let described = match Topics::new(&config.kafka) {
        // Asked for even where there is nothing to ask for: whether Kafka answers is the question.
        Ok(client) => client.answers().await.map(|()| client),
        Err(error) => Err(error),
    };
    let states = match described {
        Ok(client) => client.describe(topics.into_iter().collect()).await,
        Err(error) => Err(error),
    };
    states.map_err(|error| format!("Kafka at {}: {error}", config.kafka.brokers))
}

/// Consumer groups in which handlers may not be, and why.
pub(in crate::cli) async fn groups(config: &Config, handlers: &[Report]) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for report in handlers {
        if let Err(error) = may_join(&config.kafka, &report.group, &read_by(report)).await {
            let why = format!("consumer group {} of handler {}: {error}", report.group, report.name);
            problems.push((report.group.clone(), why));
        }
    }
    problems
}

/// Says why nothing comes of a topic, where that is so.
pub(in crate::cli) fn sick(topic: &str, state: &TopicState) -> Option<String> {
    match state {
        TopicState::Known { leaderless, .. } if leaderless.is_empty() => None,
        TopicState::Known { leaderless, .. } => Some(format!(
            "partitions {leaderless:?} of topic {topic} have no leader: a broker that has them is away"
        )),
        TopicState::Missing => Some(format!("topic {topic} does not exist")),
        TopicState::Refused(code) => {
            Some(format!("topic {topic} is refused: {code}; grant this host's user what it needs of it"))
        }
    }
}
