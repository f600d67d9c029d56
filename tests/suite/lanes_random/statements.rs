//! The product's own statements: from its `.sql` files, and from what the compiler has checked.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::paths;
use serde_json::Value;

/// The texts that the protocol of lanes consists of.
pub(super) struct Statements {
    pub(super) register: String,
    pub(super) renew: String,
    pub(super) bury: String,
    pub(super) open: String,
    pub(super) alive: String,
    pub(super) free: String,
    pub(super) take: String,
    pub(super) abandoned: String,
    pub(super) release: String,
    pub(super) start: String,
    pub(super) take_over: String,
    pub(super) fence: String,
    pub(super) advance: String,
    pub(super) begin: String,
    pub(super) read: String,
    pub(super) draw: String,
}

pub(super) const STORE: &str = include_str!("../../../host/src/settle/fresh.sql");
pub(super) const SETTLE: &str = include_str!("../../../host/src/settle/rows.sql");
pub(super) const EMIT: &str = include_str!("../../../host/src/settle/emit.sql");

impl Statements {
    pub(super) fn read() -> Result<Self> {
        let mut texts = Vec::new();
        for file in fs::read_dir(paths::root().join("host/.sqlx"))? {
            let checked: Value = serde_json::from_str(&fs::read_to_string(file?.path())?)?;
            texts.extend(checked.get("query").and_then(Value::as_str).map(str::to_owned));
        }
        let with = |part: &str| -> Result<String> {
            let mut found = texts.iter().filter(|text| text.contains(part));
            let text = found.next().with_context(|| format!("no statement of the product has `{part}`"))?;
            ensure!(found.next().is_none(), "several statements of the product have `{part}`");
            Ok(text.clone())
        };
        Ok(Self {
            register: with("insert into mailroom.host")?,
            renew: with("update mailroom.host set expires_at")?,
            bury: with("delete from mailroom.host where id in")?,
            open: with("insert into mailroom.lane (kind")?,
            alive: with("select id from mailroom.host where id = $1 for key share")?,
            free: with("for update of l skip locked")?,
            take: with("set owner = $2, token = l.token + 1")?,
            abandoned: with("set deliveries = i.deliveries + 1, lone = false")?,
            release: with("with released as")?,
            start: with("insert into mailroom.partition_offset")?,
            take_over: with("set epoch = o.epoch + 1")?,
            fence: with("select l.id, l.reread from unnest")?,
            advance: with("set next_offset = w.next")?,
            begin: with("set started_to = greatest(l.started_to, w.seq)")?,
            read: with("and not held and seq > $3")?,
            draw: with("select nextval")?,
        })
    }
}
