//! Manifests, which are written by hand.

use super::TIME;
use super::settings::{Raw, toml};
use crate::config::{Manifest, Origin};
use crate::handler::tests::config;

#[test]
fn a_manifest_is_refused_or_lies_within_the_hosts_bounds() {
    let config = config();
    let keys = Manifest::declared();
    let keys: Vec<&str> = keys.iter().map(|setting| setting.key.as_str()).collect();
    bolero::check!().with_test_time(TIME).with_type::<(Vec<Raw>, Option<String>)>().for_each(
        |(raw, rest)| {
            let text = toml(&keys, raw, rest.as_ref());
            let manifest = match Manifest::parse(&text, &config) {
                Ok(manifest) => manifest,
                Err(errors) => {
                    assert!(!errors.to_string().trim().is_empty());
                    return;
                }
            };
            assert!(
                manifest.limits.deadline <= config.host.expiry * 2 / 3 && !manifest.limits.deadline.is_zero()
            );
            assert!(manifest.limits.memory <= config.limits.memory_max && manifest.limits.fuel > 0);
            assert!(manifest.retry.base <= manifest.retry.cap && manifest.retry.attempts_max > 0);
            assert!(manifest.concurrency > 0);
            for origin in &manifest.grants.http {
                assert_eq!(Origin::parse(&origin.to_string()).as_ref(), Some(origin), "as it is shown");
            }
            assert!(manifest.group.is_none_or(|group| group.len() <= 255 && !group.contains('\0')));
            let granted =
                manifest.grants.publish.iter().chain(manifest.subscribe.iter().flat_map(|of| &of.topics));
            for topic in granted {
                assert!((1..=249).contains(&topic.len()) && topic.is_ascii(), "{topic:?}");
            }
        },
    );
}
