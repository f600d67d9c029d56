//! The schema beside what the migrations make: what is missing, what is another, and what mailroom did not make.

use std::collections::BTreeMap;

use super::finding::{Code, Finding};
use crate::db::migrate;

/// Kinds of parts that lines of the schema tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Table,
    Column,
    Constraint,
    Index,
    Function,
    Trigger,
}

/// Texts of the schema's parts by what they are and by their names; those of a table's own are `TABLE.NAME`.
type Parts<'s> = BTreeMap<(Kind, String), &'s str>;

/// Compares the schema as it should be with the lines of the one that is there.
pub(super) fn find(expected: &str, actual: &[String]) -> Vec<Finding> {
    let expected = parts(expected.lines());
    let actual = parts(actual.iter().map(String::as_str));
    let mut findings = Vec::new();
    for (part @ (kind, name), text) in &expected {
        match actual.get(part) {
            Some(found) if found == text => {}
            found => findings.extend(differs(*kind, name, text, found.copied(), &actual, &expected)),
        }
    }
    for (part @ (kind, name), text) in &actual {
        let table = name.split_once('.').map_or("", |(table, _)| table);
        let is_of_ours = expected.contains_key(&(Kind::Table, table.to_owned()));
        if is_of_ours && !expected.contains_key(part) {
            findings.extend(foreign(*kind, name, text));
        }
    }
    findings
}

/// Reads lines in the form of the schema's snapshot.
fn parts<'s>(lines: impl Iterator<Item = &'s str>) -> Parts<'s> {
    let (mut parts, mut table) = (Parts::new(), "");
    for line in lines {
        if let Some(column) = line.strip_prefix("    ") {
            let (name, text) = column.split_once(' ').unwrap_or((column, ""));
            parts.insert((Kind::Column, format!("{table}.{name}")), text);
        } else if let Some(rest) = line.strip_prefix("table ").or_else(|| line.strip_prefix("view ")) {
            // Storage parameters are the operator's.
            table = rest.split(' ').next().unwrap_or(rest);
            parts.insert((Kind::Table, table.to_owned()), "");
        } else if let Some(rest) = line.strip_prefix("constraint ") {
            let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
            parts.insert((Kind::Constraint, name.to_owned()), text);
        } else if let Some(rest) = line.strip_prefix("function ") {
            let (name, text) = rest.split_once(") returns ").unwrap_or((rest, ""));
            parts.insert((Kind::Function, format!("{name})")), text);
        } else if let Some(rest) = line.strip_prefix("CREATE TRIGGER ") {
            let name = rest.split(' ').next().unwrap_or(rest);
            parts.insert((Kind::Trigger, format!("{}.{name}", table_of(line))), line);
        } else if let Some((_, rest)) = line.split_once(" INDEX ") {
            let name = rest.split(' ').next().unwrap_or(rest);
            parts.insert((Kind::Index, name.to_owned()), line);
        }
    }
    parts
}

/// The table of a definition that Postgres has printed.
fn table_of(definition: &str) -> &str {
    let rest = definition.split_once(" ON mailroom.").map_or("", |(_, rest)| rest);
    rest.split(' ').next().unwrap_or(rest)
}

/// Finds fault with a part that is missing, or is another than it should be.
fn differs(
    kind: Kind,
    name: &str,
    text: &str,
    found: Option<&str>,
    actual: &Parts<'_>,
    expected: &Parts<'_>,
) -> Option<Finding> {
    let (table, own) = name.split_once('.').unwrap_or(("", name));
    let of_missing_table = || !table.is_empty() && !actual.contains_key(&(Kind::Table, table.to_owned()));
    let finding = |code, remedy| Some(Finding::new(code, other(kind, name, text, found), remedy));
    match kind {
        Kind::Column | Kind::Constraint | Kind::Trigger if of_missing_table() => None,
        Kind::Table => finding(Code::SchemaDrift, "restore it from a backup".to_owned()),
        Kind::Column => finding(Code::SchemaDrift, mend_column(table, own, text, found)),
        Kind::Constraint => {
            let drop = found.map_or_else(String::new, |_| format!("drop constraint {own}, "));
            finding(
                Code::SchemaDrift,
                format!("alter table mailroom.{table} {drop}add constraint {own} {text}"),
            )
        }
        Kind::Index => {
            let constraint = (Kind::Constraint, format!("{}.{name}", table_of(text)));
            // The constraint makes its index.
            let is_made = expected.contains_key(&constraint) && !actual.contains_key(&constraint);
            let missing = !actual.contains_key(&(Kind::Table, table_of(text).to_owned()));
            if is_made || missing {
                return None;
            }
            let drop = found.map_or_else(String::new, |_| format!("drop index mailroom.{name}; "));
            let make = text.replacen(" INDEX ", " INDEX CONCURRENTLY ", 1);
            finding(Code::IndexMissing, format!("{drop}{make}"))
        }
        Kind::Function => {
            let bare = name.split('(').next().unwrap_or(name);
            let file = migrate::last_with(&format!("function mailroom.{bare}(")).unwrap_or_default();
            let remedy = format!("run `create or replace function mailroom.{bare}` of {file} again");
            finding(Code::SchemaDrift, remedy)
        }
        Kind::Trigger => {
            let drop =
                found.map_or_else(String::new, |_| format!("drop trigger {own} on mailroom.{table}; "));
            finding(Code::SchemaDrift, format!("{drop}{text}"))
        }
    }
}

fn other(kind: Kind, name: &str, text: &str, found: Option<&str>) -> String {
    let word = match kind {
        Kind::Table => "table",
        Kind::Column => "column",
        Kind::Constraint => "constraint",
        Kind::Index => "index",
        Kind::Function => "function",
        Kind::Trigger => "trigger",
    };
    match (kind, found) {
        (_, None) => format!("{word} {name} is missing"),
        (Kind::Function, Some(_)) => format!("{word} {name} is not as its migration made it"),
        (_, Some(found)) => format!("{word} {name} is `{found}`, and should be `{text}`"),
    }
}

/// A column's type, whether it takes nulls, and what stands there by default.
fn column(text: &str) -> (&str, bool, Option<&str>) {
    let (rest, default) =
        text.split_once(" default ").map_or((text, None), |(rest, default)| (rest, Some(default)));
    let rest = rest.split(" generated ").next().unwrap_or(rest);
    let bare = rest.trim_end_matches(" not null");
    (bare, bare.len() == rest.len(), default)
}

fn mend_column(table: &str, name: &str, text: &str, found: Option<&str>) -> String {
    let Some(found) = found else { return format!("alter table mailroom.{table} add column {name} {text}") };
    let ((kind, takes_null, default), (kind_now, takes_null_now, default_now)) =
        (column(text), column(found));
    let mut changes = Vec::new();
    if kind != kind_now {
        changes.push(format!("alter column {name} type {kind}"));
    }
    if takes_null != takes_null_now {
        let verb = if takes_null { "drop" } else { "set" };
        changes.push(format!("alter column {name} {verb} not null"));
    }
    if default != default_now {
        let change =
            default.map_or_else(|| "drop default".to_owned(), |default| format!("set default {default}"));
        changes.push(format!("alter column {name} {change}"));
    }
    if changes.is_empty() {
        return "restore it from a backup".to_owned();
    }
    format!("alter table mailroom.{table} {}", changes.join(", "))
}

/// Finds fault with a part that mailroom did not make. Indexes cost their upkeep and change nothing; columns are written by
/// nobody, and harm where they have to be.
fn foreign(kind: Kind, name: &str, text: &str) -> Option<Finding> {
    let (table, own) = name.split_once('.').unwrap_or(("", name));
    match kind {
        Kind::Column
            if text.contains(" not null") && column(text).2.is_none() && !text.contains(" generated ") =>
        {
            let what = format!("column {name}, which mailroom did not make, takes no nulls");
            let remedy = format!("alter table mailroom.{table} alter column {own} drop not null");
            Some(Finding::new(Code::SchemaDrift, what, remedy))
        }
        Kind::Constraint => {
            let what = format!("constraint {name}, which mailroom did not make, may refuse messages");
            let remedy = format!("alter table mailroom.{table} drop constraint {own}");
            Some(Finding::new(Code::SchemaDrift, what, remedy))
        }
        Kind::Trigger => {
            let what = format!("trigger {name} was not made by mailroom");
            Some(Finding::new(Code::TriggerForeign, what, format!("drop trigger {own} on mailroom.{table}")))
        }
        Kind::Table | Kind::Column | Kind::Index | Kind::Function => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::doctor::SCHEMA;

    /// The schema with a line of it replaced, or left out where `new` is empty.
    fn with(old: &str, new: &str) -> Vec<Finding> {
        let lines = SCHEMA.lines().map(|line| if line.starts_with(old) { new } else { line });
        let lines: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
        assert_ne!(lines.join("\n"), SCHEMA.trim_end(), "no line begins with `{old}`");
        find(SCHEMA, &lines)
    }

    fn one(old: &str, new: &str) -> (&'static str, String) {
        let findings = with(old, new);
        let [finding] = &*findings else { panic!("expected one finding: {findings:?}") };
        (finding.code.word(), finding.remedy.clone())
    }

    #[test]
    fn the_schema_itself_has_no_fault_and_what_is_missing_is_named_with_what_makes_it() {
        assert!(find(SCHEMA, &SCHEMA.lines().map(str::to_owned).collect::<Vec<_>>()).is_empty());
        let (code, remedy) = one("CREATE INDEX inbox_ready", "");
        assert_eq!(code, "index-missing");
        assert!(remedy.starts_with("CREATE INDEX CONCURRENTLY inbox_ready ON mailroom.inbox"), "{remedy}");
        let (code, remedy) = one("constraint inbox.inbox_status_known", "");
        assert_eq!(code, "schema-drift");
        assert!(remedy.starts_with("alter table mailroom.inbox add constraint inbox_status_known CHECK"));
        let (_, remedy) = one("CREATE TRIGGER refuse_bearer", "");
        assert!(remedy.starts_with("CREATE TRIGGER refuse_bearer BEFORE INSERT"), "{remedy}");
        let (_, remedy) = one("function settle_with_sql", "");
        assert!(remedy.contains("migrations/0") && remedy.contains("settle_with_sql"), "{remedy}");
    }

    #[test]
    fn a_column_that_is_another_is_named_with_what_makes_it_the_same() {
        let (code, remedy) = one("    wakes boolean not null", "    wakes text default 'x'::text");
        assert_eq!(code, "schema-drift");
        let same = "alter table mailroom.inbox alter column wakes type boolean, alter column wakes set not null, alter \
                    column wakes set default false";
        assert_eq!(remedy, same);
    }

    #[test]
    fn what_others_made_is_named_where_it_harms() {
        let mut lines: Vec<String> = SCHEMA.lines().map(str::to_owned).collect();
        lines.push(
            "CREATE TRIGGER copy AFTER INSERT ON mailroom.inbox FOR EACH ROW EXECUTE FUNCTION public.copy()"
                .to_owned(),
        );
        lines.push("CREATE INDEX ours ON mailroom.inbox USING btree (topic)".to_owned());
        lines.extend(["table ours", "    id integer not null"].map(str::to_owned));
        lines.extend(["table host", "    rack integer not null"].map(str::to_owned));
        let findings = find(SCHEMA, &lines);
        let remedies: Vec<&str> = findings.iter().map(|finding| &*finding.remedy).collect();
        let expected = [
            "alter table mailroom.host alter column rack drop not null",
            "drop trigger copy on mailroom.inbox",
        ];
        assert_eq!(remedies, expected);
    }
}
