//! Topics that rows go to: what is in flight to each, and why its rows wait where they do.
//!
//! Rows of a held topic are not read at all; once the hold ends its lanes are set back to where they stood when the
//! hold began, so that the first of its rows goes first. A topic that is met for the first time is held until Kafka was
//! asked for it, beside everything else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::lane_cursor::Floors;
use super::{Row, Ticket};
use crate::time::Moment;

/// A held topic is asked for this often.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Time after which a wait that lasts is said again.
const REMIND_AFTER: Duration = Duration::from_secs(60);
/// A bound of bytes that was found is doubled after this, since what was refused may be allowed by now.
const DOUBLE_AFTER: Duration = Duration::from_secs(60);
/// Bytes beyond which a bound bounds nothing.
const BOUND_BYTES_MAX: usize = 16 << 20;

/// A topic's place among all that were met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicId(usize);

/// Reason why rows of a topic wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Kafka was never asked for it.
    Unasked,
    /// The topic is missing or closed to us.
    Missing,
    /// Acknowledgements take long while others want the room. What is in flight stays there.
    Slow,
    /// Nothing was acknowledged in time: a producer of its own tries one row until one is.
    Sick,
    /// The broker refused rows in company: a producer of its own finds the culprit.
    Refused,
}

impl Cause {
    /// Tells whether a producer of its own ends the wait.
    pub(super) fn wants_side(self) -> bool {
        matches!(self, Self::Sick | Self::Refused)
    }

    /// Tells whether people hear of it: of what passes by itself in a moment they do not.
    fn is_told(self) -> bool {
        !matches!(self, Self::Unasked | Self::Slow)
    }

    fn is_asked_for(self) -> bool {
        matches!(self, Self::Unasked | Self::Missing)
    }
}

#[derive(Debug, Clone)]
struct Hold {
    cause: Cause,
    since: Moment,
    ask_at: Moment,
    /// Words for people.
    why: Arc<str>,
    /// Times at which the log told of each cause last.
    said: BTreeMap<Cause, Moment>,
    /// Places up to which nothing of the topic waits, of each lane.
    floors: Floors,
}

impl Hold {
    fn new(cause: Cause, now: Moment, floors: Floors) -> Self {
        Self { cause, since: now, ask_at: now, why: "".into(), said: BTreeMap::new(), floors }
    }
}

/// Bound of the bytes that a topic may have in flight, and since when it is known.
#[derive(Debug, Clone, Copy)]
struct Bound {
    bytes: usize,
    since: Moment,
}

/// One topic.
#[derive(Debug, Clone)]
pub(super) struct Topic<R> {
    pub(super) name: Arc<str>,
    hold: Option<Hold>,
    /// Rows in order that no producer has, and when they were read.
    pub(super) unsent: VecDeque<(Moment, Row<R>)>,
    /// Records that were handed over, oldest first; some of them have ended.
    sent: VecDeque<(Moment, Ticket)>,
    pub(super) in_flight: usize,
    pub(super) bytes_in_flight: usize,
    /// The only record that was sent since nothing was in flight: nobody else can be to blame for its refusal.
    alone: Option<Ticket>,
    bound: Option<Bound>,
    /// The bound that held before the broker refused rows in company, until a group passes or a culprit is found.
    before_halving: Option<Option<Bound>>,
    /// A time that we gave was refused.
    pub(super) without_timestamp: bool,
}

impl<R> Topic<R> {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            hold: None,
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            in_flight: 0,
            bytes_in_flight: 0,
            alone: None,
            bound: None,
            before_halving: None,
            without_timestamp: false,
        }
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.hold.as_ref().map(|hold| hold.cause)
    }

    /// Tells whether a record of so many bytes may be sent beside what is in flight.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.in_flight == 0 || self.bound.is_none_or(|bound| self.bytes_in_flight + bytes <= bound.bytes)
    }

    /// Tells whether nobody else can be to blame for its refusal.
    pub(super) fn was_alone(&self, ticket: Ticket) -> bool {
        self.alone == Some(ticket)
    }

    pub(super) fn sent(&mut self, ticket: Ticket, bytes: usize, now: Moment) {
        self.alone = (self.in_flight == 0).then_some(ticket);
        self.in_flight += 1;
        self.bytes_in_flight += bytes;
        self.sent.push_back((now, ticket));
    }

    /// A record is not in flight any more.
    pub(super) fn landed(&mut self, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.bytes_in_flight = self.bytes_in_flight.saturating_sub(bytes);
        if self.in_flight == 0 {
            self.sent.clear();
        }
    }

    /// Returns when the oldest record in flight was sent.
    pub(super) fn oldest_sent(&mut self, is_in_flight: impl Fn(&Ticket) -> bool) -> Option<Moment> {
        while self.sent.front().is_some_and(|(_, ticket)| !is_in_flight(ticket)) {
            self.sent.pop_front();
        }
        self.sent.front().map(|(at, _)| *at)
    }

    /// The bound of bytes in flight, doubled as time passes.
    pub(super) fn bound(&mut self, now: Moment) -> Option<usize> {
        let bound = self.bound.as_mut()?;
        while now.since(bound.since) >= DOUBLE_AFTER && bound.bytes < BOUND_BYTES_MAX {
            bound.bytes *= 2;
            bound.since = bound.since + DOUBLE_AFTER;
        }
        if bound.bytes >= BOUND_BYTES_MAX {
            self.bound = None;
        }
        self.bound.map(|bound| bound.bytes)
    }

    /// The broker refused records of so many bytes together: half of them are tried next.
    pub(super) fn halve(&mut self, refused_bytes: usize, now: Moment) {
        self.before_halving.get_or_insert(self.bound);
        self.bound = Some(Bound { bytes: refused_bytes / 2, since: now });
    }

    /// A group passed: what passed is what may be in flight.
    pub(super) fn passed(&mut self) {
        self.before_halving = None;
    }

    /// A record was refused alone: its company is innocent.
    pub(super) fn found_culprit(&mut self) {
        if let Some(bound) = self.before_halving.take() {
            self.bound = bound;
        }
    }
}

/// All that were met.
#[derive(Debug, Clone)]
pub(super) struct Topics<R> {
    all: Vec<Topic<R>>,
    by_name: BTreeMap<Arc<str>, TopicId>,
    held: BTreeSet<TopicId>,
}

impl<R> Default for Topics<R> {
    fn default() -> Self {
        Self { all: Vec::new(), by_name: BTreeMap::new(), held: BTreeSet::new() }
    }
}

impl<R> Topics<R> {
    pub(super) fn find(&self, name: &str) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, id: TopicId) -> Option<&Topic<R>> {
        self.all.get(id.0)
    }

    pub(super) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic<R>> {
        self.all.get_mut(id.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TopicId, &Topic<R>)> {
        self.all.iter().enumerate().map(|(place, topic)| (TopicId(place), topic))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (TopicId, &mut Topic<R>)> {
        self.all.iter_mut().enumerate().map(|(place, topic)| (TopicId(place), topic))
    }

    /// Tells whether its rows wait.
    pub(super) fn holds(&self, id: TopicId) -> bool {
        self.held.contains(&id)
    }

    pub(super) fn cause(&self, id: TopicId) -> Option<Cause> {
        self.get(id).and_then(Topic::cause)
    }

    /// The held ones.
    pub(super) fn held(&self) -> impl Iterator<Item = (TopicId, &Topic<R>)> {
        self.held.iter().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// The names of held ones.
    pub(super) fn held_names(&self) -> Vec<Arc<str>> {
        self.held().map(|(_, topic)| Arc::clone(&topic.name)).collect()
    }

    /// Adds a topic, whose rows wait until it was asked for, which is due.
    pub(super) fn meet(&mut self, name: &Arc<str>, floors: Floors, now: Moment) -> TopicId {
        let id = TopicId(self.all.len());
        let mut topic = Topic::new(Arc::clone(name));
        topic.hold = Some(Hold::new(Cause::Unasked, now, floors));
        self.all.push(topic);
        self.by_name.insert(Arc::clone(name), id);
        self.held.insert(id);
        id
    }

    /// Has its rows wait from now on, for this cause from now on.
    pub(super) fn hold(
        &mut self,
        id: TopicId,
        (cause, why): (Cause, &str),
        now: Moment,
        floors: impl FnOnce() -> Floors,
    ) {
        let Some(topic) = self.all.get_mut(id.0) else { return };
        self.held.insert(id);
        let hold = topic.hold.get_or_insert_with(|| Hold::new(cause, now, floors()));
        (hold.cause, hold.why, hold.ask_at) = (cause, why.into(), now + ASK_EVERY);
    }

    /// Takes what people are to be told now: each cause once when it begins and once a minute while it lasts, however
    /// often others take turns with it.
    pub(super) fn due_words(&mut self, now: Moment) -> Vec<(Arc<str>, Arc<str>)> {
        let mut news = Vec::new();
        for id in &self.held {
            let Some(topic) = self.all.get_mut(id.0) else { continue };
            let Some(hold) = topic.hold.as_mut().filter(|hold| hold.cause.is_told()) else { continue };
            if hold.said.get(&hold.cause).is_none_or(|said| now.since(*said) >= REMIND_AFTER) {
                hold.said.insert(hold.cause, now);
                news.push((Arc::clone(&topic.name), Arc::clone(&hold.why)));
            }
        }
        news
    }

    /// Ends the wait of its rows, which are read again: gives the floors to read from, and how long it waited
    /// if people were told.
    pub(super) fn let_go(&mut self, id: TopicId, now: Moment) -> Option<(Floors, Option<Duration>)> {
        let hold = self.all.get_mut(id.0)?.hold.take()?;
        self.held.remove(&id);
        Some((hold.floors, (!hold.said.is_empty()).then(|| now.since(hold.since))))
    }

    /// Held ones that are to be asked for now: nothing of them may be in flight when the answer comes.
    pub(super) fn to_ask(&self, now: Moment) -> Vec<Arc<str>> {
        let due = |hold: &Hold| hold.cause.is_asked_for() && hold.ask_at <= now;
        let asked =
            self.held().filter(|(_, topic)| topic.in_flight == 0 && topic.hold.as_ref().is_some_and(due));
        asked.map(|(_, topic)| Arc::clone(&topic.name)).collect()
    }

    /// Returns when the next is to be asked for.
    pub(super) fn next_ask(&self) -> Option<Moment> {
        let holds = self
            .held()
            .filter(|(_, topic)| topic.in_flight == 0)
            .filter_map(|(_, topic)| topic.hold.as_ref());
        holds.filter(|hold| hold.cause.is_asked_for()).map(|hold| hold.ask_at).min()
    }

    /// Notes that rows of this lane above `floor` may be held ones though they were not there when holds began.
    pub(super) fn lower(&mut self, lane: i32, floor: i64) {
        for id in &self.held {
            let Some(hold) = self.all.get_mut(id.0).and_then(|topic| topic.hold.as_mut()) else { continue };
            hold.floors.entry(lane).and_modify(|of_lane| *of_lane = floor.min(*of_lane));
        }
    }

    /// Notes the same of all lanes.
    pub(super) fn lower_all(&mut self, floor: i64) {
        for id in &self.held {
            let Some(hold) = self.all.get_mut(id.0).and_then(|topic| topic.hold.as_mut()) else { continue };
            hold.floors.values_mut().for_each(|of_lane| *of_lane = floor.min(*of_lane));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(floors: Floors) -> (Topics<()>, TopicId) {
        let mut topics = Topics::default();
        let id = topics.meet(&"orders".into(), floors, Moment(0));
        (topics, id)
    }

    #[test]
    fn a_topic_that_is_met_is_asked_for_at_once_and_a_missing_one_now_and_then() {
        let (mut topics, id) = met(Floors::from([(7, 40)]));
        assert!(topics.holds(id) && *topics.to_ask(Moment(0)) == ["orders".into()]);
        topics.hold(id, (Cause::Missing, "gone"), Moment(5), || Floors::from([(7, 90)]));
        assert_eq!(topics.due_words(Moment(5)), [("orders".into(), "gone".into())]);
        topics.hold(id, (Cause::Missing, "gone"), Moment(5), Floors::new);
        assert!(topics.due_words(Moment(5)).is_empty(), "once");
        assert!(topics.to_ask(Moment(6)).is_empty());
        assert_eq!(topics.next_ask(), Some(Moment(2_005)));
        let (floors, told) = topics.let_go(id, Moment(1_000)).unwrap();
        assert_eq!(floors, Floors::from([(7, 40)]), "as of the first hold");
        assert_eq!(told, Some(Duration::from_secs(1)));
        assert!(!topics.holds(id) && topics.next_ask().is_none());
    }

    #[test]
    fn each_cause_is_said_when_it_begins_and_once_a_minute_while_it_lasts_or_comes_back() {
        let (mut topics, id) = met(Floors::new());
        let mut said = Vec::new();
        for second in 0..150_u64 {
            let cause =
                if second.is_multiple_of(2) { (Cause::Sick, "sick") } else { (Cause::Refused, "refused") };
            topics.hold(id, cause, Moment(second * 1_000), Floors::new);
            said.extend(topics.due_words(Moment(second * 1_000)).into_iter().map(|(_, why)| (second, why)));
        }
        let (sick, refused) = ("sick".into(), "refused".into());
        let expected = [0, 1, 60, 61, 120, 121]
            .map(|second: u64| (second, if second.is_multiple_of(2) { &sick } else { &refused }));
        assert_eq!(said.iter().map(|(second, why)| (*second, why)).collect::<Vec<_>>(), expected);
        topics.hold(id, (Cause::Slow, ""), Moment(500_000), Floors::new);
        assert!(topics.due_words(Moment(500_000)).is_empty(), "what passes by itself is not told");
    }

    #[test]
    fn floors_only_fall_and_a_lane_that_has_none_is_read_from_its_start() {
        let (mut topics, id) = met(Floors::from([(7, 40), (8, 40)]));
        topics.lower(7, 60);
        topics.lower(7, 30);
        topics.lower(9, 10);
        topics.lower_all(35);
        assert_eq!(topics.let_go(id, Moment(0)).unwrap().0, Floors::from([(7, 30), (8, 35)]));
    }

    #[test]
    fn a_bound_doubles_each_minute_until_it_bounds_nothing() {
        let mut topic = Topic::<()>::new("orders".into());
        topic.halve(6 << 20, Moment(0));
        topic.passed();
        topic.sent(Ticket(1), 2 << 20, Moment(0));
        assert!(topic.has_room(1 << 20) && !topic.has_room((1 << 20) + 1));
        assert_eq!(topic.bound(Moment(59_999)), Some(3 << 20));
        assert_eq!(topic.bound(Moment(121_000)), Some(12 << 20));
        assert_eq!(topic.bound(Moment(180_000)), None);
    }

    #[test]
    fn a_bound_is_forgotten_when_a_culprit_explains_it_and_kept_when_a_group_passed() {
        let mut topic = Topic::<()>::new("orders".into());
        topic.halve(1_000, Moment(0));
        topic.halve(500, Moment(0));
        topic.found_culprit();
        assert_eq!(topic.bound(Moment(0)), None);
        topic.halve(1_000, Moment(0));
        topic.passed();
        topic.halve(400, Moment(0));
        topic.found_culprit();
        assert_eq!(topic.bound(Moment(0)), Some(500));
    }

    #[test]
    fn a_record_was_alone_if_nothing_of_its_topic_was_in_flight_with_it() {
        let mut topic = Topic::<()>::new("orders".into());
        topic.sent(Ticket(1), 10, Moment(0));
        assert!(topic.was_alone(Ticket(1)));
        topic.sent(Ticket(2), 10, Moment(0));
        topic.landed(10);
        assert!(!topic.was_alone(Ticket(1)) && !topic.was_alone(Ticket(2)));
    }
}
