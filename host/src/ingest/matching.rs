//! Matching of messages and subscriptions: topics exactly, event types and sources by dot-separated segments
//! (`*` is one, a last `**` is the rest), schema versions by a prefix of segments.

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

/// Tells whether all that `narrow` takes, `wide` takes as well and in the same form; in doubt it does not.
/// `wide` may have other topics besides.
pub(crate) fn covers(wide: &Subscription, narrow: &Subscription) -> bool {
    let lists = |wide: &[String], narrow: &[String], item: fn(&str, &str) -> bool| {
        let covered = |one: &String| wide.iter().any(|other| item(other, one));
        wide.is_empty() || !narrow.is_empty() && narrow.iter().all(covered)
    };
    wide.form == narrow.form
        && narrow.topics.iter().all(|topic| wide.topics.contains(topic))
        && lists(&wide.event_types, &narrow.event_types, pattern_covers)
        && lists(&wide.sources, &narrow.sources, pattern_covers)
        && lists(&wide.schema_versions, &narrow.schema_versions, starts)
}

/// Tells whether a pattern takes all that a narrower one takes: to it, that one is a name of its own, but for
/// a last `**`, which stands for any number of segments, none as well, so the wider one must end so too and
/// take what is before it.
fn pattern_covers(wide: &str, narrow: &str) -> bool {
    let open = |pattern: &str| pattern == "**" || pattern.ends_with(".**");
    match narrow.strip_suffix(".**") {
        Some(before) => open(wide) && segments(wide, before),
        None if narrow == "**" => wide == "**" || wide == "*.**",
        None => segments(wide, narrow),
    }
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
    fn a_subscription_covers_what_is_as_narrow_or_narrower() {
        let of = |event_type: &str| Subscription::topic("t").event_type(event_type);
        for (wide, narrow, covered) in [
            (of("a.b"), of("a.b"), true),
            (of("a.*"), of("a.b"), true),
            (of("a.b"), of("a.*"), false),
            (of("a.**"), of("a.b.**"), true),
            (of("a.*"), of("a.**"), false),
            (of("a.*.**"), of("a.**"), false),
            (of("*.**"), of("**"), true),
            (Subscription::topic("t"), of("a"), true),
            (of("**"), Subscription::topic("t"), false),
            (of("a").or_topic("u"), of("a"), true),
            (of("a"), of("a").or_topic("u"), false),
            (of("a"), of("a").text(), false),
            (of("a").schema_version("1"), of("a").schema_version("1.2"), true),
            (of("a").schema_version("1.2"), of("a").schema_version("1"), false),
        ] {
            assert_eq!(covers(&wide, &narrow), covered, "{wide:?} over {narrow:?}");
        }
    }

    #[test]
    fn versions_match_by_a_prefix_of_segments() {
        assert!(starts("1", "1.2.3") && starts("1.2", "1.2.3") && starts("1.2.3", "1.2.3"));
        assert!(!starts("1", "10.2") && !starts("1.2.3", "1.2"));
    }
}
