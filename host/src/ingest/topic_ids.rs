//! Looks at the topics, and what they mean for the partitions: another id stops all that are read of a topic.
//!
//! A leader epoch that falls triggers no look. A look every second bounds what is read of a topic that was made again;
//! where the gap policy says `skip`, the records of it that were stored under the former id are known again by offset,
//! time and key (`positions`).

use mailroom_core::ids::TopicPartition;
use mailroom_core::topic::is_replaced;

use super::{Event, Ingest};
use crate::clock;
use crate::kafka::TopicState;

impl Ingest {
    /// Takes the newest look at the topics. Partitions of a topic that was made again are read no further until
    /// their positions are found anew, where the gap policy applies.
    pub(super) fn look_at_ids(&mut self) -> Option<Event> {
        let look = self.watched.news()?;
        let absent = |topic: &String| matches!(look.topics.get(topic), Some(TopicState::Missing));
        self.absent = self.subscribed.iter().any(absent);
        let now = clock::now();
        let mut replaced: Vec<TopicPartition> = Vec::new();
        for (partition, log) in &mut self.logs {
            let Some(TopicState::Known { id, leaderless, .. }) = look.topics.get(&*partition.topic) else {
                continue;
            };
            log.has_leader(partition, !leaderless.contains(&partition.partition), &self.waits);
            let Some(found) = &mut log.found else { continue };
            if found.stopped.is_some() || look.asked_at < found.found_at {
                continue;
            }
            if is_replaced(Some(found.topic_id), *id) {
                log.doubtful = Some(found.vouched.doubtful(found.next));
                replaced.push(partition.clone());
            } else {
                found.vouched.on_same_id(look.asked_at, found.next, now);
            }
        }
        for partition in &replaced {
            if let Some(log) = self.logs.get_mut(partition) {
                log.found = None;
            }
        }
        (!replaced.is_empty()).then_some(Event::Displaced(replaced))
    }
}
