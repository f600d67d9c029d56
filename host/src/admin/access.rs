//! Access to the admin port: who may ask for what, before anything is answered.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// Bytes of a request's body; no route reads one.
const BODY_BYTES_MAX: u64 = 64 * 1024;
/// Paths that answer without a token, and then with nothing but yes or no: those who start processes anew ask them.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// True for a caller who may know reasons, beside yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MayKnow(pub(super) bool);

/// The token that is asked for; `None` on a loopback address where none was set.
#[derive(Debug, Clone)]
pub(super) struct Access(pub(super) Option<Secret>);

/// Lets a request pass that may.
pub(super) async fn judge(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    if body_bytes(headers) > BODY_BYTES_MAX {
        let line = format!("the body of a request may have {BODY_BYTES_MAX} bytes at most\n");
        return (StatusCode::PAYLOAD_TOO_LARGE, line).into_response();
    }
    let may_know = match &access.0 {
        Some(token) => MayKnow(has_token(headers, token)),
        // A page in a browser on this machine may have its own name lead here.
        None if !is_own_name(headers) => {
            let line = "ask by an IP address or by localhost; for other names set admin.token-file\n";
            return (StatusCode::MISDIRECTED_REQUEST, line).into_response();
        }
        None => MayKnow(true),
    };
    if may_know == MayKnow(false) && !PROBES.contains(&request.uri().path()) {
        let line = "send the header Authorization: Bearer TOKEN, with the token of this host\n";
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], line).into_response();
    }
    request.extensions_mut().insert(may_know);
    next.run(request).await
}

fn body_bytes(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// Compares digests, so that the time tells nothing of the token, its length included.
fn has_token(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    let Some((scheme, given)) = given.split_at_checked("Bearer ".len()) else { return false };
    let (given, token) = (Sha256::digest(given), Sha256::digest(token.expose().as_bytes()));
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given[..].ct_eq(&token[..]))
}

/// True if the request names this machine by an address or as localhost. HTTP/1.0 names nothing.
fn is_own_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Some(host) = host.to_str().ok().and_then(|host| host.parse::<axum::http::uri::Authority>().ok())
    else {
        return false;
    };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}
