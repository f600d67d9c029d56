//! The host's settings, from their file and from the environment.

use std::fs;

use super::TIME;
use super::settings::{Raw, toml, value};
use crate::config::{Config, Servers, Setting};

fn load(text: &str, env: Vec<(String, String)>) -> Result<(Config, Vec<Setting>), String> {
    let path = std::env::temp_dir().join(format!("mailroom-fuzz-{}.toml", uuid::Uuid::now_v7()));
    fs::write(&path, text).unwrap();
    let loaded = Config::load_with(Some(&path), env.into_iter(), Servers::Unneeded);
    fs::remove_file(&path).unwrap();
    loaded.map_err(|errors| errors.to_string())
}

/// Writes what `config show` prints as a file.
fn shown(settings: &[Setting]) -> String {
    let shown = settings.iter().filter(|setting| !setting.value.is_empty() && setting.value != "(hidden)");
    shown.map(|setting| format!("{} = {}\n", setting.key, setting.value)).collect()
}

#[test]
fn settings_are_refused_or_lie_within_their_bounds_and_read_back_as_they_are_shown() {
    let keys = load("", Vec::new()).unwrap().1;
    let mut keys: Vec<&str> = keys.iter().map(|setting| setting.key.as_str()).collect();
    keys.extend(["handler-config", "handler-config.a", "handler-config.A", "handler-config-files.a"]);
    bolero::check!().with_test_time(TIME).with_type::<(Vec<Raw>, Option<String>, Option<Raw>)>().for_each(
        |(raw, rest, env)| {
            let variable = env.as_ref().map(|(place, kind, number, text)| {
                let key = keys[usize::from(*place) % keys.len()]
                    .to_uppercase()
                    .replace('.', "__")
                    .replace('-', "_");
                (format!("MAILROOM__{key}"), value(*kind, *number, text).trim_matches('"').to_owned())
            });
            let (config, settings) =
                match load(&toml(&keys, raw, rest.as_ref()), variable.into_iter().collect()) {
                    Ok(loaded) => loaded,
                    Err(errors) => {
                        assert!(!errors.trim().is_empty());
                        return;
                    }
                };
            assert!(
                config.limits.call.deadline <= config.host.expiry * 2 / 3 && !config.host.expiry.is_zero()
            );
            assert!(config.limits.call.memory <= config.limits.memory_max);
            assert!(config.retry.base <= config.retry.cap && config.relay.poll_min <= config.relay.poll_max);
            assert!(config.ingest.batch_rows_max > 0 && config.worker.concurrency > 0);
            let text = shown(&settings);
            let again = load(&text, Vec::new()).map(|(_, settings)| shown(&settings));
            assert_eq!(again.as_deref(), Ok(text.as_str()), "{text}");
        },
    );
}
