//! When it looks, and what it tells producers.

use super::*;

const RELAY: config::Relay = config::Relay {
    enabled: true,
    batch_rows_max: 1000,
    in_flight_max: 4000,
    publish_timeout: Duration::from_secs(20),
    poll_min: Duration::from_millis(2),
    poll_max: Duration::from_millis(500),
    wake: Wake::Notify,
};

/// Looks once, as the relay does; gives how long until the next.
fn look(idle: &mut Idle, rows: usize, now: Instant) -> Duration {
    idle.begin_look();
    idle.looked(rows, false, &RELAY, now);
    idle.next_look() - now
}

fn asleep(now: Instant) -> Idle {
    let mut idle = Idle::new(now);
    look(&mut idle, 0, now);
    assert_eq!(idle.tell(&RELAY, now), Some(Tell::Asleep));
    idle.told(Tell::Asleep, now);
    assert_eq!(idle.next_look(), now, "what came meanwhile has woken nobody");
    idle
}

#[test]
fn while_rows_come_now_and_then_producers_wake_us_and_looks_are_rare() {
    let mut now = Instant::now();
    let mut idle = asleep(now);
    for _ in 0..200 {
        now += Duration::from_millis(20);
        idle.woken(now);
        assert_eq!(look(&mut idle, 1, now), RELAY.poll_max);
        assert_eq!(idle.tell(&RELAY, now), None);
    }
    now += Duration::from_millis(5_500);
    look(&mut idle, 0, now);
    assert_eq!(idle.tell(&RELAY, now), Some(Tell::Asleep), "it is renewed before it ends");
}

#[test]
fn while_rows_come_often_producers_pay_for_no_wake_up() {
    let mut now = Instant::now();
    let mut idle = asleep(now);
    assert_eq!(look(&mut idle, 500, now), Duration::ZERO);
    assert_eq!(idle.tell(&RELAY, now), Some(Tell::Awake));
    idle.told(Tell::Awake, now);
    assert_eq!(look(&mut idle, 0, now), RELAY.poll_min);
    assert_eq!(idle.tell(&RELAY, now), None);
    now += 2 * LINGER;
    look(&mut idle, 0, now);
    assert_eq!(idle.tell(&RELAY, now), Some(Tell::Asleep));
}

#[test]
fn many_wake_ups_for_rows_of_others_are_too_dear_as_well() {
    let now = Instant::now();
    let mut idle = asleep(now);
    for _ in 0..=OFTEN {
        idle.woken(now);
        look(&mut idle, 0, now);
    }
    assert_eq!(idle.tell(&RELAY, now), Some(Tell::Awake));
}

#[test]
fn a_look_that_began_before_a_wake_up_is_followed_by_another_at_once() {
    let now = Instant::now();
    let mut idle = asleep(now);
    idle.begin_look();
    idle.woken(now);
    idle.looked(0, false, &RELAY, now);
    assert_eq!(idle.next_look(), now);
}

#[test]
fn without_wake_ups_looks_are_frequent_for_a_while_after_a_row() {
    let mut now = Instant::now();
    let poll = config::Relay { wake: Wake::Poll, ..RELAY };
    let mut idle = Idle::new(now);
    idle.looked(1, false, &poll, now);
    now += LINGER / 2;
    idle.looked(0, false, &poll, now);
    assert_eq!((idle.next_look() - now, idle.tell(&poll, now)), (poll.poll_min, None));
    now += LINGER;
    idle.looked(0, false, &poll, now);
    assert_eq!((idle.next_look() - now, idle.tell(&poll, now)), (poll.poll_max, None));
}
