//! The report for people.

use std::fmt;

use bytesize::ByteSize;

use super::{Report, Standing};
use crate::config::Form;
use crate::handler::Subscription;
use crate::message::one_line;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: fits this host", self.name)?;
        writeln!(f, "  digest    {}", self.digest)?;
        writeln!(f, "  size      {}", ByteSize(self.bytes as u64))?;
        writeln!(f, "  group     {}", self.group)?;
        writeln!(f, "  exports   {}", listed(&self.exports, "nothing"))?;
        self.imports(f)?;
        for taken in &self.subscriptions {
            writeln!(f, "  takes     {}", taken.described())?;
        }
        let state = if self.grants_state { "yes" } else { "no" };
        write!(f, "  grants    publish {}; state {state}", listed(&self.grants_publish, "nowhere"))?;
        let sql = self.grants_sql.as_deref().map_or("no".to_owned(), |role| format!("as {role}"));
        let (hosts, keys) = (listed(&self.grants_http, "nowhere"), listed(&self.grants_config, "none"));
        let log = self.grants_log.as_str();
        writeln!(f, "; SQL {sql}; HTTP {hosts}; configuration {keys}; log {log}")?;
        match self.instances_calls_max {
            1 => writeln!(f, "  instances a new one for each call"),
            calls => writeln!(f, "  instances reused, {calls} calls each at most"),
        }?;
        let limits = &self.limits;
        writeln!(
            f,
            "  limits    deadline {}; fuel {}; memory {}; tables of {} elements; {} effects of {} in all; \
             {} HTTP requests; {} of output kept; {} log lines; {} state values of {} loaded",
            humantime::format_duration(limits.deadline),
            limits.fuel,
            ByteSize(limits.memory),
            limits.table_elements,
            limits.effects,
            ByteSize(limits.output_bytes),
            limits.http_requests,
            ByteSize(limits.log_bytes.into()),
            limits.log_lines,
            limits.state_values,
            ByteSize(limits.state_bytes),
        )?;
        write!(f, "  so        {}", self.guarantee.join("\n            "))
    }
}

impl Report {
    /// Writes the imports: each that can be granted has a line of its own; the rest is what every toolchain
    /// brings.
    fn imports(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut label = "imports";
        let mut line = |f: &mut fmt::Formatter<'_>, standing: &str, what: &str| {
            let label = std::mem::take(&mut label);
            writeln!(f, "  {label:<9} {standing:<8} {}", one_line(what))
        };
        let of = |standing| self.imports.iter().filter(move |import| import.standing == standing);
        for import in of(Standing::Granted) {
            line(f, "granted", &import.name)?;
        }
        for import in of(Standing::Denied) {
            let remedy = match import.grant {
                Some(grant) => format!("the manifest would grant it with {grant}"),
                None => "no manifest can grant it".to_owned(),
            };
            line(f, "denied", &format!("{} ({remedy})", import.name))?;
        }
        for (standing, word) in [(Standing::Empty, "empty"), (Standing::Given, "given")] {
            let names: Vec<String> = of(standing).map(|import| import.name.clone()).collect();
            if !names.is_empty() {
                line(f, word, &names.join(", "))?;
            }
        }
        if self.imports.is_empty() { line(f, "nothing", "") } else { Ok(()) }
    }
}

impl Subscription {
    /// Describes it in one line.
    pub(crate) fn described(&self) -> String {
        let form = match self.form {
            Form::Text => "text",
            Form::Binary => "binary",
        };
        format!(
            "topics {}; event types {}; sources {}; schema versions {}; payload as {form}",
            listed(&self.topics, "none"),
            listed(&self.event_types, "any"),
            listed(&self.sources, "any"),
            listed(&self.schema_versions, "any"),
        )
    }
}

/// Names of the guest's own choice, in one line.
fn listed(list: &[String], none: &str) -> String {
    if list.is_empty() { none.to_owned() } else { one_line(&list.join(", ")).into_owned() }
}
