//! Rights of whoever asks, judged before anything is answered.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::refusal::Refusal;
use super::routes::{self, Needs};
use super::{origin, session};
use crate::config::{self, Role};

/// Bytes of a request's body.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// Somebody who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Nobody that is known: may hear yes or no.
    Nobody,
    /// Somebody on this machine, where reading needs no token.
    Local,
    /// The holder of a token.
    Holder { name: Arc<str>, role: Role },
}

impl Caller {
    /// The rights; nothing where the caller has none.
    pub(super) fn role(&self) -> Option<Role> {
        match self {
            Self::Nobody => None,
            Self::Local => Some(Role::Viewer),
            Self::Holder { role, .. } => Some(*role),
        }
    }

    /// Returns whether the content of messages may be shown.
    pub(super) fn sees_content(&self) -> bool {
        self.role() >= Some(Role::Operator)
    }

    /// The name that the audit has of changes.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Nobody | Self::Local => None,
            Self::Holder { name, .. } => Some(name),
        }
    }
}

/// A token as it is known here; the token itself is not kept.
#[derive(Debug)]
struct Known {
    name: Arc<str>,
    role: Role,
    digest: [u8; 32],
    session: session::Key,
}

/// The tokens, and whether reading needs one.
#[derive(Debug, Clone)]
pub(super) struct Access {
    tokens: Arc<[Known]>,
    reads_without_token: bool,
}

impl Access {
    /// The rules that the configuration gives.
    pub(super) fn new(admin: &config::Admin) -> Self {
        let known = |token: &config::AdminToken| Known {
            name: token.name.as_str().into(),
            role: token.role,
            digest: Sha256::digest(token.secret.expose()).into(),
            session: session::Key::new(&token.secret),
        };
        let tokens = admin.tokens.iter().map(known).collect();
        Self { tokens, reads_without_token: admin.reads_without_token }
    }

    /// Looks a token up. Digests are compared, all of them, so that the time tells nothing of any token, its length
    /// included.
    fn holder(&self, token: &[u8]) -> Option<&Known> {
        let digest = Sha256::digest(token);
        self.tokens.iter().fold(None, |found, known| {
            if bool::from(known.digest[..].ct_eq(&digest[..])) { Some(known) } else { found }
        })
    }

    /// Begins a session for whoever shows a token; gives the cookie.
    pub(super) fn sign_in(&self, token: &str) -> Option<String> {
        let known = self.holder(token.trim().as_bytes())?;
        Some(known.session.cookie(&known.name))
    }

    /// Finds out who asks.
    ///
    /// # Errors
    /// Where a token is shown that is none of ours, or nobody is known by a name that a page in a browser may have made up.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let holder = |known: &Known| Caller::Holder { name: Arc::clone(&known.name), role: known.role };
        if let Some(value) = headers.get(AUTHORIZATION) {
            let token = bearer(value.as_bytes()).ok_or_else(Refusal::wrong_token)?;
            return self.holder(token).map(holder).ok_or_else(Refusal::wrong_token);
        }
        if let Some(known) = self.of_session(headers) {
            return Ok(holder(known));
        }
        if !self.reads_without_token || is_forwarded(headers) {
            return Ok(Caller::Nobody);
        }
        // A page in a browser on this machine may have its own name lead here.
        match is_own_name(headers) {
            true => Ok(Caller::Local),
            false if self.tokens.is_empty() => Err(Refusal::foreign_name()),
            false => Ok(Caller::Nobody),
        }
    }

    fn of_session(&self, headers: &HeaderMap) -> Option<&Known> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let session = cookies.flat_map(|cookies| cookies.split(';')).find_map(session::of_cookie)?;
        self.tokens.iter().find(|known| known.session.is_of(session, &known.name))
    }

    /// Lets a caller pass that may.
    fn judge(&self, needs: Needs, request: &Request) -> Result<Caller, Refusal> {
        let headers = request.headers();
        if body_bytes(headers) > BODY_BYTES_MAX {
            return Err(Refusal::too_large(BODY_BYTES_MAX));
        }
        let caller = self.caller(headers);
        let Needs::Role(needed) = needs else {
            return match caller {
                Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => Ok(Caller::Nobody),
                caller => caller,
            };
        };
        let caller = caller?;
        if !request.method().is_safe() && caller.name().is_none() {
            return Err(if self.tokens.is_empty() { Refusal::no_tokens() } else { Refusal::no_token() });
        }
        match (&caller, caller.role()) {
            (_, Some(role)) if role >= needed => Ok(caller),
            (Caller::Holder { name, role }, _) => Err(Refusal::role(name, *role, needed)),
            (Caller::Local, _) if self.tokens.is_empty() => Err(Refusal::no_tokens()),
            (Caller::Local | Caller::Nobody, _) => Err(Refusal::no_token()),
        }
    }
}

/// Lets a request pass that may.
pub(super) async fn judge(
    State(access): State<Access>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let needs = routes::needs(request.method(), path.as_ref().map(MatchedPath::as_str));
    let caller = access.judge(needs, &request).and_then(|caller| {
        origin::prove(&request)?;
        Ok(caller)
    });
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.answer(&request),
    }
}

/// The length that a request states; one that states none is cut when it is read.
fn body_bytes(headers: &HeaderMap) -> usize {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// A proxy on this machine asks for others.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED) || headers.contains_key("x-forwarded-for") || headers.contains_key("via")
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
