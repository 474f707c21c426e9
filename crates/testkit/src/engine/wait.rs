//! Waiting for a condition, with a bound.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The shortest and the longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(25));

/// A pause is so many times as long as the look before it: waiting leaves the processor to what is waited for.
const PAUSE_PER_LOOK: u32 = 2;

/// Waits until `look` returns something. An error of `look` means that waiting is pointless.
///
/// # Errors
/// If the bound passes first, or with the error of `look`.
pub fn wait_for<T>(
    what: &str,
    bound: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        let looked = Instant::now();
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > bound {
            bail!("waited {bound:?} in vain for {what}");
        }
        thread::sleep(pause_after(looked.elapsed()));
    }
}

/// The pause behind a look that took so long.
pub(crate) fn pause_after(look: Duration) -> Duration {
    (look * PAUSE_PER_LOOK).clamp(PAUSE.0, PAUSE.1)
}
