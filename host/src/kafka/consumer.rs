//! One handler's consumer. Rebalances are handed out as events, because the partitions' offsets come
//! from Postgres; until an event is answered librdkafka pauses everything.
//!
//! Invariant: a consumer that its library gave up is dropped and another one joins in its place.

use std::sync::Arc;

use mailroom_core::ids::TopicPartition;
use mailroom_core::rejoin::{ErrorStreak, RejoinBackoff};
use tokio::time::{Duration, Instant};

use super::KafkaError;
use super::member::Member;
use super::probe::Damage;
use crate::message::Record;
use crate::{clock, config};

/// Event of a consumer.
#[derive(Debug)]
pub(crate) enum Event {
    /// Records in their order per partition; never empty.
    Records(Vec<(Arc<str>, Record)>),
    /// Partitions that are ours from now on: answer with [`Consumer::assign`], even if empty.
    Assigned(Vec<TopicPartition>),
    /// Partitions to give up: answer with [`Consumer::unassign`], even if empty.
    Revoked(Vec<TopicPartition>),
    /// A position outside the log was met, of this partition or of any.
    OutOfLog(Option<TopicPartition>),
    /// The next record of a partition cannot be read; what follows it in the queue may be of behind it.
    Damaged(TopicPartition, Damage),
    /// A partition gives nothing for now; the client asks again by itself.
    Sick(TopicPartition, String),
    /// A subscribed topic is missing or closed to us.
    TopicUnavailable(String),
    /// Kafka is away; the client reconnects by itself.
    Away(String),
    /// Kafka refuses until an operator has done this; the client asks again by itself.
    Refused(String, &'static str),
    /// Something that passes by itself.
    Passing(String),
    /// An error that nothing explains.
    Unexpected(String),
    /// A request of ours that Kafka cannot read or does not know.
    Faulty(String),
    /// The same error has come for a minute: answer with [`Consumer::rejoin`] if Kafka answers others.
    Stuck(String),
    /// The library or Kafka gave the consumer up, and all its partitions with it: answer with
    /// [`Consumer::rejoin`].
    Fatal(String),
}

/// A handler's place in its consumer group, held by one consumer after another.
pub(crate) struct Consumer {
    kafka: config::Kafka,
    group: Arc<str>,
    topics: Vec<String>,
    /// None from the end of one to the start of the next.
    member: Option<Member>,
    joined_at: Instant,
    join_due: Instant,
    backoff: RejoinBackoff,
    streak: ErrorStreak,
}

impl Consumer {
    /// Joins the group. Kafka may be away: the client goes on trying.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting, which it names.
    pub(crate) fn subscribe(
        kafka: &config::Kafka,
        group: &Arc<str>,
        topics: &[String],
    ) -> Result<Self, KafkaError> {
        let now = Instant::now();
        Ok(Self {
            member: Some(Member::join(kafka, group, topics)?),
            kafka: kafka.clone(),
            group: Arc::clone(group),
            topics: topics.to_vec(),
            joined_at: now,
            join_due: now,
            backoff: RejoinBackoff::default(),
            streak: ErrorStreak::default(),
        })
    }

    /// The next event; records come as many as are there, within the bounds. Cancel safe.
    pub(crate) async fn next(&mut self, rows_max: usize, bytes_max: usize) -> Event {
        loop {
            if let Some(member) = &mut self.member {
                let event = member.next(rows_max, bytes_max).await;
                return self.weigh(event);
            }
            tokio::time::sleep_until(self.join_due).await;
            match Member::join(&self.kafka, &self.group, &self.topics) {
                Ok(member) => {
                    self.joined_at = Instant::now();
                    self.member = Some(member);
                }
                Err(error) => {
                    self.join_due = Instant::now() + self.backoff.after(Duration::ZERO);
                    return Event::Away(error.to_string());
                }
            }
        }
    }

    fn weigh(&mut self, event: Event) -> Event {
        if matches!(event, Event::Records(_) | Event::Assigned(_)) {
            self.streak.clear();
        }
        if let Event::Away(error)
        | Event::Refused(error, _)
        | Event::Passing(error)
        | Event::Unexpected(error)
        | Event::Faulty(error) = &event
            && self.streak.on_error(error, clock::now())
        {
            return Event::Stuck(error.clone());
        }
        event
    }

    /// Kafka as a whole is away: that explains the errors, and no other consumer would do better.
    pub(crate) fn is_not_to_blame(&mut self) {
        self.streak.clear();
    }

    /// Drops the consumer; another one joins after the wait that this gives.
    pub(crate) fn rejoin(&mut self) -> Duration {
        self.streak.clear();
        let wait = self.backoff.after(self.joined_at.elapsed());
        self.join_due = Instant::now() + wait;
        if let Some(member) = self.member.take() {
            // A fenced member may be long in leaving.
            drop(member.begin_to_leave());
        }
        wait
    }

    /// Reads partitions from these offsets. The answer to [`Event::Assigned`], even if empty, and later
    /// for partitions whose lane had to be waited for.
    pub(crate) fn assign(&self, places: &[(TopicPartition, i64)]) -> Result<(), KafkaError> {
        self.member.as_ref().map_or(Ok(()), |member| member.assign(places))
    }

    /// Gives partitions up. The answer to [`Event::Revoked`], even if none of these is read.
    pub(crate) fn unassign(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        self.member.as_ref().map_or(Ok(()), |member| member.unassign(places))
    }

    /// Stops fetching; the assignment stays.
    pub(crate) fn pause(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        let member = self.member.as_ref().filter(|_| !places.is_empty());
        member.map_or(Ok(()), |member| member.pause(places))
    }

    /// Fetches again, from where it stopped.
    pub(crate) fn resume(&self, places: &[TopicPartition]) -> Result<(), KafkaError> {
        let member = self.member.as_ref().filter(|_| !places.is_empty());
        member.map_or(Ok(()), |member| member.resume(places))
    }

    /// Commits offsets to Kafka for tools that show lag; Postgres is the truth, so nobody waits.
    pub(crate) fn report(&self, places: &[(TopicPartition, i64)]) {
        if let Some(member) = &self.member {
            member.report(places);
        }
    }

    /// Leaves the group, within a bounded time.
    pub(crate) async fn close(self) {
        if let Some(member) = self.member {
            member.leave().await;
        }
    }
}
