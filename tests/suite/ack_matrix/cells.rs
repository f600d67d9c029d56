//! The cells, and what is seen of them: rows, calls, effects, and the offsets that Kafka was told.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use mailroom_tests::kafka::record::first_occurrences;
use mailroom_tests::{Host, Manifest, Message, Proxy, Record, SOON, World, becomes};
use serde_json::{Value, json};

use super::plan::{End, Planned, ROWS, Row};

const ACKS: [&str; 2] = ["at-least-once", "at-most-once"];
const SETTLES: [&str; 2] = ["bulk", "single"];
const OFFSETS: [&str; 2] = ["on-persist", "on-success"];

const UNRELAYED: &str = "select count(*) from mailroom.outbox where status <> 'completed'";
const COMPLETED: &str = "select message_id from mailroom.inbox where outcome = 'completed'";
/// Keys whose sum is not the number of their completed messages.
const WRONG_SUMS: &str = "
    select count(*)
      from (select i.consumer_group, i.key, count(*) filter (where i.outcome = 'completed') as completed
              from mailroom.inbox i group by i.consumer_group, i.key) m
      left join mailroom.state s
        on s.consumer_group = m.consumer_group and s.key = m.key and s.scope = 'keyed' and s.name = 'sum'
     where coalesce(convert_from(s.value, 'UTF8')::bigint, 0) <> m.completed";

/// A handler with one way to acknowledge, to settle, and to tell Kafka.
#[derive(Debug)]
pub(super) struct Cell {
    name: String,
    ack: &'static str,
    settle: &'static str,
    offset: &'static str,
    group: String,
    input: String,
}

impl Cell {
    async fn new(
        world: &World,
        ack: &'static str,
        settle: &'static str,
        offset: &'static str,
    ) -> Result<Self> {
        let name = format!("{ack}-{settle}-{offset}");
        let input = world.kafka.topic(&name, 1).await?;
        Ok(Self { group: world.group(&name), name, ack, settle, offset, input })
    }

    /// Tells whether its messages are handed over at most once.
    pub(super) fn is_once(&self) -> bool {
        self.ack == "at-most-once"
    }

    /// Tells whether Kafka is told of nothing from the first unsettled message on.
    pub(super) fn is_on_success(&self) -> bool {
        self.offset == "on-success"
    }

    /// Tells whether a message has its row before it is handed over.
    pub(super) fn stores_first(&self) -> bool {
        self.is_once() || self.settle == "single"
    }

    /// Gives the id of its message of this name.
    pub(super) fn id(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    fn manifest(&self, output: &str, line: &str) -> Manifest {
        let Self { ack, settle, offset, .. } = self;
        let own = format!("ack = \"{ack}\"\nsettle = \"{settle}\"\ncommit-offset = \"{offset}\"");
        let manifest = Manifest::takes(&[&self.input]).publishes(&[output]).grants("log = \"info\"");
        manifest.with(&own).with("breaker.threshold = 1000").with(line)
    }

    /// Makes the message: its call says so in the log first, adds one to its key's sum and emits that.
    fn message(&self, output: &str, planned: &Planned) -> Message {
        let called = format!("called [{}]", planned.name);
        let mut script = json!({"topic": output, "add": 1, "log": [["info", "", called]]});
        if let (Some(words), Some(own)) = (script.as_object_mut(), planned.script.as_object()) {
            words.extend(own.clone());
        }
        Message::to(&self.input).key(&planned.key).id(&self.id(&planned.name)).json(&script)
    }

    fn calls(&self, log: &str, name: &str) -> Result<i32> {
        let line = format!("{}: called [{name}]", self.name);
        Ok(i32::try_from(log.matches(line.as_str()).count())?)
    }
}

/// Cells of the matrix, in a host that is called `a`.
pub(super) struct Matrix<'w> {
    world: &'w World,
    cells: Vec<Cell>,
    output: String,
}

impl<'w> Matrix<'w> {
    /// Starts a host, with Postgres behind `proxy` where there is one, and drops a handler for each cell, each with one
    /// more line in its manifest.
    pub(super) async fn start(world: &'w World, line: &str, proxy: Option<&Proxy>) -> Result<(Self, Host)> {
        let output = world.kafka.topic("out", 1).await?;
        let mut cells = Vec::new();
        for ack in ACKS {
            for settle in SETTLES {
                for offset in OFFSETS {
                    cells.push(Cell::new(world, ack, settle, offset).await?);
                }
            }
        }
        let host = match proxy {
            Some(proxy) => world.start_host_behind("a", proxy)?,
            None => world.start_host("a")?,
        };
        for (number, cell) in cells.iter().enumerate() {
            world.drop_handler(&cell.name, "scripted", &cell.manifest(&output, line))?;
            if number == 0 {
                // It is the only one that has to be compiled: the others are the same component.
                host.wait_log(&format!("Handler {} runs", cell.name)).await?;
            }
        }
        // What is sent then begins in all of them together.
        for cell in &cells {
            host.wait_log(&format!("Reading partition 0 of topic {} ", cell.input)).await?;
        }
        Ok((Self { world, cells, output }, host))
    }

    /// Sends each cell its messages, in their order.
    pub(super) async fn send(&self, plan: impl Fn(&Cell) -> Vec<Planned>) -> Result<()> {
        let mut messages = Vec::new();
        for cell in &self.cells {
            messages.extend(plan(cell).iter().map(|planned| cell.message(&self.output, planned)));
        }
        self.world.kafka.send_all(&messages).await
    }

    /// Waits until the messages of each cell are as planned, and there are no others.
    pub(super) async fn end_as(&self, plan: impl Fn(&Cell) -> Vec<Planned>) -> Result<()> {
        for cell in &self.cells {
            let planned = plan(cell);
            let expected: Vec<Row> =
                planned.iter().map(|planned| Row::of(cell.id(&planned.name), planned.end)).collect();
            becomes(&cell.name, expected, SOON, async || self.rows(cell).await).await?;
        }
        Ok(())
    }

    async fn rows(&self, cell: &Cell) -> Result<Vec<Row>> {
        Ok(sqlx::query_as(ROWS).bind(&cell.group).fetch_all(self.world.db.pool()).await?)
    }

    /// Fails where the number of a message's calls does not fit its cell and its end.
    pub(super) fn calls_fit(
        &self,
        host: &Host,
        plan: impl Fn(&Cell) -> Vec<Planned>,
        fit: impl Fn(&Cell, End, i32) -> bool,
    ) -> Result<()> {
        let log = host.log()?;
        for cell in &self.cells {
            for Planned { name, end, .. } in plan(cell) {
                let calls = cell.calls(&log, &name)?;
                ensure!(fit(cell, end, calls), "{}: {calls} calls of {name}, which ends {end:?}", cell.name);
            }
        }
        Ok(())
    }

    /// Waits until everything that was emitted is marked as published.
    pub(super) async fn relayed(&self) -> Result<()> {
        let unrelayed = async || self.world.db.one::<i64>(UNRELAYED).await;
        becomes("everything that was emitted is relayed", 0, SOON, unrelayed).await
    }

    /// Fails where a completed message has not exactly one effect in state and on Kafka, or another one has any; gives
    /// the number of records that are repeats.
    pub(super) async fn effects_once(&self) -> Result<usize> {
        self.relayed().await?;
        let records = self.world.kafka.read_all(&self.output).await?;
        let firsts = first_occurrences(&records)?;
        let mut emitted: Vec<String> = firsts.iter().map(|record| emitter(record)).collect::<Result<_>>()?;
        let mut completed: Vec<String> = self.world.db.column(COMPLETED).await?;
        emitted.sort_unstable();
        completed.sort_unstable();
        ensure!(emitted == completed, "emitted on Kafka: {emitted:?}, completed: {completed:?}");
        let wrong = self.world.db.one::<i64>(WRONG_SUMS).await?;
        ensure!(wrong == 0, "{wrong} keys have a sum that is not the number of their completed messages");
        Ok(records.len() - firsts.len())
    }

    /// Waits until Kafka was told this offset of each cell.
    pub(super) async fn tells(&self, what: &str, offset: impl Fn(&Cell) -> usize) -> Result<()> {
        let mut expected = Vec::new();
        for cell in &self.cells {
            expected.push((cell.name.as_str(), Some(i64::try_from(offset(cell))?)));
        }
        becomes(what, expected, SOON, async || self.told().await).await
    }

    async fn told(&self) -> Result<Vec<(&str, Option<i64>)>> {
        let told = self.cells.iter().map(|cell| self.world.kafka.committed(&cell.group, &cell.input));
        let told = try_join_all(told).await?;
        Ok(self.cells.iter().map(|cell| cell.name.as_str()).zip(told).collect())
    }
}

/// Id of the message whose call emitted the record.
fn emitter(record: &Record) -> Result<String> {
    let payload = record.json()?;
    let id = payload.get("in").and_then(Value::as_str);
    Ok(id.with_context(|| format!("no id in {payload}"))?.to_owned())
}
