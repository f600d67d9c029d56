//! Conversion of an outbox row to the record that Kafka gets.

use crate::message::{Header, HeaderName};
use crate::outbox::Pending;

/// Names that the host gives; a producer's own headers of these names are left out.
const OURS: [&str; 10] = [
    "message_id",
    "message_topic",
    "event_id",
    "event_type",
    "schema_version",
    "content-type",
    "trace_id",
    "traceparent",
    "correlation_id",
    "causation_id",
];

/// The longest topic name that Kafka takes.
const TOPIC_CHARS_MAX: usize = 249;

/// The record's headers: the producer's own, then the host's.
pub(super) fn headers(row: &Pending) -> Vec<Header> {
    let mut headers: Vec<Header> = row.headers.iter().flatten().cloned().collect();
    headers.retain(|header| !OURS.iter().any(|name| header.is(name)));
    let id = row.id.to_string();
    headers.push(Header::text("message_id", &id));
    headers.push(Header::text("event_id", &id));
    // Tells the record from copies of it on other topics.
    headers.push(Header::text("message_topic", &row.topic));
    headers.push(Header::text("event_type", &row.event_type));
    let optional = [
        ("schema_version", &row.schema_version),
        ("content-type", &row.content_type),
        ("trace_id", &row.trace_id),
        ("traceparent", &row.traceparent),
        ("correlation_id", &row.correlation_id),
        ("causation_id", &row.causation_id),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            headers.push(Header::text(name, value));
        }
    }
    headers
}

/// Returns what makes a row unfit for Kafka, seen before it is handed over.
pub(super) fn unfit(row: &Pending) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let topic: &str = &row.topic;
    if topic.is_empty()
        || topic.len() > TOPIC_CHARS_MAX
        || !topic.chars().all(legal)
        || matches!(topic, "." | "..")
    {
        let shown: String = topic.chars().take(80).collect();
        return Some(format!(
            "topic {shown:?} is not a Kafka topic name: 1 to 249 letters, digits, \".\", \"_\" and \"-\""
        ));
    }
    match &row.headers {
        Err(nonsense) => Some(nonsense.clone()),
        Ok(headers) => headers
            .iter()
            .find(|header| matches!(header.name, HeaderName::Bytes(_)))
            .map(|header| format!("header name {:?} is not UTF-8", header.name.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn row(topic: &str, headers: Vec<Header>) -> Pending {
        Pending {
            lane: 0,
            seq: 1,
            id: Uuid::nil(),
            topic: topic.into(),
            key: None,
            event_type: "order.placed".into(),
            schema_version: None,
            payload: None,
            content_type: None,
            headers: Ok(headers),
            trace_id: None,
            traceparent: Some("00-a-b-01".into()),
            correlation_id: None,
            causation_id: None,
            age_when_read: std::time::Duration::ZERO,
            read_at: tokio::time::Instant::now(),
        }
    }

    #[test]
    fn the_producers_headers_stay_and_the_hosts_win() {
        let own = vec![
            Header::text("tenant", "a"),
            Header::text("event_id", "forged"),
            Header::text("message_topic", "forged"),
            Header::text("tenant", "b"),
        ];
        let headers = headers(&row("orders", own));
        let values = |name: &str| -> Vec<String> {
            let of = headers.iter().filter(|header| header.is(name));
            of.map(|header| String::from_utf8(header.value.clone().unwrap()).unwrap()).collect()
        };
        assert_eq!(values("tenant"), ["a", "b"]);
        assert_eq!(values("event_id"), [Uuid::nil().to_string()]);
        assert_eq!(values("message_topic"), ["orders"]);
        assert_eq!(values("event_type"), ["order.placed"]);
        assert_eq!(values("traceparent"), ["00-a-b-01"]);
        assert_eq!(values("correlation_id"), Vec::<String>::new());
    }

    #[test]
    fn unfit_topics_are_named() {
        for topic in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            assert!(unfit(&row(topic, vec![])).is_some(), "{topic}");
        }
        assert_eq!(unfit(&row("a.b_C-9", vec![])), None);
        let mut nonsense = row("orders", vec![]);
        nonsense.headers = Err("headers are not a JSON array".into());
        assert_eq!(unfit(&nonsense).as_deref(), Some("headers are not a JSON array"));
    }
}
