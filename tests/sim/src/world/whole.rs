//! Work at the database that is done whole, before a witness.

use std::cell::RefCell;
use std::sync::Arc;

use mailroom_core::handler_machine::event::Failure;

use super::World;
use crate::choices::Choices;
use crate::guest::Act;
use crate::job::{Job, Lost, Stage, missed};
use crate::postgres::Flow;
use crate::twin::{Deed, Tables, Witness, deed};

thread_local! {
    /// The witness of this thread's run. It stays beside the world, since worlds are cloned and go from thread to thread
    /// where all is explored, and a connection to a database does neither.
    static WITNESS: RefCell<Option<Box<dyn Witness>>> = const { RefCell::new(None) };
}

/// Begins a run with this witness, or without one.
pub(super) fn begin(witness: Option<Box<dyn Witness>>) {
    WITNESS.set(witness);
}

impl World {
    /// A world in which a witness does the same at a real database.
    pub(crate) fn witnessed(choices: Choices, witness: Box<dyn Witness>) -> Self {
        Self::with(choices, true, Some(witness))
    }

    /// Releases the witness of the last run.
    pub(crate) fn dismiss_witness() {
        begin(None);
    }

    /// Calls that keep transactions of their own open are not witnessed.
    pub(super) fn leave_out_sql(acts: &mut Vec<Act>) {
        acts.retain(|act| *act != Act::Sql);
    }

    /// Does all statements of a job at once, or none where its host does not reach Postgres.
    pub(super) fn do_whole(&mut self, job: &mut Job) {
        let task = Arc::clone(&job.task);
        if self.is_over(job) {
            self.pg.end(job.tx, false);
            job.stage = Stage::Replying(missed(&task, &Lost::NotDone(Failure::Away)));
            return;
        }
        let reply = loop {
            match job.statement(&mut self.pg, &self.kafka, self.now) {
                Flow::Next => job.step += 1,
                Flow::Wait(tx) => {
                    self.violate("twin", format!("{} waits for {tx:?}", crate::history::task(&task)));
                    return;
                }
                Flow::Commit(reply) => {
                    if job.believes() {
                        self.commit(job.tx, job.session, &task);
                    } else {
                        self.pg.end(job.tx, true);
                    }
                    break reply;
                }
                Flow::Rollback(reply) => {
                    self.pg.end(job.tx, false);
                    break reply;
                }
            }
        };
        self.history.note(|| format!("{} of {}", crate::history::task(&task), job.session));
        if let Some(deed) = deed(&task, job.session, &reply) {
            self.testify(&deed);
        }
        job.stage = Stage::Replying(reply);
    }

    /// Has the witness do the same; what it did after a difference would only differ more.
    pub(super) fn testify(&mut self, deed: &Deed<'_>) {
        if self.violation.is_some() || !self.is_witnessed {
            return;
        }
        let did = WITNESS.with_borrow_mut(|witness| {
            witness.as_mut().map(|witness| witness.did(deed, self.now, Tables::of(&self.pg)))
        });
        if let Some(Err(text)) = did {
            self.violate("twin", text);
        }
    }
}
