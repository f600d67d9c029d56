//! Origin to which HTTP requests may go: a scheme, a host and a port, as a manifest grants them and a request
//! has them.
//!
//! There are no patterns. A grant such as `*.example.org` would let a handler carry data out in the names that it
//! looks up.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::uri::{Authority, Scheme, Uri};

/// Description of what a list of them may hold.
pub(super) const ORIGINS: &str = "hosts such as \"api.example.com\", \"api.example.com:8443\" or, without TLS, \
                                  \"http://internal:8080\": no paths, no patterns";

/// One place that requests may go to. Both forms of it, granted and asked for, are read alike, so that they cannot
/// be told apart by case or by a port that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    tls: bool,
    /// Name in lower case, or an address; one of IPv6 in its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `HOST`, `HOST:PORT`, `https://HOST:PORT` or `http://HOST:PORT`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, authority) = match text.split_once("://") {
            None => (true, text),
            Some(("https", authority)) => (true, authority),
            Some(("http", authority)) => (false, authority),
            Some(_) => return None,
        };
        Self::of_authority(tls, &authority.parse().ok()?)
    }

    /// Returns where a request goes to; `None` where its address has more to it, such as a user's name.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let tls = *scheme == Scheme::HTTPS;
        if !tls && *scheme != Scheme::HTTP {
            return None;
        }
        Self::of_authority(tls, uri.authority()?)
    }

    fn of_authority(tls: bool, authority: &Authority) -> Option<Self> {
        let host = authority.host();
        let port = authority.port_u16();
        let whole = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if whole != authority.as_str() || port == Some(0) {
            return None;
        }
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
            None if host.parse::<Ipv4Addr>().is_ok() || is_name(host) => host.to_ascii_lowercase(),
            None => return None,
        };
        Some(Self { tls, host, port: port.unwrap_or_else(|| usual_port(tls)) })
    }
}

/// Labels of letters, digits, `-` and `_`. A last label of digits alone would be read as an address by some.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with(|c: char| c.is_ascii_digit())
        && (last.chars().all(|c| c.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x"));
    host.len() <= 253 && host.split('.').all(is_label) && !is_number
}

fn usual_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl fmt::Display for Origin {
    /// Writes it as a manifest has it, at its shortest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port } = self;
        if !tls {
            f.write_str("http://")?;
        }
        f.write_str(host)?;
        if *port == usual_port(*tls) { Ok(()) } else { write!(f, ":{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_host_with_what_is_understood_left_out() {
        for (text, shown) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.com:443", "api.example.com"),
            ("https://api.example.com:8443", "api.example.com:8443"),
            ("api.example.com:80", "api.example.com:80"),
            ("http://internal:80", "http://internal"),
            ("http://my_service:8080", "http://my_service:8080"),
            ("10.1.2.3", "10.1.2.3"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(
                Origin::parse(text).map(|origin| origin.to_string()).as_deref(),
                Some(shown),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "*",
            "*.example.com",
            "example.com.",
            ".example.com",
            "a..b",
            "example.com/",
            "example.com/path",
            "https://example.com/",
            "example.com?x",
            "user@example.com",
            "user:pass@example.com",
            "ftp://example.com",
            "https://https://example.com",
            "example.com:",
            "example.com:0",
            "example.com:0443",
            "example.com:65536",
            "example.com:http",
            "ex ample.com",
            "bücher.example",
            "-a.example",
            "::1",
            "[::1",
            "[fe80::1%25eth0]",
            "1.2.3",
            "1.2.3.256",
            "0x7f.1",
            "127.0x1",
            "2130706433",
        ] {
            assert_eq!(Origin::parse(text), None, "{text:?}");
        }
        assert!(Origin::parse(&"a".repeat(64)).is_none() && Origin::parse(&"a.".repeat(200)).is_none());
    }

    #[test]
    fn a_request_goes_where_its_authority_says_whatever_its_case_and_port() {
        let granted = Origin::parse("api.example.com");
        for same in ["https://api.example.com/x", "https://API.EXAMPLE.COM:443/", "https://api.example.com?q"]
        {
            assert_eq!(Origin::of(&same.parse().unwrap()), granted, "{same}");
        }
        for other in [
            "http://api.example.com/",
            "http://api.example.com:443/",
            "https://api.example.com:8443/",
            "https://api.example.com.evil.example/",
            "https://evil.example/api.example.com",
            "https://api.example.com@evil.example/",
            "https://evil.example:443@api.example.com/",
            "https://api.example.com./",
            "/api.example.com",
        ] {
            assert_ne!(Origin::of(&other.parse().unwrap()), granted, "{other}");
        }
    }
}
