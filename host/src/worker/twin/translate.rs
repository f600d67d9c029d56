//! Brings what the simulator's machines command into the host's own types.

use std::sync::Arc;
use std::time::Duration;

use mailroom_core::handler_machine::command::{
    EndedBy, How, Insert, LaneWrite, NewRow, NewRowState, Settled, Write,
};
use mailroom_core::handler_machine::event::{Decision, Ending};
use mailroom_core::ids::{LaneId, Lease};
use mailroom_core::message::{Message, Outgoing};
use mailroom_core::state::{self, Scope, ValueId};
use mailroom_core::verdict::decide::{Cause, DeadReason, Verdict};
use mailroom_sim::twin::{Effects as Modelled, REFUSED_PAYLOAD, REFUSED_TYPE, StateId};
use uuid::Uuid;

use crate::db::twin::state_place;
use crate::pipeline::outcome::Usage;
use crate::settle::Effects;

/// Gives the numbers that lanes have in Postgres.
pub(super) struct Translation<'l>(pub(super) &'l dyn Fn(LaneId) -> LaneId);

impl Translation<'_> {
    pub(super) fn lease(&self, lease: Lease) -> Lease {
        Lease { lane: (self.0)(lease.lane), ..lease }
    }

    pub(super) fn write(&self, write: &Write<Modelled>) -> Write<Effects> {
        let lanes = write.lanes.iter().map(|lane| LaneWrite {
            lease: self.lease(lane.lease),
            settled: lane.settled.iter().map(|settled| self.settled(settled)).collect(),
            insert: lane.insert.as_ref().map(|insert| self.insert(insert)),
            spill: lane.spill.clone(),
            reread_seen: lane.reread_seen,
        });
        Write { id: write.id, lanes: lanes.collect() }
    }

    pub(super) fn settled(&self, settled: &Settled<Modelled>) -> Settled<Effects> {
        let how = how(&settled.how, settled.message.seq);
        Settled { message: self.message(&settled.message), was_held: settled.was_held, how }
    }

    fn insert(&self, insert: &Insert<Modelled>) -> Insert<Effects> {
        let rows = insert.rows.iter().map(|row| NewRow {
            message: self.message(&row.message),
            unfit: row.unfit.clone(),
            bare: row.bare,
            as_what: match &row.as_what {
                NewRowState::Pending => NewRowState::Pending,
                NewRowState::Running => NewRowState::Running,
                NewRowState::Held => NewRowState::Held,
                NewRowState::Ended(ended) => NewRowState::Ended(how(ended, row.message.seq)),
            },
        });
        let (partition, rows) = (insert.partition.clone(), rows.collect());
        Insert { partition, epoch: insert.epoch, from: insert.from, to: insert.to, rows }
    }

    /// Gives the same message, with a text that Postgres refuses where the model does.
    pub(super) fn message(&self, message: &Message) -> Arc<Message> {
        let mut message = message.clone();
        message.lane = (self.0)(LaneId(message.lane)).0;
        if message.payload.as_deref() == Some(&REFUSED_PAYLOAD) {
            message.trace_id = Some("a\0".to_owned());
        }
        if message.event_type == REFUSED_TYPE {
            message.event_type.push('\0');
        }
        Arc::new(message)
    }
}

fn how(how: &How<Modelled>, seq: i64) -> How<Effects> {
    How {
        end: match &how.end {
            EndedBy::Host(reason, words) => EndedBy::Host(*reason, Arc::clone(words)),
            EndedBy::Call(decision) => EndedBy::Call(decided(decision, seq)),
        },
        version: Arc::clone(&how.version),
        based_on: how.based_on,
        held: how.held,
    }
}

fn decided(decision: &Decision<Modelled>, seq: i64) -> Decision<Effects> {
    let Decision { ending, wrote_state, has_sql, bytes, ref effects } = *decision;
    Decision { ending, wrote_state, has_sql, bytes, effects: Arc::new(effects_of(effects, ending, seq)) }
}

fn effects_of(modelled: &Modelled, ending: Ending, seq: i64) -> Effects {
    let said = (0..).zip(&modelled.said).map(|(place, said)| outgoing(seq, place, *said, modelled.refused));
    let written = |id: StateId| modelled.writes.iter().any(|write| write.id == id);
    let relied_on = modelled.reads.iter().filter(|read| !written(read.id));
    let reads = relied_on.map(|read| state::Read::Value { id: value_id(read.id), version: read.version });
    let writes = modelled.writes.iter().map(|write| state::Write {
        id: value_id(write.id),
        read: (!modelled.once).then_some(write.read),
        written: write.written,
        value: Some(write.value.to_string().into_bytes()),
    });
    let is_checked = !modelled.once && !modelled.is_nothing();
    Effects {
        verdict: verdict(ending),
        digest: "d".into(),
        outgoing: said.collect(),
        reads: if is_checked { reads.collect() } else { Vec::new() },
        writes: writes.collect(),
        last_output: None,
        usage: Usage::default(),
        refused: modelled.blamed,
    }
}

fn value_id(id: StateId) -> ValueId {
    let scope = match id {
        StateId::Keyed(_) => Scope::Keyed,
        StateId::Shared(_) => Scope::Shared,
    };
    let (key, name) = state_place(id);
    ValueId { scope, key, name }
}

fn outgoing(seq: i64, place: u64, said: i64, refused: bool) -> Outgoing {
    Outgoing {
        id: Uuid::from_u64_pair(seq.try_into().unwrap(), place),
        topic: "out".to_owned(),
        event_type: "said".to_owned(),
        key: None,
        payload: Some(said.to_string().into_bytes()),
        content_type: None,
        headers: Vec::new(),
        schema_version: None,
        idempotency_key: None,
        // No interval of Postgres is so long.
        delay: refused.then_some(Duration::MAX),
    }
}

fn verdict(ending: Ending) -> Verdict {
    let cause = Cause { error: "no".to_owned(), ..Cause::default() };
    match ending {
        Ending::Done => Verdict::Completed,
        Ending::Waits { delay, counted } => Verdict::Retry { delay, counted, cause },
        Ending::Dead(reason) => Verdict::Dead { reason, counted: reason == DeadReason::Exhausted, cause },
    }
}
