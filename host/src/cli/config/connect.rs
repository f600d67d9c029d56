//! `config check --connect`: tries the servers, roles, topics and consumer groups that a host would use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::config::{Config, Postgres};
use crate::db::migrate as schema;
use crate::db::reach;
use crate::handler::{self, Report};
use crate::kafka::{TopicState, Topics, may_join};

/// All that a host would be refused.
pub(super) async fn problems(config: &Config) -> Result<Vec<String>, Failure> {
    let (mut problems, handlers) = handlers(config).await?;
    problems.extend(postgres(config).await);
    problems.extend(roles(config).await);
    problems.extend(kafka(config, &handlers).await);
    Ok(problems)
}

/// The components of the folder, as a host would load them, and why it would not.
async fn handlers(config: &Config) -> Result<(Vec<String>, Vec<Report>), Failure> {
    let folder = &config.host.handlers;
    let files = match components(folder) {
        Ok(files) => files,
        Err(error) => {
            let problem =
                format!("host.handlers: {}: {error}; a host waits until it is there", folder.display());
            return Ok((vec![problem], Vec::new()));
        }
    };
    let (mut problems, mut reports) = (Vec::new(), Vec::new());
    for file in files {
        let manifest = Some(file.with_extension("toml")).filter(|beside| beside.exists());
        match Box::pin(handler::check(&file, manifest.as_deref(), config)).await {
            Ok(report) => reports.push(report),
            Err(why) => problems.push(format!("{}: {why}", file.display())),
        }
    }
    Ok((problems, reports))
}

fn components(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The database, its encoding and its schema.
async fn postgres(config: &Config) -> Option<String> {
    let db = match reach::reach(&config.postgres).await {
        Ok(db) => db,
        Err(error) => return Some(error.to_string()),
    };
    let checked = schema::check_for_host(&db).await;
    db.close().await;
    checked.err().map(|error| error.to_string())
}

async fn roles(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, role) in &config.sql {
        let as_role = Postgres { url: role.url.clone(), ..config.postgres.clone() };
        match reach::reach(&as_role).await {
            Ok(db) => db.close().await,
            Err(error) => problems.push(format!("sql.{name}: {error}")),
        }
    }
    problems
}

async fn kafka(config: &Config, handlers: &[Report]) -> Vec<String> {
    let read = |report: &Report| -> BTreeSet<String> {
        report.subscriptions.iter().flat_map(|subscription| subscription.topics.iter().cloned()).collect()
    };
    let published = handlers.iter().flat_map(|report| report.grants_publish.iter().cloned());
    let mut topics: BTreeSet<String> = handlers.iter().flat_map(read).chain(published).collect();
    topics.extend(config.dead_letters.topic.as_deref().map(str::to_owned));
    let described = match Topics::new(&config.kafka) {
        // Asked for even where there is nothing to ask for: whether Kafka answers is the question.
        Ok(client) => client.answers().await.map(|()| client),
        Err(error) => Err(error),
    };
    let states = match described {
        Ok(client) => client.describe(topics.into_iter().collect()).await,
        Err(error) => Err(error),
    };
    let states = match states {
        Ok(states) => states,
        Err(error) => return vec![format!("Kafka at {}: {error}", config.kafka.brokers)],
    };
    let mut problems: Vec<String> = states.iter().filter_map(|(topic, state)| sick(topic, state)).collect();
    problems.sort();
    for report in handlers {
        if let Err(error) = may_join(&config.kafka, &report.group, &read(report)).await {
            problems.push(format!("consumer group {} of handler {}: {error}", report.group, report.name));
        }
    }
    problems
}

fn sick(topic: &str, state: &TopicState) -> Option<String> {
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
