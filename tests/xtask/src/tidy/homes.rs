//! One technology, one home: what belongs to a foreign library stays in the modules made for it.

use super::source::{Breach, File};

struct Home {
    /// Signs that give it away in a line.
    signs: &'static [&'static str],
    /// Folders in which the rule holds.
    scopes: &'static [&'static str],
    /// Modules where it may be, without `.rs`.
    homes: &'static [&'static str],
    remedy: &'static str,
}

const HOMES: [Home; 9] = [
    Home {
        signs: &["sqlx::", "sqlx_core::"],
        scopes: &["host/src"],
        homes: &["host/src/db", "host/src/inbox", "host/src/outbox", "host/src/settle"],
        remedy: "move the SQL to db, inbox, outbox or settle",
    },
    Home {
        signs: &["rdkafka::", "rdkafka_sys::"],
        scopes: &["host/src"],
        homes: &["host/src/kafka"],
        remedy: "translate it at the edge of kafka",
    },
    Home {
        signs: &["wasmtime::", "wasmtime_wasi::", "wasmtime_wasi_http::"],
        scopes: &["host/src"],
        homes: &["host/src/handler"],
        remedy: "translate it at the edge of handler",
    },
    Home {
        signs: &["hyper::", "hyper_util::", "hyper_rustls::"],
        scopes: &["host/src"],
        homes: &["host/src/admin", "host/src/handler/http"],
        remedy: "translate it at the edge of handler/http, where addresses are judged, or of admin",
    },
    Home {
        signs: &["axum::"],
        scopes: &["host/src"],
        homes: &["host/src/admin"],
        remedy: "answer it in admin",
    },
    Home {
        signs: &["opentelemetry::", "opentelemetry_sdk::", "opentelemetry_prometheus::", "prometheus::"],
        scopes: &["host/src"],
        homes: &["host/src/metrics"],
        remedy: "declare it in metrics, and record it by a method of there",
    },
    Home {
        signs: &["env::var"],
        scopes: &["host", "guest-sdk"],
        // Where caches belong is known from the environment only, and examples are programs of their own.
        homes: &["host/src/config", "host/servers/src/maven", "host/examples"],
        remedy: "make it a setting, read in config",
    },
    Home {
        signs: &["tokio::spawn", ".spawn(", "spawn_local("],
        scopes: &["host/src"],
        // The engine has a ticker and a compiler thread of its own, and Kafka's client one for delivery reports;
        // calls go to the guests' own runtime, and what guests need of Postgres to the host's.
        homes: &[
            "host/src/app",
            "host/src/db/host_threads",
            "host/src/handler",
            "host/src/kafka/producer",
            "host/src/worker/calls",
        ],
        remedy: "return the loop's future and spawn it in app, in the JoinSet",
    },
    Home {
        signs: &["AssertSqlSafe"],
        scopes: &["host/src"],
        homes: &["host/src/db"],
        remedy: "write the statement out, checked at compile time",
    },
];

pub(super) fn one_home_each(files: &[File]) -> Vec<Breach> {
    HOMES.iter().flat_map(|home| files.iter().flat_map(|file| strays(home, file))).collect()
}

fn strays(home: &Home, file: &File) -> Vec<Breach> {
    let in_scope = file.is_rust() && home.scopes.iter().any(|scope| file.is_in(scope));
    if !in_scope || home.homes.iter().any(|module| file.is_in(module)) {
        return Vec::new();
    }
    let found = file.code().filter_map(|(line, code)| {
        let sign = home.signs.iter().find(|sign| code.contains(**sign))?;
        Some(file.breach(line, &format!("`{sign}` away from its home"), home.remedy))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_from_its_home_is_found() {
        for (path, text) in [
            ("host/src/relay.rs", "use sqlx::PgPool;"),
            ("host/src/ingest/batch.rs", "fn a(m: rdkafka::Message) {}"),
            ("host/src/app.rs", "let engine = wasmtime::Engine::default();"),
            ("host/src/handler/sandbox.rs", "use hyper_util::client::legacy::Client;"),
            ("host/src/app.rs", "use axum::Router;"),
            ("host/src/worker/judge.rs", "use opentelemetry::KeyValue;"),
            ("host/src/db.rs", "std::env::var(\"X\")"),
            ("guest-sdk/rust/src/lib.rs", "std::env::vars()"),
            ("host/src/relay.rs", "tokio::spawn(run());"),
            ("host/src/sweep.rs", "set.spawn(run());"),
            ("host/src/inbox.rs", "query(AssertSqlSafe(text))"),
        ] {
            assert_eq!(one_home_each(&[File::new(path, text)]).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn at_home_in_comments_and_outside_of_the_host_all_is_well() {
        for (path, text) in [
            ("host/src/inbox/claim.rs", "use sqlx::PgPool;"),
            ("host/src/kafka.rs", "use rdkafka::Message;"),
            ("host/src/relay.rs", "    // sqlx::Error is translated by db."),
            ("tests/src/lib.rs", "use sqlx::PgPool; use rdkafka::Message;"),
            ("host/src/app.rs", "set.spawn(run());"),
            ("host/servers/src/child.rs", "command.spawn()"),
        ] {
            assert_eq!(one_home_each(&[File::new(path, text)]), [], "{path}: {text}");
        }
    }
}
