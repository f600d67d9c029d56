//! The routes of the admin port, each with the role that it needs. Nothing is answered that does not stand here.

mod table;

use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Method};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::MethodRouter;
use axum::{Extension, Router};

use super::access::{Access, BODY_BYTES_MAX, Caller, judge};
use super::refusal::Refusal;
use super::{Backend, Readable};
use crate::config::Role;
pub(super) use table::ROUTES;

/// Pages load their one style sheet and send forms, both from here; nothing in them is a script.
const CONTENT_SECURITY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Rights that a route needs; more come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    /// None: it tells nothing but yes or no, or is the way to get rights.
    Nothing,
    /// At least this role.
    Role(Role),
}

/// An answer to a method of a path.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    serve: fn() -> MethodRouter<Served>,
    /// Description, of a route of the API.
    pub(super) doc: Option<Doc>,
}

/// Description of a route for programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doc {
    pub(super) summary: &'static str,
    /// Names of parameters with their descriptions.
    pub(super) query: &'static [(&'static str, &'static str)],
    /// Fields of the body with their types and descriptions.
    pub(super) body: &'static [(&'static str, &'static str, &'static str)],
}

/// State of all routes.
#[derive(Debug, Clone)]
pub(super) struct Served {
    readable: Readable,
    access: Access,
}

impl FromRef<Served> for Readable {
    fn from_ref(served: &Served) -> Self {
        served.readable.clone()
    }
}

impl FromRef<Served> for Backend {
    fn from_ref(served: &Served) -> Self {
        served.readable.backend.clone()
    }
}

impl FromRef<Served> for Access {
    fn from_ref(served: &Served) -> Self {
        served.access.clone()
    }
}

/// The rights that a method of a path needs; of what there is not, those of a reader.
pub(super) fn needs(method: &Method, path: Option<&str>) -> Needs {
    let asked = if *method == Method::HEAD { &Method::GET } else { method };
    let route = ROUTES.iter().find(|route| route.method == *asked && Some(route.path) == path);
    route.map_or(Needs::Role(Role::Viewer), |route| route.needs)
}

/// Everything that is answered, and who may ask: `judge` comes before every route.
pub(super) fn routes(readable: Readable, access: Access) -> Router {
    let mut router = Router::new();
    for route in ROUTES.iter() {
        router = router.route(route.path, (route.serve)());
    }
    router
        .fallback(unknown)
        .method_not_allowed_fallback(|| async { Refusal::only_these_methods() })
        .with_state(Served { readable, access: access.clone() })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(access, judge))
        .layer(map_response(with_common_headers))
}

async fn unknown(Extension(caller): Extension<Caller>, request: Request) -> Response {
    tracing::debug!(?caller, "A path is asked for that there is not");
    let remedy = "/ has the pages, /api/v1/openapi.json lists the paths for programs, and there are /livez, /readyz and \
                  /metrics";
    Refusal::not_found("there is nothing at this path", remedy).answer(&request)
}

async fn with_common_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Without a referrer a browser says of a form that it comes from nowhere.
        (REFERRER_POLICY, "same-origin"),
        (CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
