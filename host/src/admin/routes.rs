//! The routes of the admin port.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::json;
use tokio::time::Instant;

use super::Readable;
use super::access::{Access, MayKnow, judge};
use crate::config::Secret;

/// Content type of Prometheus' text.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is answered, and who may ask: `judge` comes before every route.
pub(super) fn routes(readable: Readable, token: Option<Secret>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .method_not_allowed_fallback(only_reading)
        .with_state(readable)
        .layer(from_fn_with_state(Access(token), judge))
        .layer(map_response(with_common_headers))
}

async fn livez(State(readable): State<Readable>) -> Response {
    match readable.pulse.missing_for(Instant::now()) {
        None => "ok\n".into_response(),
        Some(since) => {
            let line = format!("the loops of this host have not turned for {} s\n", since.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, line).into_response()
        }
    }
}

async fn readyz(State(readable): State<Readable>, Extension(may_know): Extension<MayKnow>) -> Response {
    let checks = readable.readiness.checks();
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let answer = match may_know {
        MayKnow(true) => json!({ "ready": ready, "checks": checks }),
        MayKnow(false) => json!({ "ready": ready }),
    };
    (status, [(CONTENT_TYPE, "application/json")], format!("{answer:#}\n")).into_response()
}

async fn metrics(State(readable): State<Readable>) -> Response {
    match readable.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "Answering /metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics here\n").into_response()
}

async fn only_reading() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n").into_response()
}

async fn with_common_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
