//! Answers of guests to `subscriptions()`, and what of them takes which message.

use super::TIME;
use crate::config::{Config, Form, Manifest};
use crate::handler::Subscription;
use crate::handler::tests::{config, message};
use crate::ingest::matching::{covers, first};
use crate::message::Message;

/// Segments by their place, for each of topic, event types, sources and versions; and the form.
type Raw = (u8, Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<Vec<u8>>, bool);

const SEGMENTS: [&str; 6] = ["a", "b", "*", "**", "", "1"];

fn name(segments: &[u8]) -> String {
    let segments = segments.iter().take(4).map(|place| SEGMENTS[usize::from(*place) % SEGMENTS.len()]);
    segments.collect::<Vec<_>>().join(".")
}

fn subscription((topic, event_types, sources, versions, text): &Raw) -> Subscription {
    let names = |lists: &[Vec<u8>]| lists.iter().take(2).map(|segments| name(segments)).collect();
    let taken = Subscription::topic(name(&[*topic]));
    Subscription {
        event_types: names(event_types),
        sources: names(sources),
        schema_versions: names(versions),
        form: if *text { Form::Text } else { Form::Binary },
        ..taken
    }
}

fn delivered(topic: u8, event_type: &[u8], source: &[u8], version: Option<&Vec<u8>>) -> Message {
    Message {
        topic: name(&[topic]).into(),
        event_type: name(event_type),
        source: name(source),
        schema_version: version.map(|version| name(version)),
        ..message("")
    }
}

/// Topic, event type, source and version of a message.
type Delivered = (u8, Vec<u8>, Vec<u8>, Option<Vec<u8>>);
/// Two patterns and a name.
type Patterns = (Vec<u8>, Vec<u8>, Vec<u8>);
/// Topics, patterns and a name that are any text.
type Texts = (Vec<String>, Vec<String>, String);

#[test]
fn any_subscription_is_taken_or_refused_and_one_that_covers_another_takes_all_that_the_other_takes() {
    let granted = config();
    bolero::check!().with_test_time(TIME).with_type::<(Raw, Raw, Delivered, Patterns, Texts)>().for_each(
        |(wide, narrow, (topic, event_type, source, version), patterns, texts)| {
            let message = delivered(*topic, event_type, source, version.as_ref());
            covered(&subscription(wide), &subscription(narrow), &message);
            // Covering is hard in patterns, and the rest of a subscription seldom fits.
            let of = |pattern: &[u8]| Subscription::topic("a").event_type(name(pattern));
            covered(&of(&patterns.0), &of(&patterns.1), &delivered(0, &patterns.2, &[], None));
            taken_or_refused(texts, &granted);
        },
    );
}

fn covered(wide: &Subscription, narrow: &Subscription, message: &Message) {
    assert!(covers(narrow, narrow), "{narrow:?} covers itself");
    let takes = |subscription| first(std::slice::from_ref(subscription), message).is_some();
    let lost = covers(wide, narrow) && takes(narrow) && !takes(wide);
    assert!(!lost, "{wide:?} should not cover {narrow:?}: {} is of the latter only", message.event_type);
}

fn taken_or_refused((topics, patterns, event_type): &Texts, granted: &Config) {
    let taken = Subscription {
        topics: topics.clone(),
        event_types: patterns.clone(),
        sources: patterns.clone(),
        schema_versions: patterns.clone(),
        form: Form::Text,
    };
    let message = Message { event_type: event_type.clone(), ..message("") };
    let found = first(std::slice::from_ref(&taken), &message);
    assert!(found.is_none() || topics.is_empty() || topics.iter().any(|topic| **topic == *message.topic));
    let text = format!("[subscribe]\ntopics = {topics:?}\nevent-types = {patterns:?}\n");
    if let Ok(manifest) = Manifest::parse(&text, granted) {
        assert_eq!(&manifest.subscribe.unwrap().topics, topics);
    }
}
