//! Forms that change something. After each the browser is led to a page, so that a reload does nothing again.

use axum::Extension;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::layout::Answer;
use super::tables::link;
use crate::admin::Backend;
use crate::admin::access::Caller;
use crate::admin::acts::{self, HandlerAct};
use crate::admin::content::letter_id;
use crate::admin::refusal::Refusal;
use crate::db::dead_letters::{Closing, Edit, Which};

type Given<F> = Result<Form<F>, FormRejection>;

fn given<F>(form: Given<F>) -> Result<F, Refusal> {
    form.map(|Form(form)| form).map_err(|rejection| Refusal::bad_input(rejection.body_text()))
}

fn see(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}

/// Reason of a handler's change.
#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Why {
    because: Option<String>,
}

pub(in crate::admin) async fn pause(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    why: Given<Why>,
) -> Answer {
    on_handler(&backend, &caller, (HandlerAct::Pause, &name), why).await
}

pub(in crate::admin) async fn resume(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    why: Given<Why>,
) -> Answer {
    on_handler(&backend, &caller, (HandlerAct::Resume, &name), why).await
}

pub(in crate::admin) async fn reset(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    why: Given<Why>,
) -> Answer {
    on_handler(&backend, &caller, (HandlerAct::Reset, &name), why).await
}

async fn on_handler(backend: &Backend, caller: &Caller, what: (HandlerAct, &str), why: Given<Why>) -> Answer {
    let why = given(why)?;
    acts::on_handler(backend, caller, what, why.because.as_deref()).await?;
    Ok(see("/handlers"))
}

/// Letters that a form is about, and the reason why they are closed.
#[derive(Debug, Default, Deserialize)]
pub(in crate::admin) struct Fields {
    id: Option<Uuid>,
    handler: Option<String>,
    topic: Option<String>,
    reason: Option<String>,
    fault: Option<String>,
    code: Option<String>,
    because: Option<String>,
}

impl Fields {
    pub(super) fn of_letter(id: &str) -> Self {
        Self { id: id.parse().ok(), ..Self::default() }
    }

    pub(super) fn of_group(which: &Which) -> Self {
        let Which { handler, topic, reason, fault, code, .. } = which.clone();
        Self { handler, topic, reason, fault, code, ..Self::default() }
    }

    /// # Errors
    /// Where a form names nothing: it is none of ours.
    fn which(self) -> Result<Which, Refusal> {
        let Self { id, handler, topic, reason, fault, code, because: _ } = self;
        if id.is_none() && reason.is_none() {
            return Err(Refusal::bad_input("the form says neither a letter nor a group of them"));
        }
        Ok(Which { ids: id.into_iter().collect(), handler, topic, reason, fault, code, ..Which::default() })
    }

    fn hidden(&self) -> Markup {
        let id = self.id.map(|id| id.to_string());
        let fields = [
            ("id", &id),
            ("handler", &self.handler),
            ("topic", &self.topic),
            ("reason", &self.reason),
            ("fault", &self.fault),
            ("code", &self.code),
        ];
        html! {
            @for (name, value) in fields {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
        }
    }
}

/// Field for the reason of a change.
pub(super) fn why_field() -> Markup {
    html! { label { "Why " input name="because" maxlength="500"; } }
}

/// The two ways to close letters; `what` completes the buttons' names.
pub(super) fn letter_forms(fields: &Fields, what: &str) -> Markup {
    html! {
        form class="act" method="post" action="/dead-letters/replay" {
            (fields.hidden())
            (why_field())
            button class="first" { "Replay " (what) }
            button class="bad" formaction="/dead-letters/discard" { "Discard " (what) }
        }
        p class="quiet" {
            "A replay makes the messages pending again, in their order. What is discarded stays failed and is not tried again."
        }
    }
}

/// Bytes of a payload that a form takes: a browser sends each as three at worst, and a request's body is bounded.
const EDITED_BYTES_MAX: usize = 16 * 1024;

/// A form for the payload of an open letter's message; nothing where a browser would change what nobody edited.
pub(super) fn edit_form(id: &str, payload: &str, digest: &str) -> Option<Markup> {
    // A browser ends lines as Windows does, and what it sends is turned back: a payload that has such ends loses them.
    if payload.len() > EDITED_BYTES_MAX || payload.contains('\r') {
        return None;
    }
    Some(html! {
        details {
            summary { "Edit the payload" }
            form class="edit" method="post" action={ "/dead-letters/" (id) "/edit" } {
                input type="hidden" name="was" value=(digest);
                // The first line's end after the tag is none of the text's.
                label { "Payload" textarea name="payload" rows="8" spellcheck="false" { "\n" (payload) } }
                (why_field())
                button class="first" { "Save the payload" }
            }
            p class="quiet" { "The message keeps its key and its headers. A replay hands it over as it is then." }
        }
    })
}

/// Payload as somebody has edited it.
#[derive(Debug, Deserialize)]
pub(in crate::admin) struct EditFields {
    payload: String,
    was: String,
    because: Option<String>,
}

pub(in crate::admin) async fn edit(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    form: Given<EditFields>,
) -> Answer {
    let fields = given(form)?;
    let payload = fields.payload.replace("\r\n", "\n");
    let edit = Edit { id: letter_id(&id)?, payload: Some(payload.as_bytes()), was: Some(&fields.was) };
    let edited = acts::edit_letter(&backend, &caller, &edit, fields.because.as_deref()).await?;
    Ok(see(&format!("/dead-letters/{}", edited.letter)))
}

pub(in crate::admin) async fn replay(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    form: Given<Fields>,
) -> Answer {
    close(&backend, &caller, Closing::Replay, form).await
}

pub(in crate::admin) async fn discard(
    State(backend): State<Backend>,
    Extension(caller): Extension<Caller>,
    form: Given<Fields>,
) -> Answer {
    close(&backend, &caller, Closing::Discard, form).await
}

async fn close(backend: &Backend, caller: &Caller, closing: Closing, form: Given<Fields>) -> Answer {
    let mut fields = given(form)?;
    let because = fields.because.take();
    let which = fields.which()?;
    let closed = acts::close_letters(backend, caller, (closing, &which), because.as_deref()).await?;
    let (done, left, open) = (closed.done.to_string(), closed.left.to_string(), closed.open.to_string());
    let parameters = [
        ("done", Some(closing.done())),
        ("closed", Some(&*done)),
        ("left", Some(&*left)),
        ("open", Some(&*open)),
    ];
    Ok(see(&link("/dead-letters", &parameters)))
}
