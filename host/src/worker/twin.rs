//! Compares the simulator's model of Postgres with Postgres: the same commands of the same machines, one after another,
//! on both, and after each the answers and the tables.
//!
//! Locks and snapshots of transactions side by side are not compared, nor what handlers' own statements write.

mod answers;
mod commands;
mod times;
mod translate;
mod witness;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

use mailroom_servers::{Postgres, PostgresOptions};
use mailroom_sim::twin::{self, Broken};
use tokio::runtime::Builder;
use witness::{Counts, Twin};

use crate::config::{Config, PostgresUrl, Servers, SqlRole};
use crate::db::{Db, migrate, twin as twin_db};

/// Seeds of machines under faults. A failure names its seed, which alone brings it back.
const RUNS: Range<u64> = 1..13;
/// Steps of such a run in which faults are injected.
const STEPS: u64 = 200;
/// Seeds of commands in an order that no machine would give.
const LOOSE_RUNS: Range<u64> = 1..41;
/// Commands of such a run.
const COMMANDS: u64 = 150;
/// The role of calls with transactions of their own.
const GUEST: &str = "guest";
/// Lines of the history that are shown.
const SHOWN: usize = 40;

/// Cases that have to be compared at least once, or the test has lost something.
const REACHED: [&str; 54] = [
    "begun alone",
    "begun once",
    "breaker told",
    "buried",
    "came back",
    "completed by hand",
    "departed",
    "discarded",
    "due",
    "due: more",
    "due: some later",
    "given back",
    "hastened by hand",
    "looked",
    "marked",
    "marked: none",
    "not begun",
    "not renewed",
    "noted free lanes",
    "paused",
    "positioned",
    "probe claimed",
    "read",
    "read: more of a key",
    "read: more of the lane",
    "read: nothing",
    "registered",
    "released",
    "renewed",
    "replayed",
    "resumed",
    "retaken",
    "retaken: none",
    "seqs drawn",
    "sql settled",
    "sql settled: again",
    "sql settled: instead",
    "sql settled: lane lost",
    "sql settled: missed",
    "standing",
    "standing: more",
    "taken",
    "taken: abandoned",
    "taken: none",
    "unlocked",
    "written",
    "written by others",
    "written: bad data",
    "written: bad data of one",
    "written: lanes lost",
    "written: offset moved",
    "written: some duplicates",
    "written: some missed",
    "written: state lost",
];

#[test]
fn the_models_tables_are_postgres_tables_after_every_command() {
    let settings =
        ["fsync", "synchronous_commit", "full_page_writes"].map(|name| (name.to_owned(), "off".to_owned()));
    let options = PostgresOptions { settings: settings.into(), ..PostgresOptions::default() };
    let server = Postgres::start(&folder(), options).unwrap();
    let runtime = Rc::new(Builder::new_current_thread().enable_all().build().unwrap());
    let (config, db) = runtime.block_on(make_database(server.url()));
    let counts: Counts = Rc::new(RefCell::new(BTreeMap::new()));
    let twin = || Box::new(Twin::new(&runtime, &db, &config.host, &counts));
    for seed in RUNS {
        show(&format!("run {seed}"), twin::run(seed, STEPS, twin()));
    }
    for seed in LOOSE_RUNS {
        show(&format!("loose run {seed}"), twin::run_loose(seed, COMMANDS, twin()));
    }
    let counts = counts.borrow();
    let all: u64 = counts.values().sum();
    println!("{all} comparisons: {counts:#?}");
    let missing: Vec<_> = REACHED.iter().filter(|kind| !counts.contains_key(*kind)).collect();
    assert!(missing.is_empty(), "never compared: {missing:?}");
}

/// Makes the tables in a database of their own.
async fn make_database(server: &str) -> (Config, Db) {
    let mut config = Config::load_with(None, std::iter::empty(), Servers::Unneeded).unwrap().0;
    config.postgres.url = PostgresUrl::parse(server).unwrap();
    let of_server = Db::new(&config.postgres, &BTreeMap::new()).unwrap();
    twin_db::make_database(&of_server).await;
    of_server.close().await;
    let (address, _) = server.rsplit_once('/').unwrap();
    let (_, place) = address.rsplit_once('@').unwrap();
    config.postgres.url = PostgresUrl::parse(&format!("{address}/twin")).unwrap();
    let url = PostgresUrl::parse(&format!("postgres://{GUEST}:{GUEST}@{place}/twin")).unwrap();
    let guest = SqlRole { url, connections_max: 2 };
    let db = Db::new(&config.postgres, &BTreeMap::from([(GUEST.to_owned(), guest)])).unwrap();
    migrate::apply(&db, |_| {}).await.unwrap();
    twin_db::make_guest(&db).await;
    (config, db)
}

/// Fails with the last lines before a difference.
fn show(run: &str, ran: Result<(), Broken>) {
    if let Err(Broken { rule, text, history }) = ran {
        let from = history.len().saturating_sub(SHOWN);
        panic!("{run}, {rule}:\n{text}\n\n{}", history[from..].join("\n"));
    }
}

/// Returns a folder below the one that cargo builds into, where Postgres can reach it; the tests' runner ends
/// what is left there.
fn folder() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().nth(3).unwrap();
    mailroom_servers::reachable_dir(&target.join("servers")).unwrap().join("twin-postgres")
}
