//! Hostile acts that a guest must not succeed with. What does not end itself never returns.
//!
//! `black_box` keeps the compiler from seeing that the work is for nothing.

use std::hint::black_box;
use std::time::Duration;

use mailroom_guest::{Outgoing, state};

#[inline(never)]
pub fn spin() -> ! {
    loop {
        black_box(());
    }
}

pub fn hoard() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 1 << 20]);
        black_box(&hoard);
    }
}

/// Wants more memory than there is, and does without.
pub fn go_without() {
    let mut vast = Vec::<u8>::new();
    assert!(vast.try_reserve_exact(1 << 30).is_err(), "nobody may have that much");
    black_box(&vast);
}

/// Prints more than is kept.
pub fn flood() {
    for n in 0..20_000 {
        println!("line {n}");
    }
}

pub fn recurse() -> ! {
    // Two words a call: the engine's stack ends before the guest's own one, which lies in memory.
    fn deeper(depth: u64) -> u64 {
        if black_box(depth) == u64::MAX { depth } else { deeper(depth + 1) + 1 }
    }
    deeper(0);
    unreachable!("no stack is that deep")
}

pub fn sleep() -> ! {
    loop {
        #[expect(clippy::disallowed_methods, reason = "the point is a guest that waits for nothing")]
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// A million small allocations that are kept.
pub fn allocate() {
    let kept: Vec<Box<u64>> = (0..1_000_000).map(Box::new).collect();
    black_box(&kept);
}

/// More than fits into a row.
pub fn long_text() -> String {
    "at length, ".repeat(500_000)
}

pub fn print_for_ever() -> ! {
    loop {
        println!("and so on");
    }
}

/// Takes no refusal for an answer.
pub fn publish_for_ever(topic: &str) -> ! {
    loop {
        black_box(Outgoing::raw(topic, "scripted.done", "x").publish().is_ok());
    }
}

/// Another name each time, and no refusal for an answer.
pub fn store_for_ever() -> ! {
    for n in 0_u64.. {
        black_box(state::shared().set(&format!("name-{n}"), &n).is_ok());
    }
    unreachable!("nobody counts that far")
}
