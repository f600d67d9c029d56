//! Changes by the API.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};

use super::input::{EditBody, HandlerBody, LettersBody, body};
use crate::admin::Backend;
use crate::admin::access::Caller;
use crate::admin::acts::{self, Closed, EditedLetter, Groups, HandlerAct};
use crate::admin::content::letter_id;
use crate::admin::refusal::Refusal;
use crate::db::dead_letters::{Closing, Edit};

type Given<B> = Result<Json<B>, JsonRejection>;

pub(in crate::admin) async fn pause(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    given: Given<HandlerBody>,
) -> Result<Json<Groups>, Refusal> {
    on_handler(&backend, &caller, (HandlerAct::Pause, &name), given).await
}

pub(in crate::admin) async fn resume(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    given: Given<HandlerBody>,
) -> Result<Json<Groups>, Refusal> {
    on_handler(&backend, &caller, (HandlerAct::Resume, &name), given).await
}

pub(in crate::admin) async fn reset(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    given: Given<HandlerBody>,
) -> Result<Json<Groups>, Refusal> {
    on_handler(&backend, &caller, (HandlerAct::Reset, &name), given).await
}

async fn on_handler(
    backend: &Backend,
    caller: &Caller,
    what: (HandlerAct, &str),
    given: Given<HandlerBody>,
) -> Result<Json<Groups>, Refusal> {
    let given = body(given)?;
    acts::on_handler(backend, caller, what, given.because.as_deref()).await.map(Json)
}

pub(in crate::admin) async fn edit(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    given: Given<EditBody>,
) -> Result<Json<EditedLetter>, Refusal> {
    let given = body(given)?;
    let payload = given.payload()?;
    let edit = Edit { id: letter_id(&id)?, payload: payload.as_deref(), was: given.was.as_deref() };
    acts::edit_letter(&backend, &caller, &edit, given.because.as_deref()).await.map(Json)
}

pub(in crate::admin) async fn replay(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    given: Given<LettersBody>,
) -> Result<Json<Closed>, Refusal> {
    close(&backend, &caller, Closing::Replay, given).await
}

pub(in crate::admin) async fn discard(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    given: Given<LettersBody>,
) -> Result<Json<Closed>, Refusal> {
    close(&backend, &caller, Closing::Discard, given).await
}

async fn close(
    backend: &Backend,
    caller: &Caller,
    closing: Closing,
    given: Given<LettersBody>,
) -> Result<Json<Closed>, Refusal> {
    let mut given = body(given)?;
    let because = given.because.take();
    let which = given.which()?;
    acts::close_letters(backend, caller, (closing, &which), because.as_deref()).await.map(Json)
}
