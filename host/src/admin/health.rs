//! Answers for probes and scrapers, made of what memory has.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::time::Instant;

use super::Readable;
use super::access::Caller;

/// Content type of Prometheus' text.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn livez(State(readable): State<Readable>) -> Response {
    match readable.pulse.missing_for(Instant::now()) {
        None => "ok\n".into_response(),
        Some(since) => {
            let line = format!("the loops of this host have not turned for {} s\n", since.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, line).into_response()
        }
    }
}

/// Reasons are for who may read; others hear yes or no.
pub(super) async fn readyz(
    State(readable): State<Readable>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let checks = readable.readiness.checks();
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let answer = match caller.role() {
        Some(_) => json!({ "ready": ready, "checks": checks }),
        None => json!({ "ready": ready }),
    };
    (status, [(CONTENT_TYPE, "application/json")], format!("{answer:#}\n")).into_response()
}

pub(super) async fn metrics(State(readable): State<Readable>) -> Response {
    match readable.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "Answering /metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}
