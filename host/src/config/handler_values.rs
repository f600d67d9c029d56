//! `[handler-config]` and `[handler-config-files]`: values that handlers may be granted to read.
//!
//! Variables of the environment have neither case nor dashes to tell names apart by, so nothing does: `API_TOKEN`
//! and `api-token` are one name. A handler asks by the name that its manifest grants. Each value may be a secret.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Config;
use super::declare::Key;
use super::reader::{Reader, Source};
use super::secret::{MASK, Secret};
use super::source;

const VALUES: &str = "handler-config";
const FILES: &str = "handler-config-files";
const KEYS: &str = "keys of [handler-config]: 1 to 200 letters, digits, \"-\", \"_\" and \".\" between them";

/// All values by their names.
pub(super) fn handler_values(reader: &mut Reader) -> BTreeMap<String, Secret> {
    let key = Key::new(
        "handler-config.KEY",
        "Value that handlers may be granted to read with `grants.config`: text, a number, true or false. It may be a \
         secret: nothing shows it. `API_TOKEN` and `api-token` are one key.",
    );
    reader.declare(key, "secret", "", String::new());
    let key = Key::new("handler-config-files.KEY", "File that holds `handler-config.KEY` instead.");
    reader.declare(key, "text", "", String::new());
    let mut values = BTreeMap::new();
    for (name, (value, source)) in given(reader, VALUES) {
        reader.note(&format!("{VALUES}.{name}"), MASK.to_owned(), source);
        values.insert(name, Secret::new(value));
    }
    for (name, (path, source)) in given(reader, FILES) {
        let (key, shown) = (format!("{FILES}.{name}"), format!("{path:?}"));
        if values.contains_key(&name) {
            let problem = format!("must not be given together with {VALUES}.{name}; remove one of the two");
            reader.refuse(&key, Some(shown), problem);
            continue;
        }
        match source::read_secret(&path) {
            Ok(value) => {
                reader.note(&key, shown, source);
                values.insert(name, Secret::new(value));
            }
            Err(problem) => reader.refuse(&key, Some(shown), problem),
        }
    }
    values
}

impl Reader {
    /// The values that a manifest grants, by the names that the handler asks by.
    pub(super) fn granted(&mut self, key: Key<'_>, config: &Config) -> BTreeMap<String, Secret> {
        let mut granted = BTreeMap::new();
        for name in self.list(key, is_key, KEYS) {
            if let Some(value) = config.handler_config.get(&name_of(&name)) {
                granted.insert(name, value.clone());
                continue;
            }
            let known: Vec<&str> = config.handler_config.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let problem = format!(
                "must name keys of [{VALUES}] in the host's configuration; set it there, or as {}, or let \
                 [{FILES}] name a file that holds it; there are: {known}",
                variable(&name),
            );
            self.refuse(key.name, Some(format!("{name:?}")), problem);
        }
        granted
    }
}

impl Config {
    /// Sets a value of `[handler-config]` over what was read.
    ///
    /// # Errors
    /// Says what is wrong with the key.
    pub fn set_handler_value(&mut self, key: &str, value: String) -> Result<(), String> {
        if !is_key(key) {
            return Err(format!("{key:?} must be one of {KEYS}"));
        }
        self.handler_config.insert(name_of(key), Secret::new(value));
        Ok(())
    }
}

/// The texts of a section by their names, the environment over the file.
fn given(reader: &mut Reader, section: &str) -> BTreeMap<String, (String, Source)> {
    let mut filed = Vec::new();
    if let Some(given) = reader.take(section) {
        match given.value.as_table() {
            Some(table) => flat(table, "", &mut filed),
            None => reader.refuse(section, None, "must be a table of keys and their values".to_owned()),
        }
    }
    let mut found: BTreeMap<String, (String, Source)> = BTreeMap::new();
    for (key, value) in filed {
        let (name, full) = (name_of(&key), format!("{section}.{key}"));
        match text(&value) {
            _ if !is_key(&key) => reader.refuse(&full, None, format!("must be one of {KEYS}")),
            None => reader.refuse(&full, None, "must be text, a number, true or false".to_owned()),
            Some(_) if found.contains_key(&name) => {
                let problem = format!("is there twice: case, \"-\" and \"_\" make no difference ({name})");
                reader.refuse(&full, None, problem);
            }
            Some(text) => {
                found.insert(name, (text, Source::File));
            }
        }
    }
    for (key, value) in reader.take_env_below(section) {
        if is_key(&key) {
            found.insert(name_of(&key), (value, Source::Env));
        } else {
            reader.refuse(&format!("{section}.{key}"), None, format!("must be one of {KEYS}"));
        }
    }
    found
}

/// Keys with dots in them, whether quoted (one key) or not (nested tables).
fn flat(table: &Table, prefix: &str, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        match value.as_table() {
            Some(inner) => flat(inner, &format!("{name}."), found),
            None => found.push((name, value.clone())),
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Some(value.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

fn is_key(key: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    key.len() <= 200 && key.split('.').all(part)
}

fn name_of(key: &str) -> String {
    key.to_lowercase().replace('_', "-")
}

fn variable(key: &str) -> String {
    let key = key.to_uppercase().replace('-', "_").replace('.', "__");
    format!("MAILROOM__HANDLER_CONFIG__{key}")
}

#[cfg(test)]
mod tests {
    use super::super::reader::Variable;
    use super::super::{Manifest, Servers};
    use super::*;

    type Read = Result<Vec<(String, String)>, Vec<String>>;

    fn read(text: &str, env: &[(&str, &str)]) -> Read {
        let variable = |&(key, value): &(&str, &str)| {
            (key.to_owned(), Variable { name: key.to_owned(), value: value.to_owned() })
        };
        let mut reader = Reader::new(source::parse(text).unwrap(), env.iter().map(variable).collect());
        let values = handler_values(&mut reader);
        let values = values.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        match reader.finish() {
            Ok(settings) => {
                assert!(settings.iter().all(|setting| setting.value == MASK), "{settings:?}");
                Ok(values)
            }
            Err(errors) => Err(errors.0.iter().map(ToString::to_string).collect()),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Read {
        Ok(pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn values_come_from_the_file_and_the_environment_over_it_and_nothing_shows_them() {
        let text =
            "[handler-config]\nAPI_TOKEN = \"one\"\nlimit = 7\n\"db.url\" = \"a\"\nshop.name = \"b\"\n";
        let all = [("api-token", "one"), ("db.url", "a"), ("limit", "7"), ("shop.name", "b")];
        assert_eq!(read(text, &[]), pairs(&all));
        let env = [("handler-config.api-token", "two"), ("handler-config.new", " ")];
        assert_eq!(
            read("handler-config.API_TOKEN = \"one\"", &env),
            pairs(&[("api-token", "two"), ("new", " ")])
        );
    }

    #[test]
    fn a_mistake_is_named_without_the_value() {
        for (text, named) in [
            ("handler-config = \"hunter2\"", "handler-config: must be a table"),
            ("handler-config.\"a b\" = \"hunter2\"", "handler-config.a b: must be one of keys"),
            ("handler-config.a = [\"hunter2\"]", "handler-config.a: must be text, a number, true or false"),
            ("handler-config.a-b = \"hunter2\"\nhandler-config.A_B = \"\"", "is there twice"),
            ("handler-config-files.a = \"/nowhere\"", "cannot read the file"),
            (
                "handler-config.a = \"hunter2\"\nhandler-config-files.A = \"/nowhere\"",
                "must not be given together with handler-config.a",
            ),
        ] {
            let errors = read(text, &[]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(named), "`{text}` gives {errors:?}, not {named}");
            assert!(!errors[0].contains("hunter2"), "{errors:?}");
        }
    }

    #[test]
    fn a_manifest_gets_what_it_names_by_the_name_that_it_uses() {
        let mut config = Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().0;
        config.set_handler_value("api-token", "secret".to_owned()).unwrap();
        let manifest = Manifest::parse("grants.config = [\"API_TOKEN\"]", &config).unwrap();
        assert_eq!(manifest.grants.config["API_TOKEN"].expose(), "secret");
        assert!(!format!("{manifest:?}{config:?}").contains("secret"));
        let lacks = Manifest::parse("grants.config = [\"API_TOKEN\", \"shop.Name\"]", &config).unwrap_err();
        let lacks = lacks.to_string();
        assert!(lacks.starts_with("grants.config = \"shop.Name\": must name keys"), "{lacks}");
        assert!(
            lacks.contains("MAILROOM__HANDLER_CONFIG__SHOP__NAME") && lacks.ends_with("there are: api-token")
        );
    }
}
