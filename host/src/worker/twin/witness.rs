//! Does at a real Postgres, by the host's own functions, what was done to the model, and compares.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mailroom_core::handler_machine::command::{Begin, Command};
use mailroom_core::handler_machine::event::{self, Look};
use mailroom_core::ids::{LaneId, Lease, Seq, TopicPartition};
use mailroom_core::message::Message;
use mailroom_core::time::Moment;
use mailroom_sim::twin::{Act, Deed, EXPIRY, Effects as Modelled, KeyState, Session, Tables, Witness};
use serde_json::json;
use tokio::runtime::Runtime;

use super::translate::Translation;
use crate::config::{self, WorkerName};
use crate::db::audit::Operator;
use crate::db::handlers::Entry;
use crate::db::twin::{self, Snapshot, session_id};
use crate::db::{Db, dead_letters, handlers, hosts, lanes, pauses, rounds};
use crate::inbox;

pub(super) type ModelCommand = Command<KeyState, Modelled>;
pub(super) type ModelEvent = event::Event<KeyState, Modelled>;
pub(super) type Checked = Result<(), String>;

/// Number of comparisons of each kind of answer.
pub(super) type Counts = Rc<RefCell<BTreeMap<&'static str, u64>>>;

pub(super) struct Twin {
    runtime: Rc<Runtime>,
    real: Real,
    counts: Counts,
}

pub(super) struct Real {
    pub(super) db: Db,
    pub(super) host: config::Host,
    /// The moment of Postgres' clock at which that of the model was zero, in microseconds since 1970.
    pub(super) base: i64,
    /// The partitions of the model's lanes.
    pub(super) partitions: BTreeMap<LaneId, TopicPartition>,
    pub(super) model: Tables,
    pub(super) snapshot: Snapshot,
}

impl Witness for Twin {
    fn did(&mut self, deed: &Deed<'_>, now: u64, tables: Tables) -> Checked {
        let now = i64::try_from(now).unwrap();
        let real = &mut self.real;
        let kind = self.runtime.block_on(async {
            real.align(now).await;
            let kind = real.carry_out(deed, now, &tables).await?;
            real.compare(now, tables).await.map(|()| kind)
        });
        *self.counts.borrow_mut().entry(kind?).or_default() += 1;
        Ok(())
    }
}

impl Twin {
    pub(super) fn new(runtime: &Rc<Runtime>, db: &Db, host: &config::Host, counts: &Counts) -> Self {
        let snapshot = runtime.block_on(async {
            twin::clear(db).await;
            twin::read(db).await
        });
        let host = config::Host { expiry: Duration::from_millis(EXPIRY), ..host.clone() };
        let real = Real {
            db: db.clone(),
            host,
            base: snapshot.now,
            partitions: BTreeMap::new(),
            model: Tables::default(),
            snapshot,
        };
        Self { runtime: Rc::clone(runtime), real, counts: Rc::clone(counts) }
    }
}

impl Real {
    pub(super) fn real_lane(&self, lane: LaneId) -> LaneId {
        let partition = self.partitions.get(&lane);
        partition.and_then(|partition| self.snapshot.lanes.get(partition)).copied().unwrap_or(LaneId(-1))
    }

    pub(super) fn model_lane(&self, lane: LaneId) -> LaneId {
        let partition =
            self.snapshot.lanes.iter().find(|(_, of)| **of == lane).map(|(partition, _)| partition);
        let known = self.partitions.iter().find(|(_, of)| Some(*of) == partition);
        known.map_or(LaneId(-1), |(lane, _)| *lane)
    }

    pub(super) fn lease(&self, lease: Lease) -> Lease {
        Translation(&|lane| self.real_lane(lane)).lease(lease)
    }

    fn message(&self, message: &Message) -> Arc<Message> {
        Translation(&|lane| self.real_lane(lane)).message(message)
    }

    /// Does it, compares what came of it, and says what kind of thing it was.
    async fn carry_out(
        &mut self,
        deed: &Deed<'_>,
        now: i64,
        tables: &Tables,
    ) -> Result<&'static str, String> {
        let db = self.db.clone();
        let kind = match deed {
            Deed::Registered(session, worker) => {
                self.register(*session, *worker).await;
                "registered"
            }
            Deed::Renewed(session, there) => {
                let renewed = hosts::renew(&db, session_id(*session), self.host.expiry).await.unwrap();
                same("renewed", there, &renewed)?;
                if renewed { "renewed" } else { "not renewed" }
            }
            Deed::Departed(session) => {
                hosts::depart(&db, session_id(*session)).await.unwrap();
                "departed"
            }
            Deed::Buried(by) => {
                let buried = hosts::bury(&db, session_id(*by), "nobody", true).await.unwrap();
                if buried.is_empty() { "nobody buried" } else { "buried" }
            }
            Deed::NotedFreeLanes => {
                hosts::note_free_lanes(&db).await.unwrap();
                "noted free lanes"
            }
            Deed::Looked(session, look) => {
                self.look(*session, look, now).await?;
                "looked"
            }
            Deed::GivenBack(leases) => {
                let leases: Vec<Lease> = leases.iter().map(|lease| self.lease(*lease)).collect();
                lanes::release(&db, &leases).await.unwrap();
                "given back"
            }
            Deed::Acted(act) => self.act(act, tables).await,
            Deed::Commanded(session, command, event) => {
                return self.command(*session, command, event, now).await;
            }
            Deed::Begun(lease, message, begin, done) => {
                let (lease, message) = (self.lease(*lease), self.message(message));
                let begun = match begin {
                    Begin::Once => inbox::mark_begun(&db, lease, &message).await.unwrap(),
                    Begin::Alone => inbox::mark_lone(&db, lease, &message).await.unwrap(),
                    Begin::Free => true,
                };
                same("begun", done, &begun)?;
                match (done, begin) {
                    (true, Begin::Once) => "begun once",
                    (true, _) => "begun alone",
                    (false, _) => "not begun",
                }
            }
            Deed::CameBack(lease, message) => {
                inbox::mark_came_back(&db, self.lease(*lease), &self.message(message)).await.unwrap();
                "came back"
            }
        };
        Ok(kind)
    }

    async fn register(&self, session: Session, worker: usize) {
        let host =
            config::Host { worker: WorkerName::parse(&format!("h{worker}")).unwrap(), ..self.host.clone() };
        hosts::register(&self.db, session_id(session), &host, false).await.unwrap();
        let entry = Entry {
            name: "h",
            group: "g",
            digest: Some("d"),
            version: None,
            state: "running",
            subscriptions: json!([]),
            last_error: None,
        };
        handlers::record(&self.db, session_id(session), &entry).await.unwrap();
    }

    async fn look(&self, session: Session, look: &Look, now: i64) -> Checked {
        let seen = rounds::look(&self.db, session_id(session)).await.unwrap();
        let real: BTreeMap<LaneId, _> = seen
            .lanes
            .iter()
            .map(|lane| (self.model_lane(LaneId(lane.lane)), (lane.token, lane.reread, lane.wanted)))
            .collect();
        let model =
            look.lanes.iter().map(|(lane, of)| (*lane, (of.token.0, of.rereads.0, of.wanted))).collect();
        same("lanes looked at", &model, &real)?;
        same("paused", &look.paused, &seen.paused.contains("g"))?;
        let now = Moment(u64::try_from(now).unwrap());
        let open = look.open_until.map(|until| until > now);
        same("open", &open, &seen.open.first().map(|(_, wait)| !wait.is_zero()))
    }

    async fn act(&self, act: &Act, tables: &Tables) -> &'static str {
        let db = &self.db;
        match act {
            Act::Replay(seq) => {
                dead_letters::replay(db, &self.letters(*seq).await, None).await.unwrap();
                "replayed"
            }
            Act::Discard(seq) => {
                dead_letters::discard(db, &self.letters(*seq).await, &operator()).await.unwrap();
                "discarded"
            }
            Act::Unlock(lane, key) => {
                twin::unlock(db, self.real_lane(*lane), *key).await.unwrap();
                "unlocked"
            }
            Act::Pause => {
                pauses::pause(db, "g", &operator()).await.unwrap();
                "paused"
            }
            Act::Resume => {
                pauses::resume(db, "g", &operator()).await.unwrap();
                "resumed"
            }
            Act::Complete(seq) => {
                twin::edit(db, *seq, true).await;
                "completed by hand"
            }
            Act::Hasten(seq) => {
                twin::edit(db, *seq, false).await;
                "hastened by hand"
            }
            Act::Write(id) => {
                let (version, value) = tables.state[id];
                twin::write_state(db, *id, version, value).await;
                "written by others"
            }
        }
    }

    async fn letters(&self, seq: Seq) -> Vec<dead_letters::Open> {
        let which = dead_letters::Which::default();
        let mut open = dead_letters::open(&self.db, &which, None, 1000).await.unwrap();
        open.retain(|letter| letter.seq == seq.0);
        open
    }
}

fn operator() -> Operator {
    Operator::at_command_line("h0", None)
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, model: &T, real: &T) -> Checked {
    if model == real {
        return Ok(());
    }
    Err(format!("{what}:\n  model    {model:?}\n  Postgres {real:?}"))
}
