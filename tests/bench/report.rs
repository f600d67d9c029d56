//! The figures for people and for programs.

use serde_json::{Value, json};

use crate::figure::{Delays, Figure, Measured, Neighbour};

/// Figures of a whole run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) messages: u32,
    pub(crate) figures: Vec<Figure>,
}

/// Notes that whoever reads the table must know.
const NOTES: &str = "\
Rates are messages a second. The relay's and the drain's count from the first `completed_at` to the last, \
*handled* from the first `created_at` to the last `completed_at`: neither counts what came before the first row was \
written. All programs share the cores with \
Postgres and Kafka; each starts on a fresh database after a checkpoint, floor and mailroom in turn three times, \
of which the best counts; `fsync` and `synchronous_commit` are on.

Floors use the same tables with all their columns and indexes, and neither fence nor wait for anything. Two \
connections each, since two are faster than one on two cores (handled by a fifth, relay by a fifth, drain by a \
third), and the sizes of pages at which more gains little:

- relay: reads its lanes, 64 rows each, publishes what it read with the same headers, marks it in one statement \
once all of it is acknowledged; reading, publishing and marking overlap.
- handled: consumes and writes 500 rows a statement, already completed, with the offset row; consuming and \
writing overlap.
- drain: reads 500 rows of a lane with their payloads, completes them in one statement; the two overlap.
- other keys: mailroom itself drains the same backlog of one lane without the key that waits.

What bounds them was tried on two cores with one connection and nothing beside it, 500 rows a statement. Rows of the \
inbox: 98,000 a second; 181,000 without the dedup index, 111,000 without the checks, 98,000 without headers; \
a table of five columns whose key is partition and offset takes 168,000. Marked rows of the outbox: 76,000 a second, \
99,000 with 1,000 a statement; 146,000 without the primary key and the index by time. The \
rest is the broker and the client on the same cores.

*Producers* are 16 connections with one insert a transaction. mailroom's column is `mailroom.outbox`; the floor's \
is a copy with the same columns, checks and indexes and no trigger. In both a relay on the same cores is busy \
with a backlog that outlasts the run.

The native handler and the component complete every message and look at none. The component's aim is the ratio to the native \
one on the same host.

*Metrics*: the same host with the native handler; the floor has no admin port and records nothing.

Latencies are of messages sent one by one: *commit → Kafka* from the insert's time in the application's \
transaction to the broker's append time; *Kafka → committed effect* from the broker's append time to the \
row's `completed_at`. The broker counts whole milliseconds; both are rounded up. An idle host has one \
handler with 12 partitions, and the relay.

*A neighbour* gets 200 messages a second, at first alone, then while four calls of another handler loop until \
their deadline of a second, again and again, on the threads that guests have: one fewer than cores. Delays are as for *Kafka → \
committed effect*.

*A reload* counts from just before the component's file is written to the first row that its new version completed, \
with 500 messages a second flowing. Cold: never seen, so it is compiled. Warm: compiled before, by whatever \
process, and kept in the store of compiled code. Each version is the same component with another digest. A script is another text each \
time; nothing is compiled for it.

A *call* is one of the example handler `invoice` by `mailroom handler invoke --times 50000`, from its place in the \
pool until its instance is freed or kept: the message is copied in, its JSON read, a total read from the state and \
written, a message emitted, and what was asked for noted. Nothing is subtracted for what the handler does. Settings are \
those of a host: pooling allocator with resident pages, fuel and epochs on, backtraces on, all limits \
set; the component is the release build with its names. A reused instance has its 1,000 calls.";

impl Report {
    /// The table, and the machine under it.
    pub(crate) fn table(&self) -> String {
        let mut text = "| what | mailroom | floor | ratio | aim |\n|---|---:|---:|---:|---:|\n".to_owned();
        for figure in &self.figures {
            let [mailroom, floor, ratio, aim] = cells(figure.is);
            text.push_str(&format!("| {} | {mailroom} | {floor} | {ratio} | {aim} |\n", figure.of));
        }
        text.push_str(&format!(
            "\n{} messages of 300 bytes, 1,000 keys, 12 partitions. {}.\n",
            thousands(f64::from(self.messages)),
            self.machine
        ));
        text
    }

    /// The page for the docs, with the sections that somebody wrote on the page `before`.
    pub(crate) fn page(&self, before: &str) -> String {
        let sections = before.find("\n## ").and_then(|at| before.get(at..)).unwrap_or_default();
        format!(
            "# Benchmark\n\nMade by `cargo xtask bench --write`; run it for the figures of your machine. What counts is the \
             ratio: absolute figures differ between machines and runs.\n\n{}\n{NOTES}\n{sections}",
            self.table()
        )
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let figures: Vec<Value> = self.figures.iter().map(figure_json).collect();
        json!({ "machine": self.machine, "messages": self.messages, "figures": figures })
    }
}

/// The columns after the first.
fn cells(measured: Measured) -> [String; 4] {
    match measured {
        Measured::Rates(rates) => [
            thousands(rates.mailroom),
            thousands(rates.floor),
            match rates.native {
                None => format!("{:.2}", rates.ratio()),
                Some(_) => {
                    format!(
                        "{:.2} of native, {:.2} of the floor",
                        rates.ratio(),
                        rates.mailroom / rates.floor
                    )
                }
            },
            format!("≥ {}", rates.aim),
        ],
        Measured::Delays(delays, aim) => [told(delays), String::new(), String::new(), aim.to_owned()],
        Measured::Neighbour(neighbour) => [
            format!("{:.0}/s, {}", neighbour.beside.per_sec, told(neighbour.beside.delays)),
            format!("quiet: {:.0}/s, {}", neighbour.quiet.per_sec, told(neighbour.quiet.delays)),
            format!("{:.2} of the rate, p99 × {:.1}", neighbour.rate_ratio(), neighbour.p99_ratio()),
            "≥ 0.9, ≤ 2".to_owned(),
        ],
        Measured::Idle(idle) => [
            format!("{:.1} {}/s, {:.2} % of a core", idle.per_sec, idle.counted, idle.cpu_percent),
            String::new(),
            String::new(),
            "≤ 2/s a loop, < 1 %".to_owned(),
        ],
        Measured::Call(call) => [
            format!("median {:.1} µs, p99 {:.1} µs", call.median_us, call.p99_us),
            String::new(),
            String::new(),
            call.aim_us.map(|aim| format!("≤ {aim} µs")).unwrap_or_default(),
        ],
    }
}

fn told(delays: Delays) -> String {
    format!("p50 {:.1} ms, p99 {:.1} ms", delays.p50_ms, delays.p99_ms)
}

fn figure_json(figure: &Figure) -> Value {
    match figure.is {
        Measured::Rates(rates) => json!({
            "what": figure.of, "per_sec": rates.mailroom, "floor_per_sec": rates.floor,
            "native_per_sec": rates.native, "ratio": rates.ratio(), "aim": rates.aim,
        }),
        Measured::Delays(delays, aim) => {
            json!({ "what": figure.of, "p50_ms": delays.p50_ms, "p99_ms": delays.p99_ms, "aim": aim })
        }
        Measured::Neighbour(Neighbour { quiet, beside }) => json!({
            "what": figure.of, "per_sec": beside.per_sec, "p50_ms": beside.delays.p50_ms,
            "p99_ms": beside.delays.p99_ms, "quiet_per_sec": quiet.per_sec,
            "quiet_p50_ms": quiet.delays.p50_ms, "quiet_p99_ms": quiet.delays.p99_ms,
        }),
        Measured::Idle(idle) => json!({
            "what": figure.of, "counted": idle.counted, "per_sec": idle.per_sec, "cpu_percent": idle.cpu_percent,
        }),
        Measured::Call(call) => json!({
            "what": figure.of, "median_us": call.median_us, "p99_us": call.p99_us, "aim_us": call.aim_us,
        }),
    }
}

/// A whole number with a comma every three digits.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Call, Idle, Paced, Rates};

    #[test]
    fn the_table_has_a_line_a_figure_with_its_ratio() {
        let rates = Rates { mailroom: 61_234.4, floor: 122_468.8, native: None, aim: 0.5 };
        let component = Rates { mailroom: 30_000.0, native: Some(60_000.0), ..rates };
        let delays = Delays { p50_ms: 2.04, p99_ms: 9.0 };
        let quiet = Paced { per_sec: 200.0, delays };
        let beside = Paced { per_sec: 190.0, delays: Delays { p50_ms: 4.0, p99_ms: 13.5 } };
        let figures = vec![
            Figure { of: "relay", is: Measured::Rates(rates) },
            Figure { of: "component", is: Measured::Rates(component) },
            Figure { of: "wait", is: Measured::Delays(delays, "≤ 5 ms") },
            Figure { of: "beside", is: Measured::Neighbour(Neighbour { quiet, beside }) },
            Figure {
                of: "idle",
                is: Measured::Idle(Idle { counted: "statements", per_sec: 3.25, cpu_percent: 0.4 }),
            },
            Figure {
                of: "call",
                is: Measured::Call(Call { median_us: 11.04, p99_us: 20.0, aim_us: Some(20.0) }),
            },
        ];
        let report = Report { machine: "2 cores".into(), messages: 100_000, figures };
        let table = report.table();
        assert!(table.contains("| relay | 61,234 | 122,469 | 0.50 | ≥ 0.5 |\n"), "{table}");
        let both = "| component | 30,000 | 122,469 | 0.50 of native, 0.24 of the floor | ≥ 0.5 |\n";
        assert!(table.contains(both), "{table}");
        assert!(table.contains("| wait | p50 2.0 ms, p99 9.0 ms |  |  | ≤ 5 ms |"), "{table}");
        let neighbour = "| 190/s, p50 4.0 ms, p99 13.5 ms | quiet: 200/s, p50 2.0 ms, p99 9.0 ms | 0.95 of the rate, p99 × 1.5 |";
        assert!(table.contains(neighbour), "{table}");
        assert!(table.contains("| idle | 3.2 statements/s, 0.40 % of a core |"), "{table}");
        assert!(table.contains("| call | median 11.0 µs, p99 20.0 µs |  |  | ≤ 20 µs |\n"), "{table}");
        assert!(table.ends_with("100,000 messages of 300 bytes, 1,000 keys, 12 partitions. 2 cores.\n"));
        let section = "\n## Where the time goes\n\nInto waiting.\n";
        let page = report.page(&format!("# Benchmark\n\nOld figures.\n{section}"));
        assert!(page.contains(&table) && page.ends_with(section) && !page.contains("Old"), "{page}");
        assert_eq!(report.json().pointer("/figures/0/ratio"), Some(&json!(0.5)));
    }

    #[test]
    fn commas_stand_every_three_digits() {
        for (number, text) in [(0.4, "0"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
