//! The host's rules for event types, sources and schema versions, segment by segment.

/// True if dot-separated segments fit a pattern: `*` is one, a last `**` is the rest, which may be none.
pub(crate) fn matches(pattern: &str, value: &str) -> bool {
    let mut segments = value.split('.');
    let mut wanted = pattern.split('.').peekable();
    while let Some(pattern) = wanted.next() {
        if pattern == "**" && wanted.peek().is_none() {
            return true;
        }
        if !segments.next().is_some_and(|segment| pattern == "*" || pattern == segment) {
            return false;
        }
    }
    segments.next().is_none()
}

/// True if a version begins with the segments of a prefix: `1` fits `1.2`, not `12`.
pub(crate) fn is_version(prefix: &str, version: &str) -> bool {
    version.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        for (pattern, value, fits) in [
            ("order.placed", "order.placed", true),
            ("order.placed", "order.placed.late", false),
            ("order.placed", "order", false),
            ("order.*", "order.placed", true),
            ("order.*", "order.placed.late", false),
            ("order.*", "order", false),
            ("*.placed", "order.placed", true),
            ("order.**", "order.placed.late", true),
            ("order.**", "order", true),
            ("order.**", "orders.placed", false),
            ("**", "anything.at.all", true),
            ("**.placed", "order.placed", false),
        ] {
            assert_eq!(matches(pattern, value), fits, "{pattern} {value}");
        }
    }

    #[test]
    fn a_version_fits_a_prefix_of_segments() {
        for (prefix, version, fits) in
            [("1", "1", true), ("1", "1.2.3", true), ("1.2", "1", false), ("1", "12", false)]
        {
            assert_eq!(is_version(prefix, version), fits, "{prefix} {version}");
        }
    }
}
