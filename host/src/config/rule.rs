//! The kinds of settings: what each accepts and what it says when it does not.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::DateTime;

use super::given::Given;
use super::manifest::Start;
use super::name::BadName;
use super::reader::{Reader, Source};
use super::secret::MASK;

impl Reader {
    /// The common frame: default, refusal with what is allowed, note for `config show`.
    fn setting<T>(
        &mut self,
        key: &str,
        default: T,
        show: impl Fn(&T) -> String,
        read: impl Fn(&Given) -> Option<T>,
        allowed: impl FnOnce() -> String,
    ) -> T {
        let (value, source) = match self.take(key) {
            None => (default, Source::Default),
            Some(given) => match read(&given) {
                Some(value) => (value, given.source),
                None => {
                    self.refuse(key, Some(given.shown()), allowed());
                    (default, Source::Default)
                }
            },
        };
        self.note(key, show(&value), source);
        value
    }

    /// A whole number within bounds.
    pub(super) fn count<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + Display + PartialOrd + Copy,
    {
        let allowed = || format!("must be a whole number from {} to {}", range.start(), range.end());
        self.setting(
            key,
            default,
            T::to_string,
            |given| given.count().filter(|count| range.contains(count)),
            allowed,
        )
    }

    /// Bytes within bounds.
    pub(super) fn size<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<u64> + Into<u64> + PartialOrd + Copy,
    {
        let show = |bytes: T| size(bytes.into());
        let allowed = || {
            format!(
                "must be a size such as \"16MiB\", from {} to {}",
                show(*range.start()),
                show(*range.end())
            )
        };
        let read = |given: &Given| T::try_from(given.bytes()?).ok().filter(|bytes| range.contains(bytes));
        self.setting(key, default, |bytes| show(*bytes), read, allowed)
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let show = |duration: &Duration| format!("\"{}\"", humantime::format_duration(*duration));
        let allowed = || {
            format!(
                "must be a duration such as \"30s\", from {} to {}",
                show(range.start()),
                show(range.end())
            )
        };
        self.setting(
            key,
            default,
            show,
            |given| given.duration().filter(|length| range.contains(length)),
            allowed,
        )
    }

    /// A duration within bounds, or `"never"`, the default.
    pub(super) fn duration_or_never(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = |duration: &Duration| format!("\"{}\"", humantime::format_duration(*duration));
        let show =
            |duration: &Option<Duration>| duration.as_ref().map_or_else(|| "\"never\"".to_owned(), text);
        let read = |given: &Given| match given.text().map(str::trim) {
            Some("never") => Some(None),
            _ => given.duration().filter(|length| range.contains(length)).map(Some),
        };
        let allowed = || {
            format!(
                "must be \"never\", or a duration such as \"30d\", from {} to {}",
                text(range.start()),
                text(range.end())
            )
        };
        self.setting(key, None, show, read, allowed)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        self.setting(key, default, bool::to_string, Given::flag, || "must be true or false".to_owned())
    }

    /// One of a few words; the first is the default.
    pub(super) fn choice<T: Copy + PartialEq>(&mut self, key: &str, choices: &[(&str, T)], default: T) -> T {
        let word =
            |value: &T| choices.iter().find(|(_, choice)| choice == value).map_or("", |(word, _)| word);
        let read = |given: &Given| {
            choices.iter().find(|(word, _)| given.text() == Some(word)).map(|(_, choice)| *choice)
        };
        let allowed = || {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("must be {}", words.join(" or "))
        };
        self.setting(key, default, |value| format!("{:?}", word(value)), read, allowed)
    }

    /// An address to listen at, or `"off"`.
    pub(super) fn listen(&mut self, key: &str, default: SocketAddr) -> Option<SocketAddr> {
        let show = |address: &Option<SocketAddr>| {
            address.map_or_else(|| "\"off\"".to_owned(), |address| format!("\"{address}\""))
        };
        let read = |given: &Given| match given.text()?.trim() {
            "off" => Some(None),
            text => text.parse().ok().map(Some),
        };
        let allowed = || {
            "must be \"off\", or an IP address and a port, such as \"127.0.0.1:9180\" or \"[::]:9180\""
                .to_owned()
        };
        self.setting(key, Some(default), show, read, allowed)
    }

    /// Reads where a topic is begun: one of two words, or a moment.
    pub(super) fn start(&mut self, key: &str) -> Start {
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
        let allowed = || {
            "must be \"earliest\", \"latest\" or a moment with its offset, such as \"2026-01-31T00:00:00Z\""
                .to_owned()
        };
        self.setting(key, Start::Earliest, show, read, allowed)
    }

    /// A name of our own; `None` where the default is not a name either.
    pub(super) fn name<T: Display>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, BadName>,
    ) -> Option<T> {
        let given = self.take(key);
        let (text, source) = match &given {
            Some(given) => (given.text(), given.source),
            None => (Some(default), Source::Default),
        };
        let shown = given.as_ref().map_or_else(|| format!("{default:?}"), Given::shown);
        match text.ok_or(BadName("text")).and_then(parse) {
            Ok(name) => {
                self.note(key, quoted(&name.to_string()), source);
                Some(name)
            }
            Err(bad) => {
                self.refuse(key, Some(shown), bad.to_string());
                None
            }
        }
    }

    /// Text that is not blank, or nothing.
    pub(super) fn text(&mut self, key: &str, default: Option<&str>) -> Option<String> {
        let read = |given: &Given| {
            given.text().filter(|text| !text.trim().is_empty()).map(|text| Some(text.to_owned()))
        };
        let show = |text: &Option<String>| text.as_deref().map_or_else(String::new, quoted);
        self.setting(key, default.map(str::to_owned), show, read, || {
            "must be text that is not blank".to_owned()
        })
    }

    /// Text that nothing shows.
    pub(super) fn secret(&mut self, key: &str) -> Option<String> {
        let given = self.take(key)?;
        match given.text().filter(|text| !text.trim().is_empty()) {
            Some(text) => {
                self.note(key, MASK.to_owned(), given.source);
                Some(text.to_owned())
            }
            None => {
                self.refuse(key, None, "must be text that is not blank".to_owned());
                None
            }
        }
    }

    /// A list of texts, each as `fits` wants it; empty where nobody says anything.
    pub(super) fn list(&mut self, key: &str, fits: fn(&str) -> bool, allowed: &str) -> Vec<String> {
        let read = |given: &Given| given.list().filter(|texts| texts.iter().all(|text| fits(text)));
        let show = |texts: &Vec<String>| format!("{texts:?}");
        self.setting(key, Vec::new(), show, read, || format!("must be a list of {allowed}"))
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

/// Bytes in a larger unit where nothing is lost by it.
fn size(bytes: u64) -> String {
    let rounded = ByteSize(bytes).to_string();
    let exact = rounded.parse() == Ok(ByteSize(bytes));
    if exact { format!("\"{rounded}\"") } else { format!("\"{bytes}B\"") }
}
