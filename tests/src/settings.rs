//! The configuration file of a host under test: small times, so that a test sees a take-over or a last
//! attempt within seconds.

use std::path::Path;

/// Settings that differ between hosts.
#[derive(Debug)]
pub struct Settings<'s> {
    /// The world's own namespace: consumer groups on a shared Kafka must differ.
    pub namespace: &'s str,
    /// The host's name in rows.
    pub worker: &'s str,
    /// The drop folder.
    pub handlers: &'s Path,
    /// Folder of the code cache.
    pub compiled: &'s Path,
    /// The world's database.
    pub postgres_url: &'s str,
    /// The world's Kafka.
    pub brokers: &'s str,
}

impl Settings<'_> {
    /// The text of `mailroom.toml`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Self { namespace, worker, handlers, compiled, postgres_url, brokers } = self;
        format!(
            r#"namespace = "{namespace}"

[host]
worker = "{worker}"
expiry = "3s"
handlers = {handlers:?}
compiled = {compiled:?}
stop-grace = "10s"

[postgres]
url = "{postgres_url}"
connections-max = 8

[admin]
listen = "off"
backlog-every = "1s"

[kafka]
brokers = "{brokers}"

[kafka.properties]
"session.timeout.ms" = "3000"
"heartbeat.interval.ms" = "300"
"topic.metadata.refresh.interval.ms" = "500"
"reconnect.backoff.max.ms" = "500"

[retry]
attempts-max = 3
base = "50ms"
cap = "200ms"

[limits]
deadline = "2s"

[relay]
publish-timeout = "2s"

[log]
filter = "info,mailroom=debug"
"#
        )
    }
}
