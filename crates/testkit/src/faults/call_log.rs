//! The last calls, for the message of a test that failed.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

/// As many as a deployment makes from its switch to its end.
const CALLS_KEPT: usize = 50;

/// The last calls, oldest first.
#[derive(Debug, Default)]
pub(super) struct CallLog {
    calls: VecDeque<Call>,
}

#[derive(Debug)]
struct Call {
    began: SystemTime,
    took: Duration,
    what: String,
    /// The status that was answered, or how it ended without one.
    ended: String,
}

impl CallLog {
    pub(super) fn push(&mut self, began: SystemTime, what: String, ended: String) {
        if self.calls.len() == CALLS_KEPT {
            self.calls.pop_front();
        }
        let took = began.elapsed().unwrap_or_default();
        self.calls.push_back(Call {
            began,
            took,
            what,
            ended,
        });
    }
}

impl fmt::Display for CallLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for call in &self.calls {
            let at = clock(call.began);
            let took_ms = call.took.as_millis();
            writeln!(f, "{at} {}: {} after {took_ms} ms", call.what, call.ended)?;
        }
        Ok(())
    }
}

/// The time of day, in UTC, as the journal's events show it.
fn clock(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = since.as_secs();
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_calls_are_kept() {
        let mut log = CallLog::default();
        for number in 0..=CALLS_KEPT {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(3_723_004);
            log.push(at, format!("GET /{number}"), "200".to_owned());
        }
        let text = log.to_string();
        assert_eq!(text.lines().count(), CALLS_KEPT);
        assert!(
            text.starts_with("01:02:03.004 GET /1: 200 after "),
            "{text}"
        );
    }
}
