//! Times of the looks, and what producers are told.

use super::*;

const RELAY: Settings = Settings {
    batch_rows_max: 1000,
    in_flight_max: 4000,
    in_flight_bytes_max: 1_000_000,
    publish_timeout: Duration::from_secs(20),
    poll_min: Duration::from_millis(2),
    poll_max: Duration::from_millis(500),
    wake: Wake::Notify,
};

/// Looks once, as the relay does; gives how long until the next.
fn look(schedule: &mut PollSchedule, rows: usize, now: Moment) -> Duration {
    schedule.begin_look();
    schedule.looked(rows, false, &RELAY, now);
    schedule.next_look().since(now)
}

fn asleep(now: Moment) -> PollSchedule {
    let mut schedule = PollSchedule::new(now);
    look(&mut schedule, 0, now);
    assert_eq!(schedule.tell(&RELAY, now), Some(Tell::Asleep));
    schedule.told(Tell::Asleep, now);
    assert_eq!(schedule.next_look(), now, "what came meanwhile has woken nobody");
    schedule
}

#[test]
fn while_rows_come_now_and_then_producers_wake_us_and_looks_are_rare() {
    let mut now = Moment(0);
    let mut schedule = asleep(now);
    for _ in 0..200 {
        now = now + Duration::from_millis(20);
        schedule.woken(now);
        assert_eq!(look(&mut schedule, 1, now), RELAY.poll_max);
        assert_eq!(schedule.tell(&RELAY, now), None);
    }
    now = now + Duration::from_millis(5_500);
    look(&mut schedule, 0, now);
    assert_eq!(schedule.tell(&RELAY, now), Some(Tell::Asleep), "it is renewed before it ends");
}

#[test]
fn while_rows_come_often_producers_pay_for_no_wake_up() {
    let mut now = Moment(0);
    let mut schedule = asleep(now);
    assert_eq!(look(&mut schedule, 500, now), Duration::ZERO);
    assert_eq!(schedule.tell(&RELAY, now), Some(Tell::Awake));
    schedule.told(Tell::Awake, now);
    assert_eq!(look(&mut schedule, 0, now), RELAY.poll_min);
    assert_eq!(schedule.tell(&RELAY, now), None);
    now = now + 2 * LINGER;
    look(&mut schedule, 0, now);
    assert_eq!(schedule.tell(&RELAY, now), Some(Tell::Asleep));
}

#[test]
fn many_wake_ups_for_rows_of_others_are_too_dear_as_well() {
    let now = Moment(0);
    let mut schedule = asleep(now);
    for _ in 0..=OFTEN {
        schedule.woken(now);
        look(&mut schedule, 0, now);
    }
    assert_eq!(schedule.tell(&RELAY, now), Some(Tell::Awake));
}

#[test]
fn a_look_that_began_before_a_wake_up_is_followed_by_another_at_once() {
    let now = Moment(0);
    let mut schedule = asleep(now);
    schedule.begin_look();
    schedule.woken(now);
    schedule.looked(0, false, &RELAY, now);
    assert_eq!(schedule.next_look(), now);
}

#[test]
fn without_wake_ups_looks_are_frequent_for_a_while_after_a_row() {
    let mut now = Moment(0);
    let poll = Settings { wake: Wake::Poll, ..RELAY };
    let mut schedule = PollSchedule::new(now);
    schedule.looked(1, false, &poll, now);
    now = now + LINGER / 2;
    schedule.looked(0, false, &poll, now);
    assert_eq!((schedule.next_look().since(now), schedule.tell(&poll, now)), (poll.poll_min, None));
    now = now + LINGER;
    schedule.looked(0, false, &poll, now);
    assert_eq!((schedule.next_look().since(now), schedule.tell(&poll, now)), (poll.poll_max, None));
}
