//! The relay's turns: each takes one thing that happened and starts what can be started then. Reading,
//! publishing and marking go on side by side.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use super::flight::{Fate, Flight};
use super::horizon::Horizon;
use super::idle::Idle;
use super::lanes::{Lanes, Starts};
use super::topics::TopicBook;
use super::{LaneChange, Relay};
use crate::db::{Db, DbError, lanes};
use crate::kafka::{Delivery, KafkaError, Topics};
use crate::lane::Lease;
use crate::outage::Outage;
use crate::outbox::{self, Marked, Page, Pending, Published};

type Work<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// A look at the table.
type Look = Result<Looked, DbError>;

/// What a look brought, and which of the held topics are still missing.
pub(super) struct Looked {
    page: Page,
    lane_rows_max: usize,
    cut: bool,
    missing: Result<Missing, KafkaError>,
}

/// Topics that were asked for, and those of them that are not there.
#[derive(Debug, Default)]
pub(super) struct Missing {
    asked: Vec<String>,
    missing: Vec<String>,
}

/// Something that happened.
pub(super) enum Step {
    Lane(LaneChange),
    Delivered(Delivery),
    Looked(Look),
    Marked(Result<Marked, DbError>),
    Woken,
    Due,
}

/// The relay at work.
pub(super) struct Turns {
    relay: Relay,
    topics: Topics,
    book: TopicBook,
    lanes: Lanes,
    horizon: Horizon,
    flight: Flight,
    idle: Idle,
    outage: Outage,
    acknowledged: Vec<Published>,
    refused: Vec<(Pending, String)>,
    looking: Work<Look>,
    marking: Work<Result<Marked, DbError>>,
    /// What the mark under way is about: acknowledged rows, and (lane, seq) of refused ones.
    marked: Vec<Published>,
    failing: Vec<(i32, i64)>,
    mark_after: Instant,
}

impl Turns {
    pub(super) fn new(relay: Relay) -> Result<Self, KafkaError> {
        Ok(Self {
            topics: Topics::new(&relay.config.kafka)?,
            book: TopicBook::default(),
            lanes: Lanes::default(),
            horizon: Horizon::default(),
            flight: Flight::new(&relay.config)?,
            idle: Idle::new(),
            outage: relay.db.outage(),
            acknowledged: Vec::new(),
            refused: Vec::new(),
            looking: None,
            marking: None,
            marked: Vec::new(),
            failing: Vec::new(),
            mark_after: Instant::now(),
            relay,
        })
    }

    /// Waits for the next thing to happen. Cancel safe.
    pub(super) async fn next(&mut self) -> Step {
        let due = self.due();
        tokio::select! {
            Some(change) = self.relay.lanes.recv() => Step::Lane(change),
            look = work(&mut self.looking) => Step::Looked(look),
            marked = work(&mut self.marking) => Step::Marked(marked),
            Some(delivery) = self.flight.delivered() => Step::Delivered(delivery),
            () = self.relay.wake.notified() => Step::Woken,
            () = tokio::time::sleep_until(due) => Step::Due,
        }
    }

    /// When to go on though nothing happens.
    fn due(&self) -> Instant {
        let look =
            if self.looking.is_none() && !self.lanes.is_empty() { Some(self.idle.next_look()) } else { None };
        let mark = (self.marking.is_none() && self.has_marks()).then_some(self.mark_after);
        let times = [look, mark, self.lanes.next_again()];
        let wait = self.relay.config.relay.poll_max;
        let now = Instant::now();
        // Never a busy loop: what is due and cannot be done yet waits for something to happen.
        times
            .into_iter()
            .flatten()
            .min()
            .map_or(now + wait, |at| at.max(now + self.relay.config.relay.poll_min))
    }

    fn has_marks(&self) -> bool {
        !(self.acknowledged.is_empty() && self.refused.is_empty())
    }

    /// Takes what happened, and starts what can be started now.
    pub(super) async fn take(&mut self, step: Step) -> Result<(), KafkaError> {
        let mut fates = Vec::new();
        match step {
            Step::Lane(LaneChange::Taken(lease)) => {
                self.lanes.add(lease);
                self.idle.look_now();
            }
            Step::Lane(LaneChange::Surplus(lane)) => self.lanes.close(lane),
            Step::Delivered(delivery) => self.flight.take(delivery, &mut fates),
            Step::Looked(look) => self.looked(look).await,
            Step::Marked(marked) => self.mark_ended(marked),
            Step::Woken => {
                self.lanes.reread();
                self.idle.look_now();
            }
            Step::Due => {}
        }
        let lanes_lost = self.lanes.drop_lost();
        self.flight.check_age(self.relay.config.relay.publish_timeout);
        if self.relay.session.outlasts(self.relay.config.relay.publish_timeout) {
            self.flight.send(&self.book, &mut fates);
        }
        self.settle_fates(fates);
        if self.flight.is_broken() || lanes_lost {
            self.renew_producer().await?;
        }
        self.start_mark();
        self.start_look();
        self.give_back().await;
        Ok(())
    }

    /// Lanes that others are to have, once nothing of them is in flight or being looked at.
    async fn give_back(&mut self) {
        if self.looking.is_some() {
            return;
        }
        let closed = self.lanes.closed();
        if !closed.is_empty() {
            release(&self.relay.db, &closed.iter().collect::<Vec<_>>()).await;
        }
    }

    fn settle_fates(&mut self, fates: Vec<Fate>) {
        for fate in fates {
            match fate {
                Fate::Acknowledged(published) => self.acknowledged.push(published),
                Fate::Refused(row, reason) => self.refused.push((row, reason)),
                Fate::TopicHeld(row, why) => {
                    if let Some(why) = why {
                        self.hold(&row.topic, &why);
                    }
                    self.lanes.put_back(row.lane, row.seq);
                }
                Fate::Again(row) => self.lanes.again(row.lane, row.seq, Duration::ZERO),
            }
        }
    }

    async fn renew_producer(&mut self) -> Result<(), KafkaError> {
        let mut fates = Vec::new();
        let old = std::mem::replace(&mut self.flight, Flight::new(&self.relay.config)?);
        self.flight = old.renew(&self.relay.config, &mut fates).await?;
        self.settle_fates(fates);
        let kept = self.acknowledged.iter().chain(&self.marked).map(|row| (row.lane, row.seq));
        let refused =
            self.refused.iter().map(|(row, _)| (row.lane, row.seq)).chain(self.failing.iter().copied());
        self.lanes.forget(&kept.chain(refused).collect());
        self.idle.look_now();
        Ok(())
    }

    fn start_look(&mut self) {
        let now = Instant::now();
        self.lanes.rewind(now);
        let relay = &self.relay.config.relay;
        let in_hand = self.flight.len() + self.acknowledged.len() + self.marked.len() + self.refused.len();
        let hungry = self.lanes.hungry();
        let wanted =
            hungry > 0 && self.idle.next_look() <= now + relay.poll_min || self.idle.next_look() <= now;
        if self.looking.is_some() || self.lanes.is_empty() || in_hand >= relay.in_flight_max || !wanted {
            return;
        }
        let rows_max = relay.batch_rows_max.min(relay.in_flight_max - in_hand).max(1);
        let lane_rows_max = (rows_max / hungry.max(8)).max(1);
        let Starts { lanes, late, marks, known } = self.lanes.begin_look(self.horizon.seq());
        let in_hand: usize = known.iter().map(|known| usize::try_from(*known).unwrap_or(0)).sum();
        let look = outbox::Look {
            lanes,
            late,
            marks,
            known,
            without: self.book.held(),
            lane_rows_max,
            rows_max: rows_max + in_hand,
            sample: self.horizon.wants_sample(now),
        };
        let (db, topics, due) = (self.relay.db.clone(), self.topics.clone(), self.book.due());
        self.looking = Some(Box::pin(async move {
            let page = outbox::read(&db, &look).await?;
            let cut = page.rows.len() >= look.rows_max;
            // Held topics are asked for again, whether or not rows of theirs were seen.
            let missing = if due.is_empty() { Ok(Vec::new()) } else { topics.missing(&due).await };
            let missing = missing.map(|missing| Missing { asked: due, missing });
            Ok(Looked { page, lane_rows_max, cut, missing })
        }));
    }

    async fn looked(&mut self, look: Look) {
        let looked = match look {
            Ok(looked) => looked,
            Err(error) => {
                let wait = self.outage.failed(&error);
                self.idle.look_after(wait);
                return;
            }
        };
        self.outage.over();
        let Looked { page, lane_rows_max, cut, missing } = looked;
        self.horizon.seen(page.last_seq, page.xmin, page.own_id, Instant::now());
        self.learn(missing);
        self.ask_for(&page).await;
        let fresh = self.take_rows(page.rows, lane_rows_max, cut);
        let (db, host) = (&self.relay.db, self.relay.session.id);
        let idle = if fresh {
            self.idle.found(db, host).await
        } else {
            self.idle.nothing(db, host, &self.relay.config.relay).await
        };
        if let Err(error) = idle {
            let wait = self.outage.failed(&error);
            self.idle.look_after(wait);
        }
    }

    /// Gives whether any row is new to us.
    fn take_rows(&mut self, rows: Vec<Pending>, lane_rows_max: usize, cut: bool) -> bool {
        let mut new_of: HashMap<i32, usize> = HashMap::new();
        for row in rows {
            if !self.lanes.read(row.lane, row.seq) {
                continue;
            }
            *new_of.entry(row.lane).or_default() += 1;
            if self.book.holds(&row.topic) {
                self.lanes.put_back(row.lane, row.seq);
            } else if row.due_in.is_zero() {
                self.flight.push(row);
            } else {
                self.lanes.again(row.lane, row.seq, row.due_in);
            }
        }
        self.lanes.looked(&new_of, lane_rows_max, cut);
        !new_of.is_empty()
    }

    /// A topic that is met for the first time is asked for before anything is sent there.
    async fn ask_for(&mut self, page: &Page) {
        let asked: Vec<String> = self.book.unknown(&page.rows).into_iter().collect();
        if !asked.is_empty() {
            let missing = self.topics.missing(&asked).await;
            match missing {
                Ok(missing) => self.learn(Ok(Missing { asked, missing })),
                Err(error) => asked.iter().for_each(|topic| self.hold(topic, &error.to_string())),
            }
        }
    }

    fn hold(&mut self, topic: &str, why: &str) {
        let (lanes, horizon) = (&self.lanes, self.horizon.seq());
        self.book.hold(topic, why, || lanes.floors(horizon));
    }

    fn learn(&mut self, missing: Result<Missing, KafkaError>) {
        let Missing { asked, missing } = match missing {
            Ok(missing) => missing,
            // Held topics stay held, and are asked for again.
            Err(error) => {
                self.book.held().iter().for_each(|topic| self.hold(topic, &error.to_string()));
                return;
            }
        };
        for topic in asked {
            if missing.contains(&topic) {
                self.hold(&topic, "the topic does not exist, or is closed to us; create it");
            } else if let Some(floors) = self.book.let_go(&topic) {
                self.lanes.set_back_to(&floors);
            }
        }
    }

    fn start_mark(&mut self) {
        if self.marking.is_some() || !self.has_marks() || self.mark_after > Instant::now() {
            return;
        }
        self.marked = std::mem::take(&mut self.acknowledged);
        let published = self.marked.clone();
        let leases = self.lanes.leases(published.iter().map(|row| row.lane));
        // A lane that was lost meanwhile: its rows are another's to publish and mark.
        let published: Vec<Published> =
            published.into_iter().filter(|row| leases.contains_key(&row.lane)).collect();
        let refused: Vec<(Lease, Pending, String)> = std::mem::take(&mut self.refused)
            .into_iter()
            .filter_map(|(row, reason)| Some((self.lanes.lease(row.lane)?.clone(), row, reason)))
            .collect();
        self.failing = refused.iter().map(|(_, row, _)| (row.lane, row.seq)).collect();
        let db = self.relay.db.clone();
        self.marking = Some(Box::pin(async move {
            for (lease, row, reason) in &refused {
                tracing::warn!(message.id = %row.id, "Message {} to topic {:?} is refused: {reason}", row.id, row.topic);
                if let lost @ Marked::LanesLost(_) = outbox::fail(&db, lease, row, reason).await? {
                    return Ok(lost);
                }
            }
            if published.is_empty() {
                return Ok(Marked::Done);
            }
            outbox::mark(&db, &leases, &published).await
        }));
    }

    fn mark_ended(&mut self, marked: Result<Marked, DbError>) {
        let about = std::mem::take(&mut self.marked);
        let failing = std::mem::take(&mut self.failing);
        match marked {
            Ok(Marked::Done) => {
                for (lane, seq) in about.iter().map(|row| (row.lane, row.seq)).chain(failing) {
                    self.lanes.done(lane, seq);
                }
            }
            Ok(Marked::LanesLost(lost)) => {
                for lease in lost.iter().filter_map(|lane| self.lanes.lease(*lane)) {
                    tracing::warn!("Outbox lane {} is another host's now", lease.lane);
                    lease.lose();
                }
                self.acknowledged.extend(about.into_iter().filter(|row| !lost.contains(&row.lane)));
                self.refuse_again(failing, Duration::ZERO);
            }
            Err(error) => {
                let wait = self.outage.failed(&error);
                self.mark_after = Instant::now() + wait;
                self.acknowledged.extend(about);
                self.refuse_again(failing, wait);
            }
        }
    }

    /// Refused rows whose failure was not written: they are read, and refused, again.
    fn refuse_again(&mut self, rows: Vec<(i32, i64)>, wait: Duration) {
        for (lane, seq) in rows {
            self.lanes.again(lane, seq, wait);
        }
    }

    /// Ends without a trace: the lanes are another's.
    pub(super) async fn abandon(self) {
        self.flight.end().await;
    }

    /// Waits for what is in flight, marks it, and gives the lanes back.
    pub(super) async fn finish(mut self) {
        self.flight.drop_unsent();
        let deadline = Instant::now() + self.relay.config.host.stop_grace;
        while (self.flight.in_flight() > 0 || self.marking.is_some() || self.has_marks())
            && Instant::now() < deadline
        {
            let mut fates = Vec::new();
            tokio::select! {
                Some(delivery) = self.flight.delivered() => self.flight.take(delivery, &mut fates),
                marked = work(&mut self.marking) => self.mark_ended(marked),
                () = tokio::time::sleep(self.relay.config.relay.poll_min) => {}
            }
            self.settle_fates(fates);
            self.start_mark();
        }
        let Self { relay, flight, lanes, .. } = self;
        flight.end().await;
        release(&relay.db, &lanes.all()).await;
    }
}

async fn release(db: &Db, leases: &[&Lease]) {
    let (ids, tokens): (Vec<i32>, Vec<i64>) = leases.iter().map(|lease| (lease.lane, lease.token)).unzip();
    if let Err(error) = lanes::release(db, &ids, &tokens).await {
        tracing::warn!(%error, "Lanes of the outbox were not given back; the sweep does it later");
    }
    leases.iter().for_each(|lease| lease.lose());
}

/// Polls work under way; for ever pending where there is none.
async fn work<T>(slot: &mut Work<T>) -> T {
    match slot {
        Some(future) => {
            let done = future.await;
            *slot = None;
            done
        }
        None => std::future::pending().await,
    }
}
