//! Waiting for a condition, with a bound.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

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
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > bound {
            bail!("waited {bound:?} in vain for {what}");
        }
        thread::sleep(POLL);
    }
}
