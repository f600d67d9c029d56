//! A request over `wasi:http`, from its parts to the last byte of its response.

use std::time::Duration;

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::StreamError;

use super::{HttpError, Request, Response};

const READ_BYTES_MAX: u64 = 64 << 10;

/// A URL in the parts that the interface takes.
pub(crate) struct Target<'u> {
    scheme: Scheme,
    pub(crate) authority: &'u str,
    path: String,
}

/// The time that is left, which never ends where nobody set one.
struct Timer(Option<Pollable>);

pub(crate) fn exchange(request: &Request) -> Result<Response, HttpError> {
    let target = target(request)?;
    let host = target.authority.to_owned();
    let failed = |code: ErrorCode| failed(&host, &code);
    let timer = Timer(request.timeout.map(|timeout| subscribe_duration(nanoseconds(timeout))));
    let outgoing = outgoing(request, &target)?;
    let body = if request.body.is_empty() { None } else { outgoing.body().ok() };
    let answer = handle(outgoing, None).map_err(failed)?;
    if let Some(body) = body {
        send_body(body, &request.body, &timer, &host)?;
    }
    loop {
        match answer.get() {
            Some(Ok(response)) => return read(&response.map_err(failed)?, request, &timer, &host),
            Some(Err(())) => return Err(failed(ErrorCode::InternalError(None))),
            None => timer.wait(&answer.subscribe(), &host)?,
        }
    }
}

fn outgoing(request: &Request, target: &Target<'_>) -> Result<OutgoingRequest, HttpError> {
    let mut headers = request.headers.clone();
    // Without it the body would come in chunks, which not every server takes.
    if !request.body.is_empty() {
        headers.push(("content-length".to_owned(), request.body.len().to_string().into_bytes()));
    }
    let fields = Fields::from_list(&headers).map_err(|error| invalid(request, &format!("{error:?}")))?;
    let outgoing = OutgoingRequest::new(fields);
    let refused = |what: &'static str| move |()| invalid(request, what);
    outgoing.set_method(&method(&request.method)).map_err(refused("its method is none"))?;
    outgoing.set_scheme(Some(&target.scheme)).map_err(refused("its scheme is none"))?;
    outgoing.set_authority(Some(target.authority)).map_err(refused("its host is none"))?;
    outgoing.set_path_with_query(Some(&target.path)).map_err(refused("its path is none"))?;
    Ok(outgoing)
}

/// A server may answer before it has read all of it: what it does not take is no error.
fn send_body(body: OutgoingBody, bytes: &[u8], timer: &Timer, host: &str) -> Result<(), HttpError> {
    if let Ok(stream) = body.write() {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = match stream.check_write() {
                Ok(room) => usize::try_from(room).unwrap_or(usize::MAX),
                Err(_) => return Ok(()),
            };
            let (now, later) = rest.split_at(room.min(rest.len()));
            if now.is_empty() {
                timer.wait(&stream.subscribe(), host)?;
            } else if stream.write(now).is_err() {
                return Ok(());
            }
            rest = later;
        }
    }
    OutgoingBody::finish(body, None).map_err(|code| failed(host, &code))
}

fn read(
    response: &IncomingResponse,
    request: &Request,
    timer: &Timer,
    host: &str,
) -> Result<Response, HttpError> {
    let status = response.status();
    let headers = response.headers().entries();
    let mut body = Vec::new();
    let incoming: Option<IncomingBody> = response.consume().ok();
    if let Some(stream) = incoming.as_ref().and_then(|incoming| incoming.stream().ok()) {
        loop {
            match stream.read(READ_BYTES_MAX) {
                Ok(bytes) if bytes.is_empty() => timer.wait(&stream.subscribe(), host)?,
                Ok(bytes) => body.extend(bytes),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => {
                    let code = wasip2::http::types::http_error_code(&error);
                    return Err(failed(host, &code.unwrap_or(ErrorCode::HttpResponseIncomplete)));
                }
            }
            if body.len() > request.body_bytes_max {
                return Err(HttpError::TooLarge { host: host.to_owned(), limit: request.body_bytes_max });
            }
        }
    }
    Ok(Response { status, headers, body })
}

impl Timer {
    fn wait(&self, on: &Pollable, host: &str) -> Result<(), HttpError> {
        match &self.0 {
            None => on.block(),
            Some(end) => {
                poll(&[on, end]);
                if end.ready() && !on.ready() {
                    return Err(HttpError::Timeout { host: host.to_owned() });
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn target(request: &Request) -> Result<Target<'_>, HttpError> {
    split(&request.url).ok_or_else(|| invalid(request, "it is no http or https URL"))
}

fn split(url: &str) -> Option<Target<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return None,
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (!authority.is_empty()).then_some(Target { scheme, authority, path })
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn invalid(request: &Request, reason: &str) -> HttpError {
    HttpError::Invalid { url: request.url.clone(), reason: reason.to_owned() }
}

fn failed(host: &str, code: &ErrorCode) -> HttpError {
    let host = host.to_owned();
    let is_late = matches!(
        code,
        ErrorCode::ConnectionReadTimeout | ErrorCode::ConnectionTimeout | ErrorCode::HttpResponseTimeout
    );
    if matches!(code, ErrorCode::HttpRequestDenied) {
        HttpError::Denied { host }
    } else if matches!(code, ErrorCode::DestinationIpProhibited) {
        HttpError::AddressDenied { host }
    } else if is_late {
        HttpError::Timeout { host }
    } else if let ErrorCode::InternalError(Some(reason)) = code {
        HttpError::Failed { host, reason: reason.clone() }
    } else {
        HttpError::Failed { host, reason: format!("{code:?}") }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_falls_into_its_parts() {
        for (url, parts) in [
            ("https://api.example.com", Some(("api.example.com", "/"))),
            ("https://api.example.com:8443/a/b?c=d#e", Some(("api.example.com:8443", "/a/b?c=d"))),
            ("http://[::1]:80?x", Some(("[::1]:80", "/?x"))),
            ("https://user@host/", Some(("user@host", "/"))),
            ("ftp://host/", None),
            ("host/path", None),
            ("https:///path", None),
        ] {
            let found = split(url).map(|target| (target.authority.to_owned(), target.path));
            assert_eq!(found, parts.map(|(host, path)| (host.to_owned(), path.to_owned())), "{url}");
        }
    }
}
