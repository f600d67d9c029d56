//! The services of `compose.yaml`. No engine of containers is at hand, so that what they would run is run by the tests, on
//! the tests' own servers.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use mailroom_servers::KafkaRelease;
use mailroom_tests::paths;
use serde_json::Value;

use super::{Scratch, accepts, at, entries, items, text, words, yaml};

mod at_work;

const COMPOSE: &str = "deploy/compose.yaml";

/// Services by their names.
fn services(compose: &Value) -> Vec<(&str, &Value)> {
    entries(compose, "/services")
}

/// Environment of a service.
fn environment(service: &Value) -> Result<Vec<(String, String)>> {
    let entries = entries(service, "/environment").into_iter();
    let texts = entries.map(|(name, value)| {
        let value = value.as_str().with_context(|| format!("{name} is no text"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    texts.collect()
}

/// Names that a service lists, or that are the keys of what it has there.
fn names(service: &Value, pointer: &str) -> Vec<String> {
    match service.pointer(pointer) {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Object(names)) => names.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn services_name_files_secrets_volumes_and_services_that_there_are() -> Result<()> {
    let compose = yaml(COMPOSE)?;
    let declared = |pointer: &str| names(&compose, pointer).into_iter().collect::<BTreeSet<_>>();
    let (all, secrets, volumes) = (declared("/services"), declared("/secrets"), declared("/volumes"));
    let (mut used_secrets, mut used_volumes) = (BTreeSet::new(), BTreeSet::new());
    for (name, service) in services(&compose) {
        let image = words(service, "/image")?;
        ensure!(image.contains(':') || image == "mailroom-demo", "{name}: {image} is another one each day");
        used_secrets.extend(names(service, "/secrets"));
        ensure!(names(service, "/depends_on").iter().all(|other| all.contains(other)), "{name}");
        for volume in names(service, "/volumes") {
            let (source, place) = volume.split_once(':').context("a volume has a place")?;
            ensure!(place.starts_with('/'), "{name}: {volume}");
            if let Some(path) = source.strip_prefix("./") {
                ensure!(paths::root().join("deploy").join(path).exists(), "{name}: there is no {source}");
                ensure!(place.ends_with(":ro"), "{name} may write to {source}");
            } else {
                used_volumes.insert(source.to_owned());
            }
        }
        for (variable, value) in environment(service)? {
            let secret = value.split_once("/run/secrets/").map(|(_, secret)| secret.to_owned());
            let has = secret.is_none_or(|secret| names(service, "/secrets").contains(&secret));
            ensure!(has, "{name}: {variable} is the file of a secret that it does not get");
            let is_secret = ["PASSWORD", "TOKEN"].iter().any(|word| variable.contains(word));
            ensure!(!is_secret || value.starts_with("/run/secrets/"), "{name}: {variable} is no file");
        }
        for port in names(service, "/ports") {
            ensure!(port.starts_with("127.0.0.1:"), "{name} is reached from other machines at {port}");
        }
    }
    assert_eq!((used_secrets, used_volumes), (secrets, volumes), "used and declared");
    Ok(())
}

#[tokio::test]
async fn its_hosts_know_their_settings_and_the_script_makes_each_secret() -> Result<()> {
    let (scratch, compose) = (Scratch::new()?, yaml(COMPOSE)?);
    let folder = scratch.secrets().await?;
    for (name, secret) in entries(&compose, "/secrets") {
        assert_eq!(words(secret, "/file")?, format!("./secrets/{name}"));
        let made = std::fs::read_to_string(format!("{folder}/{name}"))?;
        ensure!(made.trim().len() > 30, "{name}: {made}");
        ensure!(text(".gitignore")?.contains("/deploy/secrets/"), "git would take it");
    }
    let before = std::fs::read_to_string(format!("{folder}/admin-token"))?;
    scratch.secrets().await?;
    assert_eq!(std::fs::read_to_string(format!("{folder}/admin-token"))?, before, "what is there is kept");

    let mut asked = 0;
    for (name, service) in services(&compose) {
        if words(service, "/image")? == "mailroom-demo" {
            let env = environment(service)?.into_iter();
            let env: Vec<_> = env.map(|(key, value)| (key, value.replace("/run/secrets", &folder))).collect();
            accepts(&scratch, &env, None).await.context(name.to_owned())?;
            assert_eq!(words(service, "/build/target")?, "demo");
            ensure!(paths::root().join(words(service, "/build/dockerfile")?).exists());
            asked += 1;
        }
    }
    assert_eq!(asked, 2, "the host and its migration");
    Ok(())
}

#[test]
fn kafka_is_the_release_of_the_tests_and_its_topics_are_those_of_the_handlers() -> Result<()> {
    let compose = yaml(COMPOSE)?;
    let release = format!("apache/kafka:{}", KafkaRelease::V4.version());
    for service in ["kafka", "topics"] {
        assert_eq!(words(&compose, &format!("/services/{service}/image"))?, release);
    }
    let script = words(&compose, "/services/topics/command/2")?;
    let listed = script.split_once("for topic in ").and_then(|(_, rest)| rest.split_once(';'));
    let topics: BTreeSet<&str> = listed.context("no list of topics")?.0.split(' ').collect();
    let sources = text("handlers/invoice/src/lib.rs")? + &text("handlers/shipping/src/lib.rs")?;
    for topic in &topics {
        ensure!(sources.contains(&format!("(\"{topic}\"")), "no handler has to do with {topic}");
    }
    assert_eq!(topics.len(), 3);
    Ok(())
}

#[test]
fn a_host_may_do_nothing_in_its_container_that_it_does_not_need() -> Result<()> {
    let compose = yaml(COMPOSE)?;
    let host = at(&compose, "/services/mailroom")?;
    assert_eq!(host["read_only"], true);
    assert_eq!(items(host, "/cap_drop")?, ["ALL"]);
    assert_eq!(items(host, "/security_opt")?, ["no-new-privileges:true"]);
    let grace: u32 = words(host, "/stop_grace_period")?.trim_end_matches('s').parse()?;
    ensure!(grace > 25, "it is killed within host.stop-grace");
    Ok(())
}
