//! HTTP requests to hosts that the manifest grants.
//!
//! ```no_run
//! use mailroom_guest::{Message, Stop, http, json};
//!
//! # fn charge(message: &Message) -> Result<(), Stop> {
//! let response = http::Request::post("https://api.example.com/charges")
//!     .header("idempotency-key", &message.id)
//!     .json(&json!({ "cents": 4200 }))?
//!     .send()?;
//! if response.status == 503 {
//!     return Err(Stop::retry("the bank is busy").into());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! ```toml
//! [grants]
//! http = ["api.example.com"]   # or "api.example.com:8443", "http://internal:8080"
//! ```
//!
//! A request is no part of the message's transaction: it has happened even where the call does not complete, and is
//! repeated with the call. Send [`Message::id`](crate::Message::id) along, so that the other side can tell. Redirects
//! are not followed, and any status is a response.

#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "a test host answers where there are no imports")
)]
pub(crate) mod exchange;

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;

const BODY_BYTES_MAX: usize = 8 << 20;

/// A request to be sent. Waits for its response until the call's deadline unless [`Request::timeout`] is shorter.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
    body_bytes_max: usize,
}

impl Request {
    /// Any method: `Request::new("PATCH", "https://api.example.com/orders/7")`.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            body_bytes_max: BODY_BYTES_MAX,
        }
    }

    /// Asks for something.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// Sends something.
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header. The host refuses those that belong to the connection, such as `host`.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to JSON, and its content type.
    ///
    /// # Errors
    /// Where the value is not JSON, such as a map whose keys are no text.
    pub fn json(self, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Bounds the time from the sending to the last byte of the response.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Bounds the bytes of a response's body; 8 MiB by default.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Sends it and reads the whole response.
    ///
    /// # Errors
    /// Where there is none, see [`HttpError`]. Unless it was denied, the request may have arrived.
    pub fn send(&self) -> Result<Response, HttpError> {
        host::exchange(self)
    }
}

/// Response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Any, 404 and 500 too.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as text, with what is not valid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is not the JSON that `T` expects.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Reason why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL, the method or a header is none.
    #[error("the request to `{url}` cannot be sent: {reason}")]
    Invalid {
        /// The request's.
        url: String,
        /// Description of what is wrong with it.
        reason: String,
    },
    /// The manifest does not grant the host.
    #[error(
        "this handler may not send requests to `{host}`: add it to `http` under `[grants]` in its manifest"
    )]
    Denied {
        /// The host, with its port where the URL has one.
        host: String,
    },
    /// The host's name leads to an address that is not public, and that the operator does not allow.
    #[error("`{host}` has an address that is not public: the operator may allow it in `http.addresses`")]
    AddressDenied {
        /// Host of the request, with its port where the URL has one.
        host: String,
    },
    /// [`Request::timeout`], or the call's deadline, was too short.
    #[error("`{host}` did not answer in time")]
    Timeout {
        /// Host of the request, with its port where the URL has one.
        host: String,
    },
    /// The response's body is larger than [`Request::body_bytes_max`].
    #[error("the response of `{host}` has more than {limit} bytes")]
    TooLarge {
        /// Host of the request, with its port where the URL has one.
        host: String,
        /// Bound in bytes.
        limit: usize,
    },
    /// Anything else, by the name that WASI has for it.
    #[error("the request to `{host}` failed: {reason}")]
    Failed {
        /// Host of the request, with its port where the URL has one.
        host: String,
        /// Name that WASI has for it, for example `ErrorCode::ConnectionRefused`.
        reason: String,
    },
}
