//! Memory that lasts as long as the instance does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

static CALLS: AtomicU32 = AtomicU32::new(0);
static HELD: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// The calls of this instance that had a script, with this one.
pub fn count_call() -> u32 {
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

/// Never gives it back.
pub fn hold(mib: usize) {
    if mib > 0 {
        HELD.lock().expect("there is one thread").push(vec![1; mib << 20]);
    }
}
