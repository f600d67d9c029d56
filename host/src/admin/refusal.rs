//! Refusals say why a request is not done and what to do: JSON for programs, a page for people.

use axum::Json;
use axum::extract::Request;
use axum::http::header::{ACCEPT, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::pages;
use crate::config::Role;
use crate::db::{DbError, Meaning};

/// An answer instead of what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: String,
    pub(super) remedy: String,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, error: error.into(), remedy: remedy.into() }
    }

    pub(super) fn wrong_token() -> Self {
        let remedy = "send the header Authorization: Bearer TOKEN with a token of [admin.tokens]";
        Self::new(StatusCode::UNAUTHORIZED, "the token is none of this host's", remedy)
    }

    pub(super) fn no_token() -> Self {
        let remedy = "send the header Authorization: Bearer TOKEN, or sign in at /sign-in";
        Self::new(StatusCode::UNAUTHORIZED, "this needs a token", remedy)
    }

    /// No token is configured at all.
    pub(super) fn no_tokens() -> Self {
        let remedy = "set a token: let token-file of a section [admin.tokens.NAME] name a file that holds one, give it a \
                      role, and start the host anew";
        Self::new(StatusCode::UNAUTHORIZED, "this needs a token, and this host has none", remedy)
    }

    pub(super) fn role(name: &str, has: Role, needed: Role) -> Self {
        let (has, needed) = (has.name(), needed.name());
        let remedy = format!("use a token with role = \"{needed}\" in [admin.tokens]");
        Self::new(StatusCode::FORBIDDEN, format!("this needs the role {needed}, and {name} is {has}"), remedy)
    }

    pub(super) fn foreign_name() -> Self {
        let remedy = "ask by an IP address or by localhost; for other names set a token in [admin.tokens]";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "this host is not known by that name", remedy)
    }

    pub(super) fn foreign_page() -> Self {
        let remedy = "open this host's own page and change it there";
        Self::new(StatusCode::FORBIDDEN, "this does not come from this host's own page", remedy)
    }

    pub(super) fn not_json() -> Self {
        let remedy = "send the header Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a change is asked for in JSON", remedy)
    }

    pub(super) fn too_large(bytes_max: usize) -> Self {
        let error = format!("the body of a request may have {bytes_max} bytes at most");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send less at once")
    }

    pub(super) fn bad_input(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, "/api/v1/openapi.json tells what is taken")
    }

    pub(super) fn not_found(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, remedy)
    }

    pub(super) fn conflict(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error, remedy)
    }

    pub(super) fn only_these_methods() -> Self {
        let remedy = "/api/v1/openapi.json lists the methods";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "there is no such method of this path", remedy)
    }

    /// Too many ask at once.
    pub(super) fn busy() -> Self {
        let error = "others are being answered; their number is bounded so that messages go on";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, "ask again in a second")
    }

    pub(super) fn too_slow() -> Self {
        let remedy = "ask for less, as by a shorter since or a lower limit";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "the answer took too long", remedy)
    }

    /// Answers as the caller reads it.
    pub(super) fn answer(self, request: &Request) -> Response {
        let wants_page = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let is_page = wants_page.is_some_and(|accept| accept.contains("text/html"))
            && !request.uri().path().starts_with("/api/");
        if !is_page {
            return self.into_response();
        }
        if self.status == StatusCode::UNAUTHORIZED && request.method() == Method::GET {
            return (StatusCode::SEE_OTHER, [(LOCATION, "/sign-in")]).into_response();
        }
        pages::refused(&self)
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        let text = error.to_string();
        match error.meaning() {
            Meaning::Outage | Meaning::Retry => {
                let remedy = "ask again; /readyz tells whether Postgres answers";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text, remedy)
            }
            Meaning::BadData => Self::bad_input(text),
            Meaning::Operator(remedy) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text, remedy),
            Meaning::Bug => {
                tracing::error!(%error, "Answering a request at the admin port, by mailroom's own fault");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, text, "report it with the host's log")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.error, "remedy": self.remedy }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
