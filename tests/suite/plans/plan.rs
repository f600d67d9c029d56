//! Plan of a statement of the product: what Postgres would do, or did, for any arguments, as the host's
//! sessions ask for it.

#![expect(clippy::indexing_slicing, reason = "a field that JSON does not have is null")]

use std::fs;

use anyhow::{Context as _, Result, ensure};
use mailroom_tests::paths;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::product::Statement;

/// Settings of the planner in the host's sessions. A sort is never worth it: what is read in order stands in
/// an index in that order, and with a bound; the planner does not know the bound, and rather sorts all that
/// is pending for each page.
const SETTINGS: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("jit", "off"), ("enable_sort", "off")];

/// A session with the settings of the host's.
#[derive(Debug)]
pub(crate) struct Planner {
    session: PgConnection,
}

impl Planner {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let product = fs::read_to_string(paths::root().join("host/src/db/session.rs"))?;
        let mut session = PgConnection::connect(url).await?;
        for (name, value) in SETTINGS {
            ensure!(
                product.contains(&format!("(\"{name}\", \"{value}\")")),
                "the host's sessions do not set {name} = {value}: see host/src/db/session.rs, or change this test"
            );
            sqlx::raw_sql(AssertSqlSafe(format!("set {name} = {value}"))).execute(&mut session).await?;
        }
        Ok(Self { session })
    }

    /// The plan, which is the same for all arguments.
    pub(crate) async fn plan(&mut self, statement: &Statement) -> Result<Plan> {
        self.explain("format json", statement, &vec!["null".to_owned(); statement.parameters]).await
    }

    /// Runs it with these arguments, each an SQL literal, and takes back what it did.
    pub(crate) async fn run(&mut self, statement: &Statement, arguments: &[String]) -> Result<Plan> {
        sqlx::raw_sql("begin").execute(&mut self.session).await?;
        let plan = self.explain("analyze, buffers, timing off, format json", statement, arguments).await?;
        sqlx::raw_sql("rollback").execute(&mut self.session).await?;
        Ok(plan)
    }

    async fn explain(&mut self, how: &str, statement: &Statement, arguments: &[String]) -> Result<Plan> {
        let prepare = format!("prepare product as {}", statement.text);
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut self.session).await?;
        let arguments =
            if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
        let explain = format!("explain ({how}) execute product{arguments}");
        let explain = sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false);
        let plan: Value =
            explain.fetch_one(&mut self.session).await.with_context(|| statement.text.clone())?;
        sqlx::raw_sql("deallocate product").execute(&mut self.session).await?;
        Ok(Plan(plan[0].clone()))
    }
}

/// A plan as `explain (format json)` gives it.
#[derive(Debug)]
pub(crate) struct Plan(Value);

impl Plan {
    /// Returns how many blocks it looked at.
    pub(crate) fn blocks(&self) -> Result<u64> {
        let blocks = |kind: &str| self.0["Plan"][kind].as_u64().context("the statement was not run");
        Ok(blocks("Shared Hit Blocks")? + blocks("Shared Read Blocks")?)
    }

    /// Rows that its parts gave or threw away, each as often as it ran.
    pub(crate) fn walked(&self) -> Result<u64> {
        const KINDS: [&str; 4] = [
            "Actual Rows",
            "Rows Removed by Filter",
            "Rows Removed by Join Filter",
            "Rows Removed by Index Recheck",
        ];
        ensure!(self.0["Execution Time"].is_number(), "the statement was not run");
        let of_node = |node: &&Value| {
            let rows: u64 = KINDS.iter().filter_map(|kind| whole(&node[*kind])).sum();
            rows * whole(&node["Actual Loops"]).unwrap_or(0)
        };
        Ok(self.nodes().iter().map(of_node).sum())
    }

    /// Returns how many rows the statement gave, or changed where it changes any.
    pub(crate) fn rows(&self) -> Result<u64> {
        let deletes = |node: &&Value| text(node, "Operation") == "Delete";
        let mut top = self.nodes().into_iter().find(deletes).unwrap_or(&self.0["Plan"]);
        if text(top, "Node Type") == "ModifyTable" {
            // It counts what it returns; what it changed comes from the plan below it.
            let below = top["Plans"].as_array().into_iter().flatten();
            top = below.into_iter().find(|node| text(node, "Parent Relationship") == "Outer").unwrap_or(top);
        }
        whole(&top["Actual Rows"]).context("the statement was not run")
    }

    /// Tells whether it comes to its rows by `index`, with conditions on all of `columns`.
    pub(crate) fn goes_by(&self, index: &str, columns: &[&str]) -> bool {
        self.nodes().iter().any(|node| {
            text(node, "Index Name") == index
                && columns.iter().all(|column| text(node, "Index Cond").contains(column))
        })
    }

    /// Tells whether it reads a stretch of the table's blocks.
    pub(crate) fn reads_a_stretch_of(&self, table: &str) -> bool {
        self.nodes()
            .iter()
            .any(|node| text(node, "Node Type") == "Tid Range Scan" && text(node, "Relation Name") == table)
    }

    /// Tells whether it reads the index in its order, so that it may stop at its bound.
    pub(crate) fn reads_in_order(&self, index: &str) -> bool {
        let by_index = |node: &&&Value| text(node, "Index Name") == index;
        let in_order = ["Index Scan", "Index Only Scan"];
        self.nodes().iter().filter(by_index).all(|node| in_order.contains(&text(node, "Node Type")))
    }

    /// Every part that reads a table of messages, or an index of it, from end to end.
    pub(crate) fn scans(&self) -> Vec<String> {
        let mut scans = Vec::new();
        for node in self.nodes() {
            let (how, table, index) =
                (text(node, "Node Type"), text(node, "Relation Name"), text(node, "Index Name"));
            let of_messages =
                |name: &str| ["inbox", "outbox", "attempt"].iter().any(|table| name.starts_with(table));
            if how == "Seq Scan" && of_messages(table) && !table.ends_with("_seq") {
                scans.push(format!("{how} on {table}"));
            }
            let narrow = if ["_ready", "_held", "_due", "_first"].iter().any(|of| index.ends_with(of)) {
                "lane"
            } else {
                ""
            };
            let condition = text(node, "Index Cond");
            if of_messages(index) && (condition.is_empty() || !condition.contains(narrow)) {
                scans.push(format!("{how} on {index} where `{condition}`"));
            }
        }
        scans
    }

    fn nodes(&self) -> Vec<&Value> {
        let mut nodes = vec![&self.0["Plan"]];
        let mut next = 0;
        while let Some(node) = nodes.get(next).copied() {
            nodes.extend(node["Plans"].as_array().into_iter().flatten());
            next += 1;
        }
        nodes
    }
}

/// The number, of which Postgres 18 gives a mean with decimals.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "Postgres counts no negative rows, and fewer than a test could store"
)]
fn whole(number: &Value) -> Option<u64> {
    number.as_f64().map(|number| number.ceil() as u64)
}

fn text<'n>(node: &'n Value, name: &str) -> &'n str {
    node[name].as_str().unwrap_or("")
}
