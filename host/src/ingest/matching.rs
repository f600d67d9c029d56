//! Which subscription takes a message: topics exactly, event types and sources by dot-separated
//! segments (`*` is one, a last `**` is the rest), schema versions by a prefix of segments.

use crate::handler::Subscription;
use crate::message::Message;

/// The first subscription that takes the message.
pub(crate) fn first<'s>(subscriptions: &'s [Subscription], message: &Message) -> Option<&'s Subscription> {
    subscriptions.iter().find(|subscription| {
        any(&subscription.topics, |topic| *topic == *message.topic)
            && any(&subscription.event_types, |pattern| segments(pattern, &message.event_type))
            && any(&subscription.sources, |pattern| segments(pattern, &message.source))
            && any(&subscription.schema_versions, |prefix| {
                message.schema_version.as_deref().is_some_and(|version| starts(prefix, version))
            })
    })
}

/// An empty list takes anything.
fn any(list: &[String], takes: impl Fn(&str) -> bool) -> bool {
    list.is_empty() || list.iter().any(|item| takes(item))
}

fn segments(pattern: &str, name: &str) -> bool {
    let mut of_name = name.split('.');
    let mut of_pattern = pattern.split('.').peekable();
    while let Some(segment) = of_pattern.next() {
        if segment == "**" && of_pattern.peek().is_none() {
            return true;
        }
        match of_name.next() {
            Some(other) if segment == "*" || segment == other => {}
            Some(_) | None => return false,
        }
    }
    of_name.next().is_none()
}

fn starts(prefix: &str, version: &str) -> bool {
    let mut of_version = version.split('.');
    prefix.split('.').all(|segment| of_version.next() == Some(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_by_segments() {
        for (pattern, name, takes) in [
            ("order.placed", "order.placed", true),
            ("order.placed", "order", false),
            ("order", "order.placed", false),
            ("order.*", "order.placed", true),
            ("order.*", "order.placed.late", false),
            ("*.placed", "order.placed", true),
            ("order.**", "order.placed.late", true),
            ("order.**", "order", true),
            ("**", "anything.at.all", true),
            ("**.placed", "a.placed", false),
            ("ord*", "order", false),
        ] {
            assert_eq!(segments(pattern, name), takes, "{pattern} against {name}");
        }
    }

    #[test]
    fn versions_match_by_a_prefix_of_segments() {
        assert!(starts("1", "1.2.3") && starts("1.2", "1.2.3") && starts("1.2.3", "1.2.3"));
        assert!(!starts("1", "10.2") && !starts("1.2.3", "1.2"));
    }
}
