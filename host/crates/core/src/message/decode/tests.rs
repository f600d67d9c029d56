use super::*;

const ORDERS: Origin<'_> = Origin { topic: "orders", place: "orders:0:7", id_header: None };

fn record(headers: Vec<Header>) -> Record {
    Record { partition: 0, offset: 7, key: None, payload: None, headers, timestamp_ms: 0 }
}

fn decoded(headers: &[(&str, &str)], origin: Origin<'_>) -> Decoded {
    let headers = headers.iter().map(|(name, value)| Header::text(name, value)).collect();
    decode(&record(headers), origin).unwrap()
}

/// The id and its source.
fn identified(headers: &[(&str, &str)]) -> (String, String) {
    let decoded = decoded(headers, ORDERS);
    (decoded.message_id, decoded.source)
}

fn is(id: &str, source: &str) -> (String, String) {
    (id.to_owned(), source.to_owned())
}

#[test]
fn headers_win_and_the_topic_is_the_fall_back() {
    let bare = decoded(&[], ORDERS);
    assert_eq!(
        (bare.message_id.as_str(), bare.event_type.as_str(), bare.source.as_str()),
        ("orders:0:7", "orders", "orders")
    );
    let full = decoded(
        &[
            ("event_id", "e"),
            ("message_id", " m "),
            ("event_type", "order.placed"),
            ("source_service", "shop"),
            ("traceparent", "00-1-2-01"),
            ("event_type", "order.changed"),
        ],
        ORDERS,
    );
    assert_eq!((full.message_id.as_str(), full.source.as_str()), ("m", "shop"));
    assert_eq!(full.event_type, "order.changed", "the last of several wins");
    assert_eq!(full.traceparent.as_deref(), Some("00-1-2-01"));
}

#[test]
fn an_id_of_cloud_events_is_its_sources_and_nothing_without_one() {
    let place = "orders:0:7";
    assert_eq!(identified(&[("ce_id", "1"), ("ce_source", "/a")]), is("1", "/a"));
    assert_eq!(identified(&[("ce_id", "1"), ("ce_source", "/b")]), is("1", "/b"));
    assert_eq!(identified(&[("ce_id", "1"), ("ce_source", "/b"), ("source", "s")]), is("1", "/b"));
    assert_eq!(identified(&[("ce_id", "1")]), is(place, "orders"));
    assert_eq!(identified(&[("ce_id", "1"), ("ce_source", " ")]), is(place, "orders"));
    assert_eq!(identified(&[("ce_id", "1"), ("source", "s")]), is(place, "s"));
    let both = [("message_id", "m"), ("ce_id", "1"), ("ce_source", "/a"), ("source", "s")];
    assert_eq!(identified(&both), is("m", "s"), "our own name goes first, with our own source");
}

#[test]
fn a_plain_id_is_one_only_where_somebody_says_so() {
    let headers = [("id", "tenant-7"), ("event-key", "k-1")];
    assert_eq!(identified(&headers), is("orders:0:7", "orders"));
    let of = |name| decoded(&headers, Origin { id_header: Some(name), ..ORDERS }).message_id;
    assert_eq!((of("id").as_str(), of("event-key").as_str()), ("tenant-7", "k-1"));
    let first = [("id", "tenant-7"), ("event_id", "e")];
    assert_eq!(decoded(&first, Origin { id_header: Some("id"), ..ORDERS }).message_id, "e");
    let long = Header::text("id", &"x".repeat(256));
    assert!(decode(&record(vec![long]), ORDERS).is_ok(), "what is no id is not read");
}

#[test]
fn no_header_names_a_place_of_its_topic() {
    let uuid = "8f0ab6f2-54c5-4f0e-9a11-0a8f3a1a7a01";
    for id in ["orders:0:9".to_owned(), format!("orders:3:12:{uuid}"), format!(" orders:0:9:{uuid} ")] {
        for name in ["message_id", "event_id", "id"] {
            let origin = Origin { id_header: Some("id"), ..ORDERS };
            assert_eq!(decoded(&[(name, &id)], origin).message_id, "orders:0:7", "{name}: {id}");
        }
        assert_eq!(identified(&[("ce_id", &id), ("ce_source", "/a")]).0, "orders:0:7", "{id}");
    }
    // Ids count within the topic, so places of others are as good as any text.
    for id in
        ["payments:0:9", "orders:0", "orders:a:9", "orders:0:9:x", "orders:0:9:", "orders", "my orders:0:9"]
    {
        assert_eq!(identified(&[("message_id", id)]).0, id);
    }
}

#[test]
fn a_copy_on_another_topic_is_another_message() {
    let headers = |topic| [("message_id", "m"), ("event_id", "m"), ("message_topic", topic)];
    assert_eq!(identified(&headers("orders")).0, "m");
    assert_eq!(identified(&headers(" ")).0, "m");
    assert_eq!(identified(&headers("payments")).0, "orders:0:7");
    let cloud = [("ce_id", "1"), ("ce_source", "/a"), ("message_topic", "payments")];
    assert_eq!(identified(&cloud), is("orders:0:7", "/a"));
}

#[test]
fn blank_and_null_values_are_as_if_absent() {
    let blank = vec![
        Header::text("message_id", "  "),
        Header { name: HeaderName::Text("source".into()), value: None },
    ];
    let decoded = decode(&record(blank), ORDERS).unwrap();
    assert_eq!((decoded.message_id.as_str(), decoded.source.as_str()), ("orders:0:7", "orders"));
}

#[test]
fn what_cannot_be_carried_is_named() {
    let name = Header { name: HeaderName::Bytes(vec![0xff]), value: None };
    assert!(matches!(decode(&record(vec![name]), ORDERS), Err(Undecodable::HeaderName(_))));
    let value = Header { name: HeaderName::Text("event_type".into()), value: Some(vec![0xff]) };
    assert_eq!(decode(&record(vec![value]), ORDERS), Err(Undecodable::HeaderValue("event_type".into())));
    let long = Header::text("message_id", &"x".repeat(256));
    assert_eq!(decode(&record(vec![long]), ORDERS), Err(Undecodable::TooLong("message_id".into(), 256)));
}
