//! The lanes in `mailroom status`: who has how many of them, and for how long.

use std::collections::BTreeMap;

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::db::status::LaneRow;

/// The lanes of one owner in one group, or in the outbox.
#[derive(Debug, Default, PartialEq)]
struct Share {
    lanes: usize,
    /// Time since it has the lane that it has longest, where that is known.
    longest_secs: Option<f64>,
    /// Take-overs by an owner in doubt, of all of them together.
    doubts: i64,
    /// Records that were dropped as duplicates, of all of them together.
    duplicates: i64,
}

/// One line an owner; lanes without a living one stand as nobody's.
pub(super) fn table(lanes: &[LaneRow]) -> Result<(), Failure> {
    let row = |((group, owner), share): ((Option<&str>, Option<&str>), Share)| {
        vec![
            group.unwrap_or("the outbox").to_owned(),
            owner.unwrap_or("nobody").to_owned(),
            share.lanes.to_string(),
            share.longest_secs.map_or_else(|| "-".to_owned(), print::length),
            share.doubts.to_string(),
            share.duplicates.to_string(),
        ]
    };
    let rows = shares(lanes).into_iter().map(row).collect();
    print::table(&["LANES OF", "OWNER", "LANES", "FOR", "DOUBTS", "DUPLICATES"], rows, "There are no lanes.")
}

/// Returns the longest time that a lane of the group has had no living owner.
pub(super) fn longest_free(lanes: &[LaneRow], group: Option<&str>) -> Option<f64> {
    shares(lanes).remove(&(group, None))?.longest_secs
}

fn shares(lanes: &[LaneRow]) -> BTreeMap<(Option<&str>, Option<&str>), Share> {
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
