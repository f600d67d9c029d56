//! What the looks at the topics mean for the partitions: another id stops all that are read of a topic.

use mailroom_core::topic::is_replaced;

use super::turn::Turns;
use crate::clock;
use crate::kafka::{Place, TopicState};

impl Turns {
    /// Takes the newest look at the topics. Partitions of a topic that was made again are read no further until
    /// their positions are found anew, where the gap policy applies.
    pub(super) fn on_look(&mut self) {
        let Some(look) = self.watched.news() else { return };
        let absent = |topic: &String| matches!(look.topics.get(topic), Some(TopicState::Missing));
        self.absent = self.subscribed.iter().any(absent);
        let now = clock::now();
        let mut replaced: Vec<Place> = Vec::new();
        for (place, partition) in &mut self.partitions {
            let Some(TopicState::Known { id, .. }) = look.topics.get(&*place.topic) else { continue };
            let Some(position) = &mut partition.position else { continue };
            if position.stopped || look.asked_at < position.found_at {
                continue;
            }
            if is_replaced(Some(position.topic_id), *id) {
                partition.doubtful = Some(position.vouched.doubtful(position.next));
                replaced.push(place.clone());
            } else {
                position.vouched.on_same_id(look.asked_at, position.next, now);
            }
        }
        self.find_again(&replaced);
    }
}
