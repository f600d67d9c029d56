//! Proof that a request which changes something was not made by a page of somebody else's in an operator's browser.
//!
//! A browser says where a request comes from (`Sec-Fetch-Site`, `Origin`), and sends JSON to another site only once that
//! allows it, which nothing here does. A form needs one of the two signs; a program that sends JSON has neither.

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

use super::refusal::Refusal;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const JSON: &str = "application/json";

/// Lets pass what changes nothing, and what proves where it comes from.
///
/// # Errors
/// Where it comes from another page, or does not say.
pub(super) fn prove(request: &Request) -> Result<(), Refusal> {
    if request.method().is_safe() {
        return Ok(());
    }
    let headers = request.headers();
    let site = text(headers, &FETCH_SITE).map(|site| site == "same-origin");
    let origin = text(headers, &ORIGIN).map(|origin| is_own(origin, text(headers, &HOST)));
    if site == Some(false) || origin == Some(false) {
        return Err(Refusal::foreign_page());
    }
    let has_sign = site.or(origin).is_some();
    let is_json = text(headers, &CONTENT_TYPE).is_some_and(is_json);
    if request.uri().path().starts_with("/api/") {
        return if is_json { Ok(()) } else { Err(Refusal::not_json()) };
    }
    if has_sign { Ok(()) } else { Err(Refusal::foreign_page()) }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    // What is no text is nobody's.
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
}

/// Tells whether an origin is that of the host that was asked.
fn is_own(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| host.is_some_and(|host| authority.eq_ignore_ascii_case(host)))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn passes(path: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post(path).header("host", "127.0.0.1:9180");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        prove(&request.body(Body::empty()).unwrap()).is_ok()
    }

    #[test]
    fn a_form_comes_from_our_own_page_and_says_so() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let own = ("origin", "http://127.0.0.1:9180");
        assert!(passes("/dead-letters/replay", &[form, own]));
        assert!(passes("/dead-letters/replay", &[form, ("sec-fetch-site", "same-origin")]));
        for foreign in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "http://evil.example")],
            &[("origin", "http://127.0.0.1:9181")],
            &[("origin", "file://127.0.0.1:9180")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[own, ("sec-fetch-site", "cross-site")],
            &[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(!passes("/dead-letters/replay", &[&[form], foreign].concat()), "{foreign:?}");
        }
    }

    #[test]
    fn the_api_takes_json_from_programs_and_from_our_own_page() {
        let json = ("content-type", "application/json; charset=utf-8");
        assert!(passes("/api/v1/dead-letters/replay", &[json]));
        assert!(passes("/api/v1/dead-letters/replay", &[json, ("origin", "http://127.0.0.1:9180")]));
        assert!(!passes("/api/v1/dead-letters/replay", &[json, ("origin", "http://evil.example")]));
        for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert!(!passes("/api/v1/dead-letters/replay", &[("content-type", other)]), "{other}");
        }
        assert!(!passes("/api/v1/dead-letters/replay", &[]));
    }
}
