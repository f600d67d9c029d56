//! Everything is declared, documented and told: `docs/operations.md` has one row for each instrument, and is compared with
//! what a reader gets once everything was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mailroom_core::relay::Ticket;

use super::definitions::{ALL, Definition, Kind};
use super::*;
use crate::config::{Config, HandlerName, Manifest, Servers};
use crate::handler::{Handler, NativeHandler};
use crate::pipeline::outcome::{End, Fault, Usage};
use crate::{Call, Failure, Message, Outcome, Subscription};

const DOCS: &str = include_str!("../../../docs/operations.md");

/// A handler that nobody calls.
struct Idle;

impl NativeHandler for Idle {
    fn version(&self) -> &str {
        "1"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::topic("orders")]
    }

    async fn handle(&self, _: Message<'_>, _: &mut Call) -> Result<Outcome, Failure> {
        Ok(Outcome::Completed)
    }
}

fn config() -> Config {
    let url = ("MAILROOM__POSTGRES__URL".to_owned(), "postgres://u:p@localhost/d".to_owned());
    Config::load_with(None, std::iter::once(url), Servers::Unneeded).unwrap().0
}

fn handler(config: &Config) -> Arc<Handler> {
    let name = HandlerName::parse("idle").unwrap();
    Arc::new(Handler::native(name, Manifest::default_for(config), Idle, config).unwrap())
}

/// A handler by which something can be recorded.
pub(crate) fn idle_handler() -> Arc<Handler> {
    handler(&config())
}

/// Returns what Prometheus calls an instrument, by OpenTelemetry's rules.
fn prometheus_name(definition: &Definition) -> String {
    let unit = match definition.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        unit if unit.starts_with('{') => "",
        unit => panic!("{unit} is a unit that nothing here has"),
    };
    let total = if matches!(definition.kind, Kind::Counter) { "_total" } else { "" };
    format!("{}{unit}{total}", definition.name.replace('.', "_"))
}

/// Each documented instrument: its name in Prometheus, its unit, its attributes and its meaning.
fn documented() -> BTreeMap<&'static str, [&'static str; 4]> {
    let rows =
        DOCS.lines().filter(|line| line.starts_with("| `messaging.") || line.starts_with("| `mailroom."));
    let cells = rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, prometheus, unit, attributes, meaning] = cells.as_slice() else {
            panic!("a row of five cells is expected: {row}")
        };
        let quoted = |cell: &'static str| cell.trim_matches('`');
        (quoted(name), [quoted(prometheus), quoted(unit), *attributes, *meaning])
    });
    cells.collect()
}

#[test]
fn every_instrument_has_a_unit_a_meaning_and_a_row_in_the_documentation() {
    let documented = documented();
    for definition in ALL {
        let Definition { name, unit, description, .. } = definition;
        assert!(!unit.is_empty() && description.len() > 20, "{definition:?}");
        let row = documented.get(name).unwrap_or_else(|| panic!("{name} has no row in docs/operations.md"));
        assert_eq!([row[0], row[1], row[3]], [&prometheus_name(definition), *unit, *description], "{name}");
    }
    let names: BTreeSet<&str> = ALL.iter().map(|definition| definition.name).collect();
    assert_eq!(names.len(), ALL.len(), "a name is declared twice");
    assert_eq!(documented.keys().copied().collect::<BTreeSet<_>>(), names, "documented and declared");
}

/// Records everything once.
fn recorded(metrics: &Metrics, config: &Config) -> (HandlerMetrics, Arc<Handler>) {
    let handler = handler(config);
    let db = Db::new(&config.postgres, &config.sql).unwrap();
    metrics.observe_servers(&db, &ServerHealth::default());
    backlog::tests::observe_something(metrics);
    let mut of_handler = metrics.of_handler(&handler);
    let fault = Fault::Stack { backtrace: String::new() };
    let usage = Usage { fuel: 5000, memory_peak: 1 << 20, took: Duration::from_millis(3) };
    for end in [End::Decided(Outcome::Completed), End::Faulted(fault)] {
        of_handler.called(&"orders".into(), CallEnd::of(&end).unwrap(), usage);
    }
    let mut of_ingest = metrics.of_ingest(&handler);
    of_ingest.consumed(&"orders".into());
    of_ingest.unmatched(1);
    of_ingest.skipped(1);
    let of_settlements = metrics.of_settlements("idle");
    of_settlements.settled(3, 1);
    of_settlements.dropped(1);
    let mut of_relay = metrics.of_relay();
    of_relay.sends(Ticket(7), &"totals".into(), Duration::from_secs(2));
    of_relay.answered(Ticket(7), &Ok(()));
    of_relay.sends(Ticket(8), &"totals".into(), Duration::ZERO);
    let refusal = mailroom_core::relay::Refusal {
        meaning: mailroom_core::relay::RefusalMeaning::Topic,
        reason: "closed".to_owned(),
        by_client: false,
    };
    of_relay.answered(Ticket(8), &Err::<(), _>(refusal));
    metrics.has_outbox_lanes(64);
    (of_handler, handler)
}

#[tokio::test]
async fn a_reader_gets_every_instrument_with_the_attributes_that_are_documented() {
    let config = config();
    let metrics = Metrics::new(&config.host.worker).unwrap();
    let _at_work = recorded(&metrics, &config);

    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for family in metrics.0.registry.gather() {
        assert!(!family.help().is_empty(), "{}", family.name());
        let labels = family.get_metric().iter().flat_map(|metric| metric.get_label());
        let labels = labels.map(|label| label.name().to_owned()).collect();
        told.insert(family.name().to_owned(), labels);
    }
    told.remove("target_info");

    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for [prometheus, _, attributes, _] in documented().values() {
        let attributes = attributes.split(", ").map(|name| name.trim_matches('`').replace('.', "_"));
        expected.insert((*prometheus).to_owned(), attributes.filter(|name| name != "–").collect());
    }
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_record_goes_into_its_buckets_and_a_handler_that_ended_is_told_no_more() {
    let config = config();
    let metrics = Metrics::new(&config.host.worker).unwrap();
    let (of_handler, handler) = recorded(&metrics, &config);

    let text = metrics.text().unwrap();
    for line in [
        "mailroom_handler_duration_seconds_bucket{handler_name=\"idle\",outcome=\"completed\",le=\"0.001\"} 0",
        "mailroom_handler_duration_seconds_bucket{handler_name=\"idle\",outcome=\"completed\",le=\"0.005\"} 1",
        "mailroom_handler_duration_seconds_count{handler_name=\"idle\",outcome=\"skipped\"} 0",
        "mailroom_handler_faults_total{fault=\"stack\",handler_name=\"idle\"} 1",
        "mailroom_outbox_publish_latency_seconds_count{messaging_destination_name=\"totals\"} 1",
        "mailroom_lanes{queue=\"outbox\"} 64",
        "mailroom_settle_batch_sum{handler_name=\"idle\"} 3",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is missing:\n{text}");
    }

    let again = metrics.of_handler(&handler);
    drop(of_handler);
    assert!(metrics.text().unwrap().contains("mailroom_handler_version{"), "another of its name is at work");
    drop(again);
    let text = metrics.text().unwrap();
    assert!(!text.contains("mailroom_handler_version{") && text.contains("mailroom_handler_faults_total{"));
}

#[test]
fn what_nobody_reads_is_not_kept() {
    let metrics = Metrics::unread();
    metrics.of_settlements("idle").settled(3, 1);
    assert_eq!(metrics.text().unwrap(), "");
}
