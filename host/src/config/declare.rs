//! Declarations of settings: one line for a setting's type, key, default and bounds, below the sentence that says what it
//! does. The structs, the parser, `config show`, `config keys` and the tables of `docs/configuration.md` are made of them.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// A key, and what is said about its setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) name: &'a str,
    meaning: &'a str,
    default: Option<&'static str>,
    bounds: Option<&'static str>,
}

impl<'a> Key<'a> {
    pub(super) fn new(name: &'a str, meaning: &'a str) -> Self {
        Self { name, meaning, default: None, bounds: None }
    }

    /// Says in words what no value can say: a default that another machine or setting decides.
    pub(super) fn by_default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// Says what values there are, where the kind of the setting does not.
    pub(super) fn within(self, bounds: &'static str) -> Self {
        Self { bounds: Some(bounds), ..self }
    }

    /// Gives the entry of the list of keys.
    pub(super) fn declaration(self, kind: &'static str, bounds: &str, default: String) -> Declaration {
        let default = match self.default {
            Some(words) => ByDefault::Words(words),
            None if default.is_empty() => ByDefault::Words("none"),
            None => ByDefault::Value(default),
        };
        Declaration {
            key: self.name.to_owned(),
            kind,
            bounds: self.bounds.unwrap_or(bounds).to_owned(),
            default,
            meaning: self.meaning.trim().to_owned(),
        }
    }
}

/// A setting as it is declared, for `config keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Declaration {
    /// The key, for example `host.expiry`.
    pub key: String,
    /// The name of its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The values of the type that it takes; empty where it takes all.
    pub bounds: String,
    /// The value that holds where nobody sets one.
    pub default: ByDefault,
    /// Sentences that say what it does.
    pub meaning: String,
}

/// The default of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ByDefault {
    /// A value, as a file has it.
    Value(String),
    /// Words, where there is no one value.
    Words(&'static str),
}

impl fmt::Display for ByDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => f.write_str(value),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// Settings as a table in Markdown.
#[must_use]
pub fn markdown(settings: &[Declaration]) -> String {
    let mut table = "| Key | Type | Default | Meaning |\n|---|---|---|---|\n".to_owned();
    for Declaration { key, kind, bounds, default, meaning } in settings {
        let separator = if bounds.is_empty() { "" } else { ", " };
        let default = match default {
            ByDefault::Value(value) => format!("`{value}`"),
            ByDefault::Words(words) => (*words).to_owned(),
        };
        // Writing to a text cannot fail.
        writeln!(table, "| `{key}` | {kind}{separator}{bounds} | {default} | {meaning} |")
            .unwrap_or_default();
    }
    table
}

/// Makes a section's struct, and `read`, which takes its settings out of a reader in the order of their declarations:
///
/// ```text
/// settings! {
///     /// The section.
///     pub struct Host(reader) {
///         /// Sentences that say what the setting does.
///         field: Type = "key" => "its default in words", kind(default, bounds);
///     } and {
///         /// A value that is no setting; the settings are there by their names.
///         field: Type = value;
///     }
/// }
/// ```
///
/// A kind is a method of `Reader`. Words for the default, more arguments than the reader, and `and` are there where they
/// are needed.
macro_rules! settings {
    (
        $(#[$about:meta])*
        pub struct $Section:ident($reader:ident $(, $given:ident: $Given:ty)*) {
            $(
                $(#[doc = $meaning:literal])+
                $(#[serde($($serde:tt)+)])?
                $field:ident: $Type:ty = $key:expr $(=> $default:literal)?, $kind:ident($($argument:expr),*);
            )+
        }
        $(and {
            $(
                $(#[doc = $told:literal])+
                $other:ident: $Other:ty = $value:expr;
            )+
        })?
    ) => {
        $(#[$about])*
        pub struct $Section {
            $(
                $(#[doc = $meaning])+
                $(#[serde($($serde)+)])?
                pub $field: $Type,
            )+
            $($(
                $(#[doc = $told])+
                pub $other: $Other,
            )+)?
        }

        impl $Section {
            pub(in crate::config) fn read($reader: &mut $crate::config::reader::Reader $(, $given: $Given)*) -> Self {
                $(
                    let $field: $Type = $reader.$kind(
                        $crate::config::declare::Key::new($key, concat!($($meaning),+))$(.by_default($default))?,
                        $($argument),*
                    );
                )+
                $($(let $other: $Other = $value;)+)?
                Self { $($field,)+ $($($other,)+)? }
            }
        }
    };
}

pub(super) use settings;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::{Config, Manifest, Servers, Setting, Source};
    use super::*;

    #[test]
    fn each_setting_is_declared_once_with_a_sentence() {
        let (of_host, of_manifest) = (Config::declared(), Manifest::declared());
        for declared in [&of_host, &of_manifest] {
            let keys: BTreeSet<&str> = declared.iter().map(|setting| setting.key.as_str()).collect();
            assert_eq!(keys.len(), declared.len(), "{declared:#?}");
            for Declaration { key, kind, meaning, .. } in declared {
                assert!(!kind.is_empty() && meaning.ends_with('.'), "{key}: {kind}, {meaning:?}");
            }
        }
        let shown = Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().1;
        let declared = |key: &str| of_host.iter().find(|setting| setting.key == key).map(|of| &of.default);
        for Setting { key, value, source } in shown {
            let is_default = matches!(declared(&key), Some(ByDefault::Value(default)) if *default == value);
            let is_told = matches!(declared(&key), Some(ByDefault::Words(_)));
            assert!(
                is_default && source == Source::Default || is_told,
                "{key} = {value}: {:?}",
                declared(&key)
            );
        }
        let of_handler = |key: &str| of_manifest.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!(of_handler("limits.fuel").default, ByDefault::Words("the host's"));
        assert_eq!(
            of_handler("limits.fuel").meaning,
            of_host.iter().find(|of| of.key == "limits.fuel").unwrap().meaning
        );
    }

    #[test]
    fn the_page_of_configuration_has_the_tables_that_the_declarations_make() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let page = std::fs::read_to_string(&file).unwrap();
        let of_host = with_table(&page, "config keys", &Config::declared());
        let made = with_table(&of_host, "config keys --manifest", &Manifest::declared());
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&file, made).unwrap();
            return;
        }
        let other = page.lines().zip(made.lines()).find(|(page, made)| page != made);
        assert!(
            page == made,
            "run this test with UPDATE_SNAPSHOTS=1 and commit the page; first (page, made): {other:?}"
        );
    }

    /// The page with this table between the comments that name the command.
    fn with_table(page: &str, command: &str, declared: &[Declaration]) -> String {
        let (begin, end) = (format!("<!-- mailroom {command} --markdown -->\n"), "<!-- end -->");
        let (before, rest) = page.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(end).unwrap();
        format!("{before}{begin}\n{}\n{end}{after}", markdown(declared))
    }
}
