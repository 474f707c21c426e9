//! How a service ends that a proxy follows by its health: it says that it is unhealthy, and serves on until nobody asks any
//! more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Nobody asks any more when nobody has asked for so long.
const QUIET: Duration = Duration::from_secs(1);

static IS_DRAINING: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Whether it has begun to end.
pub(crate) fn is_draining() -> bool {
    IS_DRAINING.load(Ordering::Relaxed)
}

/// Somebody asked for something else than its health.
pub(crate) fn asked() {
    ASKED.fetch_add(1, Ordering::Relaxed);
}

/// Begins to end; returns when nobody asks any more.
pub(crate) fn drain() {
    IS_DRAINING.store(true, Ordering::Relaxed);
    loop {
        let before = ASKED.load(Ordering::Relaxed);
        thread::sleep(QUIET);
        if ASKED.load(Ordering::Relaxed) == before {
            return;
        }
    }
}
