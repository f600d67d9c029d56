//! The steps, in the order in which a message takes them.

use mailroom_tests::{Keep, Request};

use super::{Point, ROUND, dies_at};

#[test]
fn a_kill_after_the_reply_of_a_lanes_take_over_was_dropped_loses_and_repeats_nothing() {
    dies_at(Point {
        request: Request::CommitAfter("update mailroom.lane l set owner"),
        keep: Keep::Reply,
        stood: |left| left.owned > 0 && left.stored == ROUND,
        repeats: 0..=0,
    });
}

#[test]
fn a_kill_after_the_reply_of_a_partitions_take_over_was_dropped_loses_and_repeats_nothing() {
    dies_at(Point {
        request: Request::Statement("set epoch = o.epoch + 1"),
        keep: Keep::Reply,
        stood: |left| left.epoch > 1 && left.stored == ROUND,
        repeats: 0..=0,
    });
}

#[test]
fn a_kill_before_the_inbox_insert_loses_and_repeats_nothing() {
    dies_at(Point {
        request: Request::Statement("insert into mailroom.inbox"),
        keep: Keep::Request,
        stood: |left| left.stored == ROUND && left.next_offset == ROUND,
        repeats: 0..=0,
    });
}

#[test]
fn a_kill_before_the_commit_of_the_inbox_insert_loses_and_repeats_nothing() {
    dies_at(Point {
        request: Request::CommitAfter("insert into mailroom.inbox"),
        keep: Keep::Request,
        stood: |left| left.stored == ROUND && left.next_offset == ROUND,
        repeats: 0..=0,
    });
}

#[test]
fn a_kill_after_the_reply_of_the_inbox_commit_was_dropped_loses_and_repeats_nothing() {
    dies_at(Point {
        request: Request::CommitAfter("insert into mailroom.inbox"),
        keep: Keep::Reply,
        stood: |left| left.stored > ROUND && left.next_offset == left.stored,
        // What was decided by then is settled with it, and the relay goes on beside it.
        repeats: 0..=8,
    });
}

#[test]
fn a_kill_while_the_guest_runs_loses_and_repeats_nothing() {
    dies_at(Point {
        // Only a running guest asks for state.
        request: Request::Statement("from mailroom.state where consumer_group"),
        keep: Keep::Request,
        stood: |left| left.stored > ROUND && left.completed == ROUND && left.emitted == ROUND,
        repeats: 0..=0,
    });
}

#[test]
fn a_kill_before_the_settle_commit_loses_and_repeats_nothing() {
    dies_at(Point {
        request: Request::CommitAfter("insert into mailroom.outbox"),
        keep: Keep::Request,
        stood: |left| left.completed == ROUND && left.emitted == ROUND,
        repeats: 0..=0,
    });
}

#[test]
fn a_kill_after_the_reply_of_the_settle_commit_was_dropped_loses_nothing() {
    dies_at(Point {
        request: Request::CommitAfter("insert into mailroom.outbox"),
        keep: Keep::Reply,
        stood: |left| left.completed > ROUND && left.emitted == left.completed && left.sum == left.completed,
        // The relay goes on beside it, and may die between an acknowledgement and its mark.
        repeats: 0..=8,
    });
}

#[test]
fn a_kill_before_the_relay_produces_what_it_has_read_loses_and_repeats_nothing() {
    dies_at(Point {
        request: Request::Produce,
        keep: Keep::Request,
        stood: |left| left.emitted > ROUND && left.relayed == ROUND && left.records == ROUND,
        repeats: 0..=0,
    });
}

#[test]
fn a_kill_after_the_acknowledgement_was_dropped_repeats_by_known_ids_only() {
    dies_at(Point {
        request: Request::Produce,
        keep: Keep::Reply,
        stood: |left| left.emitted > ROUND && left.relayed == ROUND && left.records > ROUND,
        repeats: 1..=8,
    });
}

#[test]
fn a_kill_between_acknowledgement_and_mark_repeats_by_known_ids_only() {
    dies_at(Point {
        request: Request::Statement("published_partition"),
        keep: Keep::Request,
        stood: |left| left.records > ROUND && left.relayed == ROUND,
        repeats: 1..=8,
    });
}

#[test]
fn a_kill_after_the_reply_of_the_mark_was_dropped_repeats_by_known_ids_only() {
    dies_at(Point {
        request: Request::CommitAfter("published_partition"),
        keep: Keep::Reply,
        stood: |left| left.relayed > ROUND && left.records >= left.relayed,
        repeats: 0..=8,
    });
}
