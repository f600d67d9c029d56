//! The relay's turns: each takes one thing that happened and starts what can be started then. Reading,
//! publishing, marking and asking for topics go on side by side.

mod asking;
mod ending;
mod looking;
mod marking;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use super::flight::{Fate, Flight};
use super::horizon::Horizon;
use super::idle::{Idle, Tell};
use super::lanes::Lanes;
use super::topics::TopicBook;
use super::{LaneChange, Relay};
use crate::db::{DbError, wake};
use crate::kafka::{Delivery, KafkaError, Topics};
use crate::outage::Outage;
use crate::outbox::{Marked, Page, Pending, Published};

type Work<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// A page, and the bound of its rows.
type Look = Result<(Page, usize), DbError>;

/// Topics that Kafka was asked for, and those of them that it does not have.
type Asked = (Vec<String>, Result<Vec<String>, KafkaError>);

/// Something that happened.
pub(super) enum Step {
    Lane(LaneChange),
    Delivered(Delivery),
    Looked(Look),
    Marked(Result<Marked, DbError>),
    Asked(Asked),
    Told(Result<Tell, DbError>),
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
    asking: Work<Asked>,
    telling: Work<Result<Tell, DbError>>,
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
            idle: Idle::new(Instant::now()),
            outage: relay.db.outage(),
            acknowledged: Vec::new(),
            refused: Vec::new(),
            looking: None,
            marking: None,
            asking: None,
            telling: None,
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
            asked = work(&mut self.asking) => Step::Asked(asked),
            told = work(&mut self.telling) => Step::Told(told),
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
        let ask = if self.asking.is_none() { self.book.next_ask() } else { None };
        let times = [look, mark, ask, self.lanes.next_again()];
        let wait = self.relay.config.relay.poll_max;
        let now = Instant::now();
        // Never a busy loop: what is due and cannot be done yet waits for something to happen.
        times
            .into_iter()
            .flatten()
            .min()
            .map_or(now + wait, |at| at.max(now + self.relay.config.relay.poll_min))
    }

    /// Takes what happened, and starts what can be started now.
    pub(super) async fn take(&mut self, step: Step) -> Result<(), KafkaError> {
        let mut fates = Vec::new();
        match step {
            Step::Lane(LaneChange::Taken(lease)) => {
                self.book.lower(lease.lane, 0);
                self.lanes.add(lease);
                self.idle.look_now(Instant::now());
            }
            Step::Lane(LaneChange::Surplus(lane)) => self.lanes.close(lane),
            Step::Delivered(delivery) => self.flight.take(delivery, &mut fates),
            Step::Looked(look) => self.looked(look),
            Step::Marked(marked) => self.mark_ended(marked),
            Step::Asked(asked) => self.asked(asked),
            Step::Told(told) => self.told(told),
            Step::Woken => {
                for lane in self.lanes.reread() {
                    self.book.lower(lane, 0);
                }
                self.idle.woken(Instant::now());
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
        self.start_asking();
        self.start_look();
        self.give_back().await;
        Ok(())
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
        self.idle.look_now(Instant::now());
        Ok(())
    }

    /// Tells producers whether they have to wake us, where they do not know it yet.
    fn start_telling(&mut self) {
        if self.telling.is_some() {
            return;
        }
        let Some(tell) = self.idle.tell(&self.relay.config.relay, Instant::now()) else { return };
        let (db, host) = (self.relay.db.clone(), self.relay.session.id);
        self.telling = Some(Box::pin(async move {
            match tell {
                Tell::Asleep => wake::sleep(&db, host, super::SLEEP).await?,
                Tell::Awake => wake::awake(&db, host).await?,
            }
            Ok(tell)
        }));
    }

    fn told(&mut self, told: Result<Tell, DbError>) {
        match told {
            Ok(tell) => self.idle.told(tell, Instant::now()),
            // The next look tries it again.
            Err(error) => {
                let wait = self.outage.failed(&error);
                self.idle.look_after(wait);
            }
        }
    }
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
