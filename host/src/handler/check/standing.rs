//! Standing of an import: what is behind it. Toolchains import more than a handler uses, so each import of a
//! known interface is linked, and the manifest's grants decide what it does.

use serde::Serialize;

use crate::config::{Grants, LogLevel};

/// An interface that a component imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Import {
    /// Name with its version.
    pub(crate) name: String,
    /// Standing behind it.
    pub(crate) standing: Standing,
    /// Grant that it needs; `None` where no manifest has a say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<&'static str>,
}

/// Standing of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// The manifest grants it.
    Granted,
    /// Each use is answered with an error.
    Denied,
    /// Every handler has it: types, clocks, random bytes, its output.
    Given,
    /// Linked with nothing in it: no files, no variables, no input.
    Empty,
}

/// Each import with what the grants make of it.
pub(super) fn of(imports: &[String], grants: &Grants) -> Vec<Import> {
    let import = |name: &String| {
        let (standing, grant) = standing(name, grants);
        Import { name: name.clone(), standing, grant }
    };
    imports.iter().map(import).collect()
}

fn standing(name: &str, grants: &Grants) -> (Standing, Option<&'static str>) {
    let granted = |yes| if yes { Standing::Granted } else { Standing::Denied };
    let interface = name.split('@').next().unwrap_or_default();
    match interface {
        "mailroom:contract/outbox"
        | "wasmcloud:messaging/consumer"
        | "wasi:messaging/producer"
        | "wasi:messaging/request-reply" => {
            (granted(!grants.publish.is_empty()), Some("grants.publish = [\"TOPIC\"]"))
        }
        "mailroom:contract/state"
        | "wasi:keyvalue/store"
        | "wasi:keyvalue/atomics"
        | "wasi:keyvalue/batch" => (granted(grants.state), Some("grants.state = true")),
        "mailroom:contract/sql" => (granted(grants.sql.is_some()), Some("grants.sql = \"NAME\"")),
        "wasi:config/store" => (granted(!grants.config.is_empty()), Some("grants.config = [\"KEY\"]")),
        "wasi:logging/logging" => (granted(grants.log > LogLevel::Off), Some("grants.log = \"info\"")),
        "wasi:http/outgoing-handler" => (granted(!grants.http.is_empty()), Some("grants.http = [\"HOST\"]")),
        "wasi:cli/environment" | "wasi:cli/stdin" => (Standing::Empty, None),
        _ if interface.starts_with("wasi:filesystem/") => (Standing::Empty, None),
        _ if interface.starts_with("wasi:sockets/") => (Standing::Denied, None),
        _ => (Standing::Given, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    #[test]
    fn grants_decide_and_not_imports() {
        let state = Grants { state: true, ..Grants::default() };
        let publish = Grants { publish: vec!["out".to_owned()], ..Grants::default() };
        let logs = Grants { log: LogLevel::Error, ..Grants::default() };
        let http =
            Grants { http: Origin::parse("api.example.com").into_iter().collect(), ..Grants::default() };
        for (name, grants, expected) in [
            ("mailroom:contract/outbox@0.1.0", Grants::default(), Standing::Denied),
            ("mailroom:contract/outbox@0.1.0", publish.clone(), Standing::Granted),
            ("mailroom:contract/state@0.1.7", publish.clone(), Standing::Denied),
            ("mailroom:contract/sql@0.1.0", publish.clone(), Standing::Denied),
            ("mailroom:contract/types@0.1.0", Grants::default(), Standing::Given),
            ("wasi:keyvalue/store@0.2.0-draft", publish.clone(), Standing::Denied),
            ("wasi:keyvalue/atomics@0.2.0-draft", state.clone(), Standing::Granted),
            ("wasi:keyvalue/batch@0.2.0-draft", state, Standing::Granted),
            ("wasi:config/store@0.2.0-rc.1", publish.clone(), Standing::Denied),
            ("wasi:logging/logging@0.1.0-draft", publish.clone(), Standing::Denied),
            ("wasi:logging/logging@0.1.0-draft", logs, Standing::Granted),
            ("wasi:http/outgoing-handler@0.2.4", publish.clone(), Standing::Denied),
            ("wasi:http/outgoing-handler@0.2.4", http.clone(), Standing::Granted),
            ("wasi:http/types@0.2.4", Grants::default(), Standing::Given),
            ("wasi:sockets/tcp@0.2.6", http, Standing::Denied),
            ("wasi:sockets/tcp@0.2.6", publish.clone(), Standing::Denied),
            ("wasi:filesystem/types@0.2.0", publish.clone(), Standing::Empty),
            ("wasi:clocks/wall-clock@0.2.6", publish, Standing::Given),
        ] {
            assert_eq!(of(&[name.to_owned()], &grants)[0].standing, expected, "{name}");
        }
    }
}
