//! The kinds of settings: what each accepts and what it says when it does not.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::DateTime;

use super::declare::Key;
use super::given::Given;
use super::host::MIB;
use super::manifest::{Start, is_topic};
use super::name::BadName;
use super::reader::{Reader, Source};
use super::secret::MASK;

/// Values that a kind accepts: its name and bounds for the list of keys, and what a refusal says before the bounds.
struct Allowed {
    kind: &'static str,
    before: &'static str,
    bounds: String,
}

impl Allowed {
    fn range(kind: &'static str, before: &'static str, low: impl Display, high: impl Display) -> Self {
        Self { kind, before, bounds: format!("{low} to {high}") }
    }

    /// Only such values as `bounds` says.
    fn only(kind: &'static str, bounds: impl Into<String>) -> Self {
        Self { kind, before: "", bounds: bounds.into() }
    }

    /// Any value of the kind.
    fn any(kind: &'static str, before: &'static str) -> Self {
        Self { kind, before, bounds: String::new() }
    }
}

const TEXT: &str = "text that is not blank";

impl Reader {
    /// The common frame: declaration, default, refusal with what is allowed, note for `config show`.
    fn setting<T>(
        &mut self,
        key: Key<'_>,
        default: T,
        show: impl Fn(&T) -> String,
        read: impl Fn(&Given) -> Option<T>,
        allowed: &Allowed,
    ) -> T {
        self.declare(key, allowed.kind, &allowed.bounds, show(&default));
        let (value, source) = match self.take(key.name) {
            None => (default, Source::Default),
            Some(given) => match read(&given) {
                Some(value) => (value, given.source),
                None => {
                    let problem = format!("must be {}{}", allowed.before, allowed.bounds);
                    self.refuse(key.name, Some(given.shown()), problem);
                    (default, Source::Default)
                }
            },
        };
        self.note(key.name, show(&value), source);
        value
    }

    /// A whole number within bounds.
    pub(super) fn count<T>(&mut self, key: Key<'_>, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + Display + PartialOrd + Copy,
    {
        let allowed = Allowed::range("whole number", "a whole number from ", range.start(), range.end());
        let read = |given: &Given| given.count().filter(|count| range.contains(count));
        self.setting(key, default, T::to_string, read, &allowed)
    }

    /// Bytes within bounds.
    pub(super) fn size<T>(&mut self, key: Key<'_>, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<u64> + Into<u64> + PartialOrd + Copy,
    {
        let show = |bytes: &T| size((*bytes).into());
        let before = "a size such as \"16MiB\", from ";
        let allowed = Allowed::range("size", before, show(range.start()), show(range.end()));
        let read = |given: &Given| T::try_from(given.bytes()?).ok().filter(|bytes| range.contains(bytes));
        self.setting(key, default, show, read, &allowed)
    }

    /// Bytes of something in this process.
    pub(super) fn memory(&mut self, key: Key<'_>, default: u64) -> usize {
        usize::try_from(self.size(key, default, MIB..=65_536 * MIB)).unwrap_or(usize::MAX)
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        key: Key<'_>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let before = "a duration such as \"30s\", from ";
        let allowed = Allowed::range("duration", before, length(range.start()), length(range.end()));
        let read = |given: &Given| given.duration().filter(|length| range.contains(length));
        self.setting(key, default, length, read, &allowed)
    }

    /// A duration within bounds, or `"never"`, the default.
    pub(super) fn duration_or_never(
        &mut self,
        key: Key<'_>,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let show =
            |duration: &Option<Duration>| duration.as_ref().map_or_else(|| "\"never\"".to_owned(), length);
        let before = "\"never\", or a duration such as \"30d\", from ";
        let (low, high) = (length(range.start()), length(range.end()));
        let allowed = Allowed::range("\"never\" or duration", before, low, high);
        let read = |given: &Given| match given.text().map(str::trim) {
            Some("never") => Some(None),
            _ => given.duration().filter(|length| range.contains(length)).map(Some),
        };
        self.setting(key, None, show, read, &allowed)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: Key<'_>, default: bool) -> bool {
        let allowed = Allowed::any("true or false", "true or false");
        self.setting(key, default, bool::to_string, Given::flag, &allowed)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: Key<'_>,
        choices: &[(&str, T)],
        default: T,
    ) -> T {
        let word =
            |value: &T| choices.iter().find(|(_, choice)| choice == value).map_or("", |(word, _)| word);
        let read = |given: &Given| {
            choices.iter().find(|(word, _)| given.text() == Some(word)).map(|(_, choice)| *choice)
        };
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        let allowed = Allowed::only("word", words.join(" or "));
        self.setting(key, default, |value| format!("{:?}", word(value)), read, &allowed)
    }

    /// An address to listen at, or `"off"`.
    pub(super) fn listen(&mut self, key: Key<'_>, default: SocketAddr) -> Option<SocketAddr> {
        let show = |address: &Option<SocketAddr>| {
            address.map_or_else(|| "\"off\"".to_owned(), |address| format!("\"{address}\""))
        };
        let read = |given: &Given| match given.text()?.trim() {
            "off" => Some(None),
            text => text.parse().ok().map(Some),
        };
        let bounds = "\"off\", or an IP address and a port, such as \"127.0.0.1:9180\" or \"[::]:9180\"";
        self.setting(key, Some(default), show, read, &Allowed::only("address", bounds))
    }

    /// Reads where a topic is begun: one of two words, or a moment.
    pub(super) fn start(&mut self, key: Key<'_>) -> Start {
        let show = |start: &Start| match start {
            Start::Earliest => "\"earliest\"".to_owned(),
            Start::Latest => "\"latest\"".to_owned(),
            Start::At(moment) => format!("{:?}", moment.to_rfc3339()),
        };
        let read = |given: &Given| match given.moment_text()?.as_str() {
            "earliest" => Some(Start::Earliest),
            "latest" => Some(Start::Latest),
            text => Some(Start::At(DateTime::parse_from_rfc3339(text).ok()?.to_utc())),
        };
        let bounds = "\"earliest\", \"latest\" or a moment with its offset, such as \"2026-01-31T00:00:00Z\"";
        self.setting(key, Start::Earliest, show, read, &Allowed::only("word or moment", bounds))
    }

    /// A name of our own; `fallback` where the default is not a name either.
    pub(super) fn name<T: Display>(
        &mut self,
        key: Key<'_>,
        default: &str,
        parse: impl Fn(&str) -> Result<T, BadName>,
        bounds: &str,
        fallback: T,
    ) -> T {
        self.declare(key, "name", bounds, quoted(default));
        let given = self.take(key.name);
        let (text, source) = match &given {
            Some(given) => (given.text(), given.source),
            None => (Some(default), Source::Default),
        };
        let shown = given.as_ref().map_or_else(|| format!("{default:?}"), Given::shown);
        match text.ok_or(BadName("text")).and_then(parse) {
            Ok(name) => {
                self.note(key.name, quoted(&name.to_string()), source);
                name
            }
            Err(bad) => {
                self.refuse(key.name, Some(shown), bad.to_string());
                fallback
            }
        }
    }

    /// Text that is not blank, or nothing.
    pub(super) fn text(&mut self, key: Key<'_>, default: Option<&str>) -> Option<String> {
        let read = |given: &Given| {
            given.text().filter(|text| !text.trim().is_empty()).map(|text| Some(text.to_owned()))
        };
        let show = |text: &Option<String>| text.as_deref().map_or_else(String::new, quoted);
        self.setting(key, default.map(str::to_owned), show, read, &Allowed::any("text", TEXT))
    }

    /// Text that fits, or nothing; the verb and the bounds say what does.
    pub(super) fn text_that(
        &mut self,
        key: Key<'_>,
        default: Option<&str>,
        (verb, bounds): (&str, &'static str),
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.text(key.within(bounds), default)?;
        if !fits(&text) {
            self.refuse(key.name, Some(format!("{text:?}")), format!("must {verb} {bounds}"));
        }
        Some(text)
    }

    /// The name of a Kafka topic, or nothing.
    pub(super) fn topic(&mut self, key: Key<'_>, default: Option<&str>) -> Option<Arc<str>> {
        let bounds = "the name of a Kafka topic: 1 to 249 letters, digits, \".\", \"_\" and \"-\"";
        self.text_that(key, default, ("be", bounds), is_topic).map(Arc::from)
    }

    /// The path of a file or folder.
    pub(super) fn path(&mut self, key: Key<'_>, default: &str) -> PathBuf {
        PathBuf::from(self.text(key, Some(default)).unwrap_or_default())
    }

    /// Text that nothing shows.
    pub(super) fn secret(&mut self, key: Key<'_>) -> Option<String> {
        self.declare(key, "secret", "", String::new());
        let given = self.take(key.name)?;
        match given.text().filter(|text| !text.trim().is_empty()) {
            Some(text) => {
                self.note(key.name, MASK.to_owned(), given.source);
                Some(text.to_owned())
            }
            None => {
                self.refuse(key.name, None, format!("must be {TEXT}"));
                None
            }
        }
    }

    /// A list of texts, each as `fits` wants it; empty where nobody says anything.
    pub(super) fn list(&mut self, key: Key<'_>, fits: impl Fn(&str) -> bool, bounds: &str) -> Vec<String> {
        let read = |given: &Given| given.list().filter(|texts| texts.iter().all(|text| fits(text)));
        let show = |texts: &Vec<String>| format!("{texts:?}");
        let allowed = Allowed { kind: "list", before: "a list of ", bounds: bounds.to_owned() };
        self.setting(key, Vec::new(), show, read, &allowed)
    }

    /// A list of what can be read from texts.
    pub(super) fn list_of<T>(
        &mut self,
        key: Key<'_>,
        parse: impl Fn(&str) -> Option<T>,
        bounds: &str,
    ) -> Vec<T> {
        let texts = self.list(key, |text| parse(text).is_some(), bounds);
        texts.iter().filter_map(|text| parse(text)).collect()
    }
}

/// A text as TOML writes it, in one line.
fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        _ if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

fn length(duration: &Duration) -> String {
    format!("\"{}\"", humantime::format_duration(*duration))
}

/// Bytes in a larger unit where nothing is lost by it.
fn size(bytes: u64) -> String {
    let rounded = ByteSize(bytes).to_string();
    let exact = rounded.parse() == Ok(ByteSize(bytes));
    if exact { format!("\"{rounded}\"") } else { format!("\"{bytes}B\"") }
}
