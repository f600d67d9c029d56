//! Properties that librdkafka refuses, found by making a host's clients without an address to connect to.

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError as RdKafkaError;
use rdkafka::producer::{BaseProducer, DefaultProducerContext};

use super::client;
use super::voice::Quiet;
use crate::config::{Config, ConfigError, ConfigErrors, refused_property};

/// Refuses what librdkafka refuses, by the setting's name.
///
/// # Errors
/// Each property that is refused by itself; where none is, what they are refused for together.
pub(crate) fn check_settings(config: &Config) -> Result<(), ConfigErrors> {
    let given = &config.kafka.properties;
    let refused = |error: &RdKafkaError| refusal(given, error);
    let alone = |(name, value): (&String, &String)| {
        let made = ClientConfig::new().set(name, value).create_native_config();
        made.err().as_ref().map(refused)
    };
    let mut errors: Vec<ConfigError> = given.iter().filter_map(alone).collect();
    if errors.is_empty() {
        let (group, timeout) = ("mailroom.check", config.relay.publish_timeout);
        let consumer: Result<BaseConsumer<Quiet>, _> =
            unreachable(client::consumer(&config.kafka, group)).create_with_context(Quiet);
        let producer: Result<BaseProducer<DefaultProducerContext>, _> =
            unreachable(client::producer(&config.kafka, timeout)).create();
        let together = [consumer.err(), producer.err()];
        errors.extend(together.iter().flatten().map(refused));
        errors.dedup();
    }
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}

fn unreachable(mut client: ClientConfig) -> ClientConfig {
    client.remove("bootstrap.servers");
    client
}

fn refusal(given: &std::collections::BTreeMap<String, String>, error: &RdKafkaError) -> ConfigError {
    if let RdKafkaError::ClientConfig(_, problem, name, _) = error {
        return refused_property(given, name, problem.clone());
    }
    let problem =
        if let RdKafkaError::ClientCreation(problem) = error { problem.clone() } else { error.to_string() };
    // It names properties in backquotes, the one that is to blame first.
    let named = problem.split('`').skip(1).step_by(2).find(|name| given.contains_key(*name));
    refused_property(given, named.unwrap_or_default(), problem.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Servers, is_known_property};
    use crate::kafka::native;

    fn refused(properties: &[(&str, &str)]) -> Vec<String> {
        let mut env = vec![
            ("MAILROOM__POSTGRES__URL".to_owned(), "postgres://h/d".to_owned()),
            ("MAILROOM__KAFKA__BROKERS".to_owned(), "127.0.0.1:1".to_owned()),
        ];
        env.extend(properties.iter().map(|(name, value)| {
            let name = name.to_uppercase().replace('.', "_");
            (format!("MAILROOM__KAFKA__PROPERTIES__{name}"), (*value).to_owned())
        }));
        let file = std::path::Path::new("/dev/null");
        let (config, _) = Config::load_with(Some(file), env.into_iter(), Servers::Needed).unwrap();
        let checked = check_settings(&config);
        checked.err().map_or_else(Vec::new, |errors| errors.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_property_of_librdkafka_is_somebodys() {
        let names = native::property_names();
        assert!(names.len() > 150, "{} properties", names.len());
        let open: Vec<&String> = names.iter().filter(|name| !is_known_property(name)).collect();
        assert!(open.is_empty(), "decide whose these are: {open:?}");
    }

    #[test]
    fn what_librdkafka_refuses_is_named_by_the_setting() {
        for (properties, named) in [
            (&[("session.timeout.ms", "abc")][..], "kafka.properties.session.timeout.ms = \"abc\""),
            (&[("message.max.bytes", "500")], "kafka.properties.message.max.bytes = \"500\""),
            (&[("max.in.flight", "10")], "kafka.properties.max.in.flight = \"10\""),
            (&[("linger.ms", "60000")], "kafka.properties.linger.ms = \"60000\""),
            (&[("max.poll.interval.ms", "1000")], "kafka.properties.max.poll.interval.ms = \"1000\""),
            (&[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "GSSAPI")], "GSSAPI"),
        ] {
            let found = refused(properties);
            assert!(
                found.len() == 1 && found[0].contains(named),
                "{properties:?} gives {found:#?}, not {named}"
            );
        }
        let both = refused(&[("session.timeout.ms", "abc"), ("socket.max.fails", "many")]);
        assert_eq!(both.len(), 2, "{both:#?}");
    }

    #[test]
    fn what_librdkafka_takes_is_taken_without_a_server() {
        let taken =
            refused(&[("compression.type", "zstd"), ("fetch.min.bytes", "1000000"), ("debug", "all")]);
        assert!(taken.is_empty(), "{taken:#?}");
    }
}
