//! Signing in by a token, and out.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::bare;
use crate::admin::access::Access;
use crate::admin::session;

#[derive(Deserialize)]
pub(in crate::admin) struct Shown {
    token: String,
}

pub(in crate::admin) async fn sign_in() -> Response {
    bare(StatusCode::OK, "Sign in", &form(None))
}

pub(in crate::admin) async fn signed_in(
    State(access): State<Access>,
    shown: Result<Form<Shown>, FormRejection>,
) -> Response {
    let cookie = shown.ok().and_then(|Form(shown)| access.sign_in(&shown.token));
    let Some(cookie) = cookie else {
        let problem = "The token is none of this host's: it is in the configuration's [admin.tokens].";
        return bare(StatusCode::UNAUTHORIZED, "Sign in", &form(Some(problem)));
    };
    (StatusCode::SEE_OTHER, [(LOCATION, "/"), (SET_COOKIE, &cookie)]).into_response()
}

pub(in crate::admin) async fn signed_out() -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, "/sign-in"), (SET_COOKIE, session::ENDED)]).into_response()
}

fn form(problem: Option<&str>) -> Markup {
    html! {
        @if let Some(problem) = problem { p class="wrong" role="alert" { (problem) } }
        form class="act" method="post" action="/sign-in" {
            label { "Token " input type="password" name="token" autocomplete="current-password" required autofocus; }
            button class="first" { "Sign in" }
        }
        p class="quiet" { "A session lasts twelve hours, and as long as its token." }
    }
}
