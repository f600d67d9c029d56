//! A case: what a call is given, and what it is expected to do, in one JSON file.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::cli::failure::Failure;
use crate::cli::handler::given::{self, Fields, Given, Values};
use crate::config::Config;
use crate::handler::{Checked, HttpAnswer};

const KEYS: &str = "message, state, config, http, expect";
const HTTP_KEYS: &str = "request, status, headers, body";
/// Keys of `expect`. What is not named is not compared.
pub(super) const EXPECTABLE: [&str; 10] = [
    "outcome",
    "error",
    "code",
    "retry-after-ms",
    "retry-counts",
    "emitted",
    "state",
    "log",
    "fuel-max",
    "time-max-ms",
];

/// One file of a project's `cases`.
pub(super) struct Case {
    pub(super) file: PathBuf,
    /// The file's name without its ending.
    pub(super) name: String,
    message: Value,
    state: Value,
    config: Map<String, Value>,
    http: Value,
    /// `None` where nothing is expected yet.
    pub(super) expect: Option<Map<String, Value>>,
}

impl Case {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it, at once.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let mut fields = Fields::read(file)?;
        let message = fields.take("message");
        let message = fields.right("message", message, "is missing: what the handler is called with");
        let state = fields.take("state").unwrap_or(Value::Object(Map::new()));
        let config = fields.object("config", "must be an object of keys and their values");
        let http = fields.take("http").unwrap_or(Value::Array(Vec::new()));
        let expect = fields.take("expect");
        let expect = expect.map(|expect| {
            let object = expect.as_object().cloned();
            fields.right("expect", object, "must be an object").unwrap_or_default()
        });
        for key in expect.iter().flat_map(Map::keys).filter(|key| !EXPECTABLE.contains(&key.as_str())) {
            let wanted = format!("unknown key; there are {}", EXPECTABLE.join(", "));
            fields.right::<()>(&format!("expect.{key}"), None, &wanted);
        }
        for (key, value) in expect.iter().flatten() {
            if let Some(wanted) = unlike(key, value) {
                fields.right::<()>(&format!("expect.{key}"), None, wanted);
            }
        }
        fields.finish(KEYS)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            file: file.to_owned(),
            name,
            message: message.unwrap_or_default(),
            state,
            config,
            http,
            expect,
        })
    }

    /// The host's configuration with the case's values.
    pub(super) fn config(&self, config: &Config) -> Result<Config, Failure> {
        let mut config = config.clone();
        for (key, value) in &self.config {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let wrong = |why| Failure::Usage(format!("{}: config.{key}: {why}", self.file.display()));
            config.set_handler_value(key, value).map_err(wrong)?;
        }
        Ok(config)
    }

    /// The message, with what the handler subscribes to in place of what is left out.
    pub(super) fn message(&self, of: &Checked) -> Result<Given, Failure> {
        given::message(self.part("message", self.message.clone())?, of)
    }

    /// The state before the call.
    pub(super) fn state(&self) -> Result<Values, Failure> {
        given::state(self.part("state", self.state.clone())?)
    }

    /// Answers to HTTP requests, in their order.
    pub(super) fn answers(&self) -> Result<VecDeque<HttpAnswer>, Failure> {
        let list = || Failure::Usage(format!("{}: http: must be a list of answers", self.file.display()));
        let answers = self.http.as_array().ok_or_else(list)?;
        answers.iter().enumerate().map(|(place, answer)| self.answer(place, answer)).collect()
    }

    fn answer(&self, place: usize, answer: &Value) -> Result<HttpAnswer, Failure> {
        let mut fields = self.part(&format!("http[{place}]"), answer.clone())?;
        let request = fields.text("request");
        let request = request.filter(|request| is_request(request));
        let request =
            fields.right("request", request, "must be \"METHOD URL\", as GET https://api.example.com/orders");
        let request = request.unwrap_or_default();
        let status = fields.number("status", "must be from 100 to 999").unwrap_or(200_u16);
        let status = fields.right("status", StatusCode::from_u16(status).ok(), "must be from 100 to 999");
        let mut headers = HeaderMap::new();
        for (name, value) in fields.object("headers", "must be an object of names and values") {
            let name_of = HeaderName::try_from(&name).ok();
            let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
            let header =
                fields.right(&format!("headers.{name}"), name_of.zip(value), "must be a header and its text");
            headers.extend(header);
        }
        let body = fields.take("body").map(|body| given::json_or_bytes(&body));
        let body = body.map(|body| fields.right("body", body, "must be text, {\"base64\": …} or other JSON"));
        fields.finish(HTTP_KEYS)?;
        let body = Bytes::from(body.flatten().unwrap_or_default());
        Ok(HttpAnswer { request, status: status.unwrap_or_default(), headers, body })
    }

    fn part(&self, name: &str, value: Value) -> Result<Fields, Failure> {
        Fields::of(format!("{}: {name}", self.file.display()), value)
    }

    /// Writes the file anew with this expectation; what the call is given stays as it is written.
    ///
    /// # Errors
    /// Where the file cannot be read again or written.
    pub(super) fn bless(&self, expect: &Map<String, Value>) -> Result<(), Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::Host(format!("{}: {error}", self.file.display()));
        let text = std::fs::read_to_string(&self.file).map_err(|error| failed(&error))?;
        let given: Parts<'_> = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        let named = [
            ("message", Some(given.message)),
            ("state", given.state),
            ("config", given.config),
            ("http", given.http),
        ];
        let parts = named.into_iter().filter_map(|(name, part)| Some((name, part?.get().to_owned())));
        let expect = serde_json::to_string_pretty(expect).unwrap_or_default().replace('\n', "\n  ");
        let parts = parts.chain([("expect", expect)]);
        let parts: Vec<String> = parts.map(|(name, part)| format!("  \"{name}\": {part}")).collect();
        let text = format!("{{\n{}\n}}\n", parts.join(",\n"));
        std::fs::write(&self.file, text).map_err(|error| failed(&error))
    }
}

/// Parts of a case: what a call is given, as its author has written it.
#[derive(Deserialize)]
struct Parts<'t> {
    #[serde(borrow)]
    message: &'t RawValue,
    state: Option<&'t RawValue>,
    config: Option<&'t RawValue>,
    http: Option<&'t RawValue>,
}

/// Words for the ends of a call.
const OUTCOMES: [&str; 6] = ["completed", "retry", "skipped", "rejected", "failure", "fault"];

/// Returns what a part of an expectation has to be, where it is something else.
fn unlike(key: &str, value: &Value) -> Option<&'static str> {
    let (is_right, wanted) = match key {
        "outcome" => {
            let is_one = value.as_str().is_some_and(|outcome| OUTCOMES.contains(&outcome));
            (is_one, "must be completed, retry, skipped, rejected, failure or fault")
        }
        "error" | "code" => (value.is_string() || value.is_null(), "must be text, or null for none"),
        "retry-after-ms" => (value.is_u64() || value.is_null(), "must be milliseconds, or null for none"),
        "retry-counts" => (value.is_boolean() || value.is_null(), "must be true or false"),
        "emitted" | "log" => (value.is_array(), "must be a list"),
        "state" => (value.is_object(), "must be an object of keyed and shared"),
        "fuel-max" | "time-max-ms" => (value.is_u64(), "must be a whole number"),
        _ => return None,
    };
    (!is_right).then_some(wanted)
}

fn is_request(text: &str) -> bool {
    let Some((method, url)) = text.split_once(' ') else { return false };
    let is_method = Method::from_bytes(method.as_bytes()).is_ok() && method == method.to_uppercase();
    is_method && Uri::try_from(url).is_ok_and(|url| url.scheme().is_some() && url.host().is_some())
}

/// Time at which a case's clocks begin where its message has no time: 2026-01-01T00:00:00Z.
const CLOCK_START: Duration = Duration::from_secs(1_767_225_600);

/// Time at which the clocks of a call begin: a little after the message was produced.
pub(super) fn clock_start(given: &Given) -> Duration {
    let produced = u64::try_from(given.message.produced_at_ms).unwrap_or_default();
    if produced == 0 { CLOCK_START } else { Duration::from_millis(produced) + Duration::from_secs(1) }
}
