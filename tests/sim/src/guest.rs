//! Handlers as scripts: what a call reads, writes and says, and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mailroom_core::handler_machine::command::{EndedBy, How};
use mailroom_core::handler_machine::event::{CallEnd, Decision, EndOfCall, Ending, HandedState};
use mailroom_core::handler_machine::version::Version;
use mailroom_core::ids::{CallId, OrderKey};
use mailroom_core::message::Message;
use mailroom_core::verdict::breaker::Sign;
use mailroom_core::verdict::decide::{Budget, Verdict, decide};
use mailroom_core::verdict::outcome::{End, Fault, Outcome};

use crate::postgres::StateId;

/// The state of a key as its calls hand it on: versions and values, with what is not committed yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct KeyState {
    values: BTreeMap<StateId, (i64, i64)>,
}

/// A value that a call read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateRead {
    /// Value that was read.
    pub id: StateId,
    /// The version that was found.
    pub version: i64,
    /// Value that was found.
    pub value: i64,
}

/// A value that a call wrote.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateWrite {
    /// Value that was written.
    pub id: StateId,
    /// The version that was found.
    pub read: i64,
    /// The version that it gets.
    pub written: i64,
    /// Value that is written.
    pub value: i64,
}

/// Effects that are committed with a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    /// The call that left it.
    pub call: u64,
    /// All that it read, what it wrote too.
    pub reads: Vec<StateRead>,
    /// Values that it wrote.
    pub writes: Vec<StateWrite>,
    /// Numbers that it published.
    pub said: Vec<i64>,
    /// True if it has a transaction of its own.
    pub sql: bool,
    /// True if its call is made once: what it read is not checked, and of writes the last one stands.
    pub once: bool,
    /// The database refuses these effects.
    pub refused: bool,
    /// True if the database refused them, and the message was judged anew without them.
    pub blamed: bool,
}

impl Effects {
    /// Tells whether nothing is written with the message.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.writes.is_empty() && self.said.is_empty() && !self.sql
    }
}

/// Behaviour of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Act {
    Complete,
    Say,
    /// Adds one to the key's own value.
    Count,
    /// Says what the key's own value is.
    SayOwn,
    /// Adds one to a value that all share.
    CountShared,
    /// Says what a shared value is.
    SayShared,
    /// Reads a shared value, without effects.
    ReadShared,
    RetrySoon,
    RetryLater,
    RetryUncounted,
    Fail,
    Reject,
    Skip,
    Unavailable,
    /// Writes a row of its own in a transaction of the call's own.
    Sql,
    /// Writes and says what the database refuses.
    Refused,
    /// Takes its time.
    Long,
    /// Adds one to the key's own value, and takes its time.
    LongCount,
    /// Kills its process, the first time.
    Die,
}

/// Behaviours, plainest first.
pub(crate) const ACTS: [Act; 19] = [
    Act::Complete,
    Act::Say,
    Act::Count,
    Act::SayOwn,
    Act::CountShared,
    Act::SayShared,
    Act::ReadShared,
    Act::RetrySoon,
    Act::RetryLater,
    Act::RetryUncounted,
    Act::Fail,
    Act::Reject,
    Act::Skip,
    Act::Unavailable,
    Act::Sql,
    Act::Refused,
    Act::Long,
    Act::LongCount,
    Act::Die,
];

/// Behaviour at each delivery; the last is repeated.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(pub(crate) Vec<Act>);

impl Script {
    pub(crate) fn at(&self, deliveries: u32) -> Act {
        let at = usize::try_from(deliveries).unwrap_or(usize::MAX);
        self.0.get(at).or(self.0.last()).copied().unwrap_or(Act::Complete)
    }
}

/// The bytes that what a call left takes in memory, and as many the state of its key.
pub(crate) const BYTES: usize = 100;

/// The payload of a record that the database refuses.
pub const REFUSED_PAYLOAD: [u8; 1] = [1];
/// The event type of one that it refuses even without its content.
pub const REFUSED_TYPE: &str = "refused";

/// Tells whether the database refuses to store a message.
pub(crate) fn is_refused(message: &Message) -> bool {
    message.payload.as_deref() == Some(&REFUSED_PAYLOAD) || message.event_type == REFUSED_TYPE
}

/// Judges a message anew whose effects, or whose row with them, the database refuses: that is a failure of its handler.
/// `None` where nobody was called for it, or where it is refused without effects too.
pub(crate) fn blame(message: &Message, how: &How<Effects>) -> Option<Decision<Effects>> {
    let EndedBy::Call(Decision { effects, .. }) = &how.end else { return None };
    if effects.blamed {
        return None;
    }
    let fault = End::Faulted(Fault::BadReply { reason: "refused".to_owned() });
    let left = Effects { call: effects.call, blamed: true, ..Effects::default() };
    match decided(judged(fault, message, &how.version, 0.5), left.clone(), KeyState::default()) {
        EndOfCall::Decided { decision, .. } => Some(Decision { effects: Arc::new(left), ..decision }),
        EndOfCall::Again { .. } | EndOfCall::RowChanged => None,
    }
}

/// Parts that a call's body works with.
pub(crate) struct Body<'c> {
    pub(crate) call: CallId,
    pub(crate) message: &'c Message,
    pub(crate) version: &'c Version,
    pub(crate) state: KeyState,
    pub(crate) act: Act,
}

impl KeyState {
    /// Keeps what was read.
    pub(crate) fn learn(&mut self, id: StateId, version: i64, value: i64) {
        self.values.entry(id).or_insert((version, value));
    }

    pub(crate) fn get(&self, id: StateId) -> Option<(i64, i64)> {
        self.values.get(&id).copied()
    }
}

/// The value that a call reads besides its key's own, if it does.
pub(crate) fn shared_read(act: Act, message: &Message) -> Option<StateId> {
    let name = u32::try_from(message.offset.rem_euclid(2)).unwrap_or(0);
    let reads = matches!(act, Act::CountShared | Act::SayShared | Act::ReadShared);
    reads.then_some(StateId::Shared(name))
}

/// The call itself: what it did, with the version of what it writes, and how the message ends.
pub(crate) fn run(
    body: Body<'_>,
    shared: Option<StateRead>,
    written: i64,
    chance: u32,
) -> CallEnd<KeyState, Effects> {
    let Body { call, message, version, mut state, act } = body;
    let mut effects = Effects { call: call.0, once: version.once, ..Effects::default() };
    let own = message.okey.map(|key| StateId::Keyed(OrderKey(key)));
    let counted = own
        .filter(|_| matches!(act, Act::Count | Act::LongCount | Act::SayOwn))
        .and_then(|id| state.get(id).map(|(version, value)| StateRead { id, version, value }));
    let reads = counted.or(shared);
    effects.reads.extend(reads.clone());
    match (act, reads) {
        (Act::Count | Act::LongCount | Act::CountShared, Some(read)) => {
            let write = StateWrite { id: read.id, read: read.version, written, value: read.value + 1 };
            state.values.insert(read.id, (written, write.value));
            effects.writes.push(write);
        }
        (Act::SayShared | Act::SayOwn, Some(read)) => effects.said.push(read.value),
        (Act::Say | Act::Refused | Act::Count | Act::LongCount | Act::SayOwn, _) => effects.said.push(-1),
        (Act::Sql, _) => effects.sql = true,
        _ => {}
    }
    let (end, sign) = ended(act);
    let chance = f64::from(chance) / 3.0;
    let verdict = judged(end, message, version, chance);
    effects.refused = act == Act::Refused;
    CallEnd { call, end: decided(verdict, effects, state), sign: (sign, "a fault".into()) }
}

fn judged(end: End, message: &Message, version: &Version, chance: f64) -> Verdict {
    let budget = Budget {
        attempts_made: message.attempts_made,
        attempts_max: message.attempts_max,
        deliveries: message.deliveries,
    };
    let verdict = decide(end, budget, &version.retry, chance);
    if version.once { verdict.at_most_once() } else { verdict }
}

fn ended(act: Act) -> (End, Sign) {
    let retry = |after, counts| End::Decided(Outcome::Retry { reason: "busy".to_owned(), after, counts });
    match act {
        Act::Complete
        | Act::Say
        | Act::Count
        | Act::SayOwn
        | Act::CountShared
        | Act::SayShared
        | Act::ReadShared
        | Act::Sql
        | Act::Refused
        | Act::Long
        | Act::LongCount
        | Act::Die => (End::Decided(Outcome::Completed), Sign::Good),
        Act::RetrySoon => (retry(Some(Duration::from_millis(20)), true), Sign::None),
        Act::RetryLater => (retry(Some(Duration::from_millis(400)), true), Sign::None),
        Act::RetryUncounted => (retry(Some(Duration::from_millis(150)), false), Sign::None),
        Act::Fail => {
            let fault = Fault::Failed { message: "no".to_owned(), code: None, detail: None };
            (End::Faulted(fault), Sign::Fault)
        }
        Act::Reject => (End::Decided(Outcome::Rejected("never".to_owned())), Sign::Good),
        Act::Skip => (End::Decided(Outcome::Skipped("nothing".to_owned())), Sign::Good),
        Act::Unavailable => (End::Unavailable("away".to_owned()), Sign::None),
    }
}

fn decided(verdict: Verdict, effects: Effects, state: KeyState) -> EndOfCall<KeyState, Effects> {
    let nothing = Effects { call: effects.call, ..Effects::default() };
    let (ending, effects) = match verdict {
        Verdict::Completed => (Ending::Done, effects),
        Verdict::Skipped { .. } => (Ending::Done, nothing),
        Verdict::Retry { delay, counted, .. } => (Ending::Waits { delay, counted }, nothing),
        Verdict::Dead { reason, .. } => (Ending::Dead(reason), nothing),
        Verdict::Again { delay, .. } => return EndOfCall::Again { delay, never_called: false },
    };
    let decision = Decision {
        ending,
        wrote_state: !effects.writes.is_empty(),
        has_sql: effects.sql,
        bytes: BYTES,
        effects: Arc::new(effects),
    };
    EndOfCall::Decided { decision, state: HandedState { state, bytes: BYTES } }
}
