//! Topics that are deleted and made again: by their ids, and what was read before that was known.

use std::ops::Range;

use uuid::Uuid;

use crate::time::Moment;

/// Returns whether the topic that is there is another one than that whose offsets are known. Nil, or nothing, says
/// nothing: the cluster has no ids, or the offsets are older than the asking for them.
#[must_use]
pub fn is_replaced(known: Option<Uuid>, there: Uuid) -> bool {
    known.is_some_and(|known| !known.is_nil() && !there.is_nil() && known != there)
}

/// The part of a partition that was read while its topic was surely the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VouchedOffsets {
    to: i64,
    /// Offset that reading had reached, and when: the next look that was begun later vouches for it.
    mark: (i64, Moment),
}

impl VouchedOffsets {
    /// Vouches for a partition that is read from `next` on, in a topic whose id was just looked at.
    #[must_use]
    pub fn from(next: i64, now: Moment) -> Self {
        Self { to: next, mark: (next, now) }
    }

    /// The id was the same in an answer to what was asked at `asked_at`; `next` is the offset to be read next.
    pub fn on_same_id(&mut self, asked_at: Moment, next: i64, now: Moment) {
        let (offset, at) = self.mark;
        if asked_at >= at {
            self.to = offset;
            self.mark = (next, now);
        }
    }

    /// Offsets below `next` that may be of either topic, once another id is seen.
    #[must_use]
    pub fn doubtful(&self, next: i64) -> Range<i64> {
        self.to.min(next)..next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_another_one_only_where_two_ids_say_so() {
        let id = Uuid::from_u128;
        assert!(is_replaced(Some(id(1)), id(2)));
        for (known, there) in [(Some(1), 1), (None, 2), (Some(0), 2), (Some(1), 0)] {
            assert!(!is_replaced(known.map(id), id(there)), "{known:?} {there}");
        }
    }

    #[test]
    fn a_look_vouches_for_what_was_read_before_it_was_begun() {
        let s = |seconds: u64| Moment(seconds * 1000);
        let mut vouched = VouchedOffsets::from(10, s(0));
        assert_eq!(vouched.doubtful(10), 10..10);
        vouched.on_same_id(s(1), 30, s(2));
        assert_eq!(vouched.doubtful(40), 10..40, "30 was reached after the look began");
        vouched.on_same_id(s(1), 50, s(3));
        assert_eq!(vouched.doubtful(50), 10..50, "so it says nothing more");
        vouched.on_same_id(s(4), 60, s(5));
        assert_eq!(vouched.doubtful(70), 30..70);
    }
}
