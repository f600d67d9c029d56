//! Errors of requests: a code for the guest, and words for whoever reads why a call failed.

use std::error::Error as Cause;
use std::io;

use hyper_util::client::legacy;
use wasmtime_wasi_http::Error;

use super::connect::{Prohibited, TooSlow};

/// A request that has no response.
#[derive(Debug)]
pub(in crate::handler) struct Failed {
    pub(in crate::handler) code: Error,
    pub(in crate::handler) why: String,
}

impl Failed {
    pub(in crate::handler) fn new(code: Error, why: String) -> Self {
        Self { code, why }
    }

    /// Tells whether the host would not, rather than could not.
    pub(in crate::handler) fn is_refusal(&self) -> bool {
        matches!(
            self.code,
            Error::HttpRequestDenied | Error::DestinationIpProhibited | Error::InternalError(_)
        )
    }
}

/// Makes the error of a request up to its response's head, which may have so many bytes.
pub(super) fn of_request(failed: &legacy::Error, head_max: u32) -> Failed {
    let causes: Vec<&(dyn Cause + 'static)> = causes(failed).collect();
    let why = match find::<Prohibited>(&causes) {
        Some(prohibited) => prohibited.to_string(),
        None => causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(": "),
    };
    let code = if find::<Prohibited>(&causes).is_some() {
        Error::DestinationIpProhibited
    } else if find::<TooSlow>(&causes).is_some() {
        Error::ConnectionTimeout
    } else if failed.is_connect() {
        of_connecting(&causes, &why)
    } else {
        find::<hyper::Error>(&causes)
            .map_or(Error::HttpProtocolError, |failed| self::of_hyper(failed, head_max))
    };
    Failed { code, why }
}

/// Libraries tell these apart by their words only.
fn of_connecting(causes: &[&(dyn Cause + 'static)], why: &str) -> Error {
    let kind = find::<io::Error>(causes).map(io::Error::kind);
    if why.contains("dns error") {
        Error::DnsError { rcode: Some(why.to_owned()), info_code: None }
    } else if why.contains("certificate") {
        Error::TlsCertificateError
    } else if kind == Some(io::ErrorKind::ConnectionRefused) {
        Error::ConnectionRefused
    } else if kind == Some(io::ErrorKind::TimedOut) {
        Error::ConnectionTimeout
    } else if why.contains("tcp connect error") {
        Error::DestinationUnavailable
    } else {
        Error::TlsProtocolError
    }
}

/// Returns the code of an error while a request or a body is under way.
pub(super) fn of_hyper(failed: &hyper::Error, head_max: u32) -> Error {
    if failed.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(Some(head_max))
    } else if failed.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if failed.is_timeout() {
        Error::HttpResponseTimeout
    } else if failed.is_parse() || failed.is_user() {
        Error::HttpProtocolError
    } else {
        Error::ConnectionTerminated
    }
}

/// Walks the causes of an error, from the one that lies next.
pub(super) fn causes<'e>(
    error: &'e (dyn Cause + 'static),
) -> impl Iterator<Item = &'e (dyn Cause + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

fn find<'c, T: Cause + 'static>(causes: &[&'c (dyn Cause + 'static)]) -> Option<&'c T> {
    causes.iter().find_map(|cause| cause.downcast_ref())
}
