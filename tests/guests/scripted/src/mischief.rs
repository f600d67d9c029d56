//! What a guest must not be able to do to its host. None of these ever returns.
//!
//! `black_box` keeps the compiler from seeing that the work is for nothing.

use std::hint::black_box;
use std::time::Duration;

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
