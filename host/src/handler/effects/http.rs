//! HTTP requests: granted by host, counted, and told of. What they cause lies outside of the transaction, and may
//! happen again.
//!
//! Words for people name where a request goes and never its path or query, which may hold secrets.

use std::future::ready;
use std::sync::{Arc, OnceLock, Weak};

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::{Asked, Effects, Phase, refused};
use crate::config::Origin;
use crate::handler::guest::timeout_at;
use crate::handler::http::{Client, Failed, Patience};
use crate::handler::output::Output;
use crate::handler::rehearsal::HttpAnswer;

/// Length up to which the journal shows a URL.
const URL_CHARS_MAX: usize = 300;
const METHOD_CHARS_MAX: usize = 20;
/// Bytes of a request's body that a guest may have written and the network not yet taken, twice.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The requests of one call.
#[derive(Default)]
pub(super) struct Requests {
    client: Option<Arc<Client>>,
    output: Option<Output>,
    sent: Vec<Sent>,
    refused: Arc<OnceLock<String>>,
}

/// A request that was let through.
struct Sent {
    /// Method and URL, for the log.
    brief: String,
    answer: Arc<OnceLock<String>>,
    /// Alive until it has failed or its response is read.
    open: Weak<()>,
}

/// Record that a request leaves behind when it ends, wherever the call is by then.
#[derive(Clone)]
struct Told {
    brief: String,
    answer: Arc<OnceLock<String>>,
    refused: Arc<OnceLock<String>>,
    output: Option<Output>,
}

/// Way in which a request that is let through is answered.
enum Way {
    /// Client that sends it to its host.
    Network(Arc<Client>),
    /// Answer of the test that makes the call.
    Rehearsed(HttpAnswer),
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send>;

impl Requests {
    pub(super) fn by(self, client: Option<Arc<Client>>) -> Self {
        Self { client, ..self }
    }

    pub(super) fn tell_to(&mut self, output: Output) {
        self.output = Some(output);
    }

    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.get().map(String::as_str)
    }

    pub(super) fn awaited(&self) -> Option<String> {
        let Sent { brief, answer, .. } = self.sent.iter().find(|sent| sent.open.strong_count() > 0)?;
        let part = if answer.get().is_some() { "the rest of the response" } else { "the response" };
        Some(format!("{part} to {brief}"))
    }
}

impl WasiHttpHooks for Effects {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _io: Io,
    ) -> Sending {
        let brief = brief(&request);
        match self.let_through(&request) {
            Ok(Way::Rehearsed(answer)) => {
                let (told, _open) = self.sending(brief, &request);
                told.end(Ok(answer.status.to_string()));
                let body = Full::new(answer.body).map_err(|never| match never {}).boxed_unsync();
                let mut response = Response::new(body);
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                Box::new(ready(Ok((response, Box::new(ready(Ok(()))) as Io))))
            }
            Ok(Way::Network(client)) => {
                let (told, open) = self.sending(brief, &request);
                // The call's end comes before that of its requests, so that it is told what it waited for.
                let patience = Patience::new(options, timeout_at(timeout_at(self.deadline)));
                Box::new(async move {
                    let sent = client.send(request, patience).await;
                    told.end(sent.as_ref().map(|response| response.status().to_string()));
                    let response = sent.map_err(|failed| failed.code)?;
                    // The body has it now, and lets it go with itself.
                    let body = |body: WasiBody| {
                        body.map_frame(move |frame| {
                            let _open = &open;
                            frame
                        })
                        .boxed_unsync()
                    };
                    Ok((response.map(body), Box::new(ready(Ok(()))) as Io))
                })
            }
            Err(failed) => {
                let told = self.told(brief, Arc::default());
                told.end(Err(&failed));
                let grant = matches!(failed.code, Error::HttpRequestDenied).then_some("grants.http");
                self.note(|| refused(shown(&request), grant, &failed.why));
                Box::new(ready(Err(failed.code)))
            }
        }
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_BYTES_MAX
    }
}

impl Effects {
    /// Returns how this request is answered, or why it is not.
    fn let_through(&mut self, request: &Request<WasiBody>) -> Result<Way, Failed> {
        let denied = |why: &str| Failed::new(Error::HttpRequestDenied, why.to_owned());
        if self.phase == Phase::Subscribing {
            return Err(denied("subscriptions() has no effects; send requests in handle()"));
        }
        if request.method() == Method::CONNECT {
            let why = "CONNECT makes a tunnel, which is no request";
            return Err(Failed::new(Error::HttpRequestMethodInvalid, why.to_owned()));
        }
        let Some(origin) = Origin::of(request.uri()) else {
            let why = "a request needs http:// or https:// with a host, and may have a port beside it";
            return Err(Failed::new(Error::HttpRequestUriInvalid, why.to_owned()));
        };
        if !self.manifest.grants.http.contains(&origin) {
            return Err(denied(&format!(
                "the handler may not send requests there; add it to its manifest: grants.http = [\"{origin}\"]"
            )));
        }
        let most = self.manifest.limits.http_requests;
        if usize::try_from(most).is_ok_and(|most| self.http.sent.len() >= most) {
            let why = format!("a call may send {most} requests (limits.http-requests)");
            return Err(Failed::new(Error::InternalError(Some(why.clone())), why));
        }
        if let Some(rehearsal) = &mut self.rehearsal {
            let asked = format!("{} {}", request.method(), request.uri());
            let answer = rehearsal.answers.pop_front_if(|answer| answer.request == asked);
            return answer.map(Way::Rehearsed).ok_or_else(|| {
                let next = rehearsal
                    .answers
                    .front()
                    .map(|answer| format!("its next answer is to {}", answer.request));
                let next = next.unwrap_or_else(|| "it has no answers left".to_owned());
                let why = format!("the case does not answer {asked}: {next}");
                Failed::new(Error::InternalError(Some(why.clone())), why)
            });
        }
        self.http.client.clone().map(Way::Network).ok_or_else(|| {
            // No code of a denial: SDKs tell their reader to grant what is granted.
            let why = "it is granted, and `handler invoke` sends requests with --http only".to_owned();
            Failed::new(Error::InternalError(Some(why.clone())), why)
        })
    }

    fn sending(&mut self, brief: String, request: &Request<WasiBody>) -> (Told, Arc<()>) {
        let (answer, open) = (Arc::default(), Arc::new(()));
        let told = self.told(brief.clone(), Arc::clone(&answer));
        self.note(|| Asked::Requested { request: shown(request), answer: Arc::clone(&answer) });
        self.http.sent.push(Sent { brief, answer, open: Arc::downgrade(&open) });
        (told, open)
    }

    fn told(&self, brief: String, answer: Arc<OnceLock<String>>) -> Told {
        let (refused, output) = (Arc::clone(&self.http.refused), self.http.output.clone());
        Told { brief, answer, refused, output }
    }
}

impl Told {
    /// A failure is told where the guest's own words are: the code that it gets has few.
    fn end(&self, ended: Result<String, &Failed>) {
        let answer = match ended {
            Ok(status) => status,
            Err(failed) => {
                let words = format!("{}: {}", self.brief, failed.why);
                if let Some(output) = &self.output {
                    output.tell(&words);
                }
                if failed.is_refusal() {
                    self.refused.get_or_init(|| words);
                }
                failed.why.clone()
            }
        };
        self.answer.get_or_init(|| answer);
    }
}

fn brief(request: &Request<WasiBody>) -> String {
    let origin = Origin::of(request.uri()).map_or_else(|| "request".to_owned(), |origin| origin.to_string());
    format!("{} {origin}", method(request))
}

/// A guest may make one up.
fn method(request: &Request<WasiBody>) -> &str {
    let method = request.method().as_str();
    method.get(..METHOD_CHARS_MAX).unwrap_or(method)
}

/// Describes a request for the author who watches.
fn shown(request: &Request<WasiBody>) -> String {
    let uri = request.uri();
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let query = if uri.query().is_some() { "?…" } else { "" };
    let url = format!("{scheme}://{}{}{query}", host.unwrap_or_default(), uri.path());
    format!("{} {}", method(request), url.chars().take(URL_CHARS_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::config::Manifest;
    use crate::handler::tests::config;
    use crate::settle::StateView;

    fn asked(effects: &mut Effects, method: &str, url: &str) -> String {
        let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::builder().method(method).uri(url).body(body).unwrap();
        effects.let_through(&request).err().map_or_else(|| "sent".to_owned(), |failed| failed.why)
    }

    #[test]
    fn only_what_is_granted_would_be_sent_and_nothing_while_subscribing() {
        let text = "grants.http = [\"api.example.com\", \"http://internal:8080\"]\nlimits.http-requests = 1";
        let manifest = Arc::new(Manifest::parse(text, &config()).unwrap());
        let nothing = StateView::new(None, "".into(), None);
        let mut handling = Effects::new(Arc::clone(&manifest), Uuid::nil(), Instant::now(), nothing);
        let mut subscribing = Effects::denied(manifest, Instant::now());
        let granted = "https://api.example.com/x";

        assert!(asked(&mut subscribing, "GET", granted).contains("subscriptions() has no effects"));
        for url in [granted, "https://API.example.com:443", "http://internal:8080/"] {
            assert!(asked(&mut handling, "POST", url).contains("it is granted"), "{url}");
        }
        for (url, grant) in [
            ("http://api.example.com/", "http://api.example.com"),
            ("https://api.example.com:8443/", "api.example.com:8443"),
            ("https://a.api.example.com/", "a.api.example.com"),
            ("http://169.254.169.254/latest", "http://169.254.169.254"),
        ] {
            let why = asked(&mut handling, "GET", url);
            assert!(why.ends_with(&format!("grants.http = [\"{grant}\"]")), "{url}: {why}");
        }
        assert!(asked(&mut handling, "GET", "https://user@api.example.com/").contains("a request needs"));
        assert!(asked(&mut handling, "CONNECT", granted).contains("makes a tunnel"));
        handling.http.sent.push(Sent { brief: String::new(), answer: Arc::default(), open: Weak::new() });
        assert!(asked(&mut handling, "GET", granted).contains("limits.http-requests"));
    }
}
