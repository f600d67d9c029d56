//! Imports `wasi:keyvalue` and nothing of mailroom, and is a handler: does the steps that its message
//! names, and writes to stdout what each of them gave.

use std::cell::RefCell;

use mailroom_guest::{Handler, Message, Stop, Subscription};
use serde::Deserialize;

use crate::wasi::keyvalue::store::{self, Bucket, Error};
use crate::wasi::keyvalue::{atomics, batch};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "wasi:keyvalue/imports@0.2.0-draft",
    generate_all,
});

struct Keeper;

thread_local! {
    /// Bucket that an earlier call of this instance has opened.
    static KEPT: RefCell<Option<Bucket>> = const { RefCell::new(None) };
}

/// A message's payload.
#[derive(Deserialize)]
struct Script {
    /// Name of the store that it opens.
    store: String,
    steps: Vec<Step>,
    /// Takes what an earlier call has kept open, where there is one.
    #[serde(default)]
    kept: bool,
    /// Keeps it open for a later call.
    #[serde(default)]
    keeps: bool,
    /// Fails after all of them.
    #[serde(default)]
    fails: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Get(String),
    Set(String, String),
    Delete(String),
    Exists(String),
    /// All pages, with their numbers of keys.
    Keys,
    /// A page behind any cursor.
    KeysBehind(u64),
    Increment(String, u64),
    GetMany(Vec<String>),
    /// One name so many times.
    GetAgain(String, usize),
    /// Sets so many of them, under their numbers.
    SetMany(usize),
    DeleteMany(Vec<String>),
    /// Opens so many more stores and drops none.
    Open(usize),
}

impl Handler for Keeper {
    fn subscriptions() -> Vec<Subscription> {
        vec![Subscription::topic("keyvalue").binary()]
    }

    fn handle(message: Message) -> Result<(), Stop> {
        let script: Script = message.json()?;
        let bucket = match KEPT.take() {
            Some(bucket) if script.kept => bucket,
            _ => store::open(&script.store).map_err(|error| Stop::fail(format!("{error:?}")))?,
        };
        for step in &script.steps {
            println!("{}", take(&bucket, step).unwrap_or_else(|error| format!("{error:?}")));
        }
        if script.keeps {
            KEPT.set(Some(bucket));
        }
        if script.fails { Err(Stop::fail("told to fail").into()) } else { Ok(()) }
    }
}

fn take(bucket: &Bucket, step: &Step) -> Result<String, Error> {
    let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
    Ok(match step {
        Step::Get(key) => format!("{:?}", text(bucket.get(key)?)),
        Step::Set(key, value) => format!("{:?}", bucket.set(key, value.as_bytes())?),
        Step::Delete(key) => format!("{:?}", bucket.delete(key)?),
        Step::Exists(key) => bucket.exists(key)?.to_string(),
        Step::Keys => pages(bucket)?,
        Step::KeysBehind(cursor) => format!("{:?}", bucket.list_keys(Some(*cursor))?.keys),
        Step::Increment(key, delta) => atomics::increment(bucket, key, *delta)?.to_string(),
        Step::GetMany(keys) => {
            let given = batch::get_many(bucket, keys)?.into_iter();
            format!("{:?}", given.map(|pair| text(pair.map(|(_, value)| value))).collect::<Vec<_>>())
        }
        Step::GetAgain(key, times) => batch::get_many(bucket, &vec![key.clone(); *times])?.len().to_string(),
        Step::SetMany(count) => {
            let values: Vec<_> = (0..*count).map(|n| (format!("{n:05}"), b"v".to_vec())).collect();
            format!("{:?}", batch::set_many(bucket, &values)?)
        }
        Step::DeleteMany(keys) => format!("{:?}", batch::delete_many(bucket, keys)?),
        Step::Open(count) => {
            let opened: Result<Vec<Bucket>, Error> = (0..*count).map(|_| store::open("shared")).collect();
            opened?.into_iter().for_each(std::mem::forget);
            String::new()
        }
    })
}

/// Each page is deleted before the next is asked for.
fn pages(bucket: &Bucket) -> Result<String, Error> {
    let (mut sizes, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor)?;
        sizes.push(page.keys.len());
        batch::delete_many(bucket, &page.keys)?;
        match page.cursor {
            None => return Ok(format!("{sizes:?}")),
            next => cursor = next,
        }
    }
}

mailroom_guest::export!(Keeper);
