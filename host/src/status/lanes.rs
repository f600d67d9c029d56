//! Lanes by their owners: who has how many of them, and for how long.

use std::collections::BTreeMap;

use crate::db::status::LaneRow;

/// The lanes of one owner in one group, or in the outbox.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Share {
    pub(crate) lanes: usize,
    /// Time for which it has the lane that it has longest, where that is known.
    pub(crate) longest_secs: Option<f64>,
    /// Take-overs by an owner in doubt, of all of them together.
    pub(crate) doubts: i64,
    /// Records that were dropped as duplicates, of all of them together.
    pub(crate) duplicates: i64,
}

/// Returns the longest time that a lane of the group has had no living owner.
pub(super) fn longest_free(lanes: &[LaneRow], group: Option<&str>) -> Option<f64> {
    shares(lanes).remove(&(group, None))?.longest_secs
}

/// Adds up by group and owner; lanes without a living one stand as nobody's.
pub(crate) fn shares(lanes: &[LaneRow]) -> BTreeMap<(Option<&str>, Option<&str>), Share> {
    let mut shares: BTreeMap<_, Share> = BTreeMap::new();
    for lane in lanes {
        let owner = lane.worker.as_deref().filter(|_| lane.alive);
        let share = shares.entry((lane.consumer_group.as_deref(), owner)).or_default();
        share.lanes += 1;
        let longest = [share.longest_secs, lane.since_secs].into_iter().flatten().reduce(f64::max);
        share.longest_secs = longest;
        share.doubts += lane.doubts;
        share.duplicates += lane.duplicates;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(group: Option<&str>, worker: Option<&str>, alive: bool, since_secs: Option<f64>) -> LaneRow {
        LaneRow {
            id: 0,
            kind: "inbox".to_owned(),
            consumer_group: group.map(str::to_owned),
            topic: None,
            partition: None,
            worker: worker.map(str::to_owned),
            alive,
            token: 1,
            owned_since: None,
            free_since: None,
            since_secs,
            started_to: 0,
            reread: 0,
            doubts: 1,
            doubted_at: None,
            doubted_secs: None,
            duplicates: 3,
            duplicated_at: None,
        }
    }

    #[test]
    fn a_dead_owners_lanes_are_nobodys_and_the_longest_time_stands_for_all() {
        let lanes = [
            lane(Some("g"), Some("a"), true, Some(5.0)),
            lane(Some("g"), Some("a"), true, Some(7.0)),
            lane(Some("g"), Some("b"), false, Some(3.0)),
            lane(Some("g"), None, false, None),
        ];
        let shares = shares(&lanes);
        let share = |secs| Share { lanes: 2, longest_secs: Some(secs), doubts: 2, duplicates: 6 };
        assert_eq!(shares[&(Some("g"), Some("a"))], share(7.0));
        assert_eq!(shares[&(Some("g"), None)], share(3.0));
        assert_eq!(longest_free(&lanes, Some("g")), Some(3.0));
        assert_eq!(longest_free(&lanes, None), None);
    }
}
