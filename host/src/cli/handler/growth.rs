//! Growth of a component: what a new version asks for beyond the one before it. What it gives up is not told.

use std::collections::BTreeSet;
use std::fmt;

use bytesize::ByteSize;
use serde::Serialize;

use crate::config::{CallLimits, LogLevel};
use crate::handler::{Report, Subscription};
use crate::ingest::matching;
use crate::message::one_line;

/// Comparison of one version with the next.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    /// The digest of the one before.
    pub(super) old: String,
    /// The digest of the new one.
    pub(super) new: String,
    /// Things that are more.
    pub(super) grown: Vec<Grown>,
}

/// One thing that is more.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Grown {
    /// `exports`, `imports`, `takes`, `grants` or `limits`.
    pub(super) what: &'static str,
    /// Name of the thing, with the old value of a limit.
    pub(super) more: String,
}

pub(super) fn between(old: &Report, new: &Report) -> Growth {
    let names = |report: &Report| -> Vec<String> {
        report.imports.iter().map(|import| import.name.clone()).collect()
    };
    let mut grown = Vec::new();
    let mut add = |what, more: Vec<String>| {
        grown.extend(more.into_iter().map(|more| Grown { what, more }));
    };
    add("exports", interfaces(&old.exports, &new.exports));
    add("imports", interfaces(&names(old), &names(new)));
    add("takes", taken(&old.subscriptions, &new.subscriptions));
    add("grants", grants(old, new));
    add("limits", limits(old, new));
    Growth { old: old.digest.clone(), new: new.digest.clone(), grown }
}

/// A later version of an interface is the same interface.
fn interfaces(old: &[String], new: &[String]) -> Vec<String> {
    let bare = |name: &str| name.split('@').next().unwrap_or_default().to_owned();
    let known: BTreeSet<String> = old.iter().map(|name| bare(name)).collect();
    new.iter().filter(|name| !known.contains(&bare(name))).cloned().collect()
}

/// Topic by topic: what no single subscription of the old version takes.
fn taken(old: &[Subscription], new: &[Subscription]) -> Vec<String> {
    let by_topic = new.iter().flat_map(|subscription| {
        let of = |topic: &String| Subscription { topics: vec![topic.clone()], ..subscription.clone() };
        subscription.topics.iter().map(of)
    });
    let more = by_topic.filter(|one| !old.iter().any(|wide| matching::covers(wide, one)));
    more.map(|one| one.described()).collect()
}

fn grants(old: &Report, new: &Report) -> Vec<String> {
    // All fields are named, so that a grant more is not passed over.
    let Report {
        grants_publish,
        grants_state,
        grants_sql,
        grants_http,
        grants_config,
        grants_log,
        name: _,
        digest: _,
        bytes: _,
        group: _,
        exports: _,
        imports: _,
        subscriptions: _,
        instances: _,
        instances_calls_max: _,
        limits: _,
        guarantee: _,
    } = new;
    let topics = grants_publish.iter().filter(|topic| !old.grants_publish.contains(topic));
    let mut grants: Vec<String> = topics.map(|topic| format!("publish to {topic}")).collect();
    if *grants_state && !old.grants_state {
        grants.push("state".to_owned());
    }
    if let Some(role) = grants_sql.as_ref().filter(|role| old.grants_sql.as_ref() != Some(role)) {
        grants.push(format!("SQL as {role}"));
    }
    let keys = grants_config.iter().filter(|key| !old.grants_config.contains(key));
    grants.extend(keys.map(|key| format!("configuration key {key}")));
    if *grants_log > old.grants_log {
        let [from, to] = [old.grants_log, *grants_log].map(LogLevel::as_str);
        grants.push(format!("log from {from} to {to}"));
    }
    let hosts = grants_http.iter().filter(|host| !old.grants_http.contains(host));
    grants.extend(hosts.map(|host| format!("HTTP to {host}")));
    grants
}

fn limits(old: &Report, new: &Report) -> Vec<String> {
    let calls = (old.instances_calls_max.into(), new.instances_calls_max.into());
    let old = &old.limits;
    // All fields are named, so that a limit more is not passed over.
    let CallLimits {
        deadline,
        fuel,
        memory,
        table_elements,
        effects,
        output_bytes,
        http_requests,
        log_bytes,
        log_lines,
        state_values,
        state_bytes,
    } = new.limits.clone();
    let count = |count: u64| count.to_string();
    let size = |bytes: u64| ByteSize(bytes).to_string();
    let mut grown = Vec::new();
    if deadline > old.deadline {
        let [from, to] = [old.deadline, deadline].map(humantime::format_duration);
        grown.push(format!("deadline from {from} to {to}"));
    }
    let mut compare = |name: &str, old: u64, new: u64, show: &dyn Fn(u64) -> String| {
        if new > old {
            grown.push(format!("{name} from {} to {}", show(old), show(new)));
        }
    };
    compare("calls of an instance", calls.0, calls.1, &count);
    compare("fuel", old.fuel, fuel, &count);
    compare("memory", old.memory, memory, &size);
    compare("table-elements", old.table_elements, table_elements, &count);
    compare("state-values", old.state_values.into(), state_values.into(), &count);
    compare("state-bytes", old.state_bytes, state_bytes, &size);
    compare("effects", old.effects.into(), effects.into(), &count);
    compare("output-bytes", old.output_bytes, output_bytes, &size);
    compare("http-requests", old.http_requests.into(), http_requests.into(), &count);
    compare("log-bytes", old.log_bytes.into(), log_bytes.into(), &size);
    compare("log-lines", old.log_lines.into(), log_lines.into(), &count);
    grown
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.grown.is_empty() {
            return write!(
                f,
                "Nothing grows: the new version asks for nothing that the old one did not have."
            );
        }
        write!(f, "The new version asks for more:")?;
        self.grown.iter().try_for_each(|Grown { what, more }| write!(f, "\n  {what:<9} {}", one_line(more)))
    }
}
