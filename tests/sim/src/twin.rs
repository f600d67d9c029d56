//! Runs worlds in which each piece of work at the database is done whole, before a witness that does the same at a real
//! one.

mod loose;
mod tables;
mod writes;

use mailroom_core::handler_machine::command::{Begin, Command};
use mailroom_core::handler_machine::event::{Event, Look};
use mailroom_core::ids::Lease;
use mailroom_core::message::Message;

pub use crate::guest::{Effects, KeyState, REFUSED_PAYLOAD, REFUSED_TYPE, StateRead, StateWrite};
pub use crate::postgres::operator::Act;
pub use crate::postgres::{Session, StateId};
pub use crate::setup::EXPIRY;
pub use tables::{Dead, InboxLine, LaneLine, LetterLine, Tables, Timed};

use crate::choices::Choices;
use crate::job::{Reply, Task};
use crate::run::{Length, Subject, run_world};
use crate::world::World;

/// Something that was done to the model's tables, with what came of it.
#[derive(Debug)]
pub enum Deed<'d> {
    /// A session was registered, of the process with this number.
    Registered(Session, usize),
    /// A session's row was renewed, or was not there.
    Renewed(Session, bool),
    /// A session ended itself.
    Departed(Session),
    /// A session buried those whose expiry had passed.
    Buried(Session),
    /// The time since when lanes of the buried have no owner was noted.
    NotedFreeLanes,
    /// A session looked at its lanes.
    Looked(Session, &'d Look),
    /// Lanes were given back that nobody in their session had.
    GivenBack(&'d [Lease]),
    /// Somebody outside did something.
    Acted(&'d Act),
    /// A machine's command was carried out.
    Commanded(Session, &'d Command<KeyState, Effects>, &'d Event<KeyState, Effects>),
    /// The handing over of a message was noted, or its row was another by then.
    Begun(Lease, &'d Message, Begin, bool),
    /// The return of a message that ran alone was noted.
    CameBack(Lease, &'d Message),
}

/// Observer that does each deed at a real database, and compares.
pub trait Witness {
    /// Does it at the time of the model's clock, in milliseconds; `tables` are the model's after it.
    ///
    /// # Errors
    /// Says what differs.
    fn did(&mut self, deed: &Deed<'_>, now: u64, tables: Tables) -> Result<(), String>;
}

/// Breach that ended a run.
#[derive(Debug)]
pub struct Broken {
    /// The promise, or `twin`.
    pub rule: &'static str,
    /// Description of what is wrong.
    pub text: String,
    /// Lines about what happened before.
    pub history: Vec<String>,
}

/// Runs the machines with one seed: so many steps with faults, then a calm in which everything has to be done.
///
/// # Errors
/// Where the witness found a difference, or a promise is broken.
pub fn run(seed: u64, steps: u64, witness: Box<dyn Witness>) -> Result<(), Broken> {
    let world = World::witnessed(Choices::fresh(seed), witness);
    let ran = run_world(Subject::Handler, world, Length { steps, traced: true });
    World::dismiss_witness();
    match ran.violation {
        None => Ok(()),
        Some(violation) => Err(Broken { rule: violation.rule, text: violation.text, history: ran.history }),
    }
}

/// Runs so many commands that no machine would give in this order, drawn from one seed.
///
/// # Errors
/// Where the witness found a difference.
pub fn run_loose(seed: u64, commands: u64, witness: Box<dyn Witness>) -> Result<(), Broken> {
    loose::Loose::new(seed, witness).run(commands)
}

/// Translates a piece of work into what a witness sees of it.
pub(crate) fn deed<'d>(task: &'d Task, session: Session, reply: &'d Reply) -> Option<Deed<'d>> {
    match (task, reply) {
        (Task::Command(command), Reply::Event(event)) => Some(Deed::Commanded(session, command, event)),
        (Task::Look, Reply::Event(event)) => {
            if let Event::Looked(look) = &**event {
                Some(Deed::Looked(session, look))
            } else {
                None
            }
        }
        (Task::Beat, Reply::Beaten(there)) => Some(Deed::Renewed(session, *there)),
        (Task::Bury, _) => Some(Deed::Buried(session)),
        (Task::Sweep(leases), _) => Some(Deed::GivenBack(leases)),
        (Task::Act(act), _) => Some(Deed::Acted(act)),
        (Task::Command(_) | Task::Look | Task::Beat, _) => None,
    }
}
