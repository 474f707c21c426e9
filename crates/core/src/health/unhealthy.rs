//! Why a container did not pass, in words for the person who reads the answer.

use std::fmt;
use std::time::Duration;

use super::Source;

/// Why a container must go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// It ended.
    #[error("the container exited with code {code} after {}", seconds(*.after))]
    Exited {
        /// Docker's exit code.
        code: i64,
        /// How long after its start.
        after: Duration,
    },
    /// It ended and something started it again.
    #[error("the container restarted after {}", seconds(*.after))]
    Restarted {
        /// How long after its start.
        after: Duration,
    },
    /// Docker called it unhealthy.
    #[error("Docker reports the container unhealthy after {}: {detail}", seconds(*.after))]
    HealthCheck {
        /// How long after its start.
        after: Duration,
        /// What the last check printed.
        detail: String,
    },
    /// It was not healthy for long enough in time.
    #[error("the container was not healthy within {}: {missing}", seconds(*.deadline))]
    Deadline {
        /// The deadline that has passed.
        deadline: Duration,
        /// What was missing.
        missing: Missing,
    },
}

/// What a container that ran out of time did not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// This source never said anything.
    Answer(Source),
    /// The last word of this source was no.
    Health {
        /// Which source.
        source: Source,
        /// What it said.
        detail: String,
    },
    /// It was healthy at the end, but not for long enough.
    Time {
        /// How long it was healthy.
        healthy_for: Duration,
        /// How long it should have been.
        min_healthy_time: Duration,
        /// How often it had stopped being healthy before.
        breaks: u32,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(Source::HealthCheck) => f.write_str("its health check is still starting"),
            Self::Answer(source) => write!(f, "its {source} never answered"),
            Self::Health { source, detail } => write!(f, "its {source} says: {detail}"),
            Self::Time {
                healthy_for,
                min_healthy_time,
                breaks,
            } => {
                let (healthy_for, needed) = (seconds(*healthy_for), seconds(*min_healthy_time));
                write!(
                    f,
                    "it was healthy for the last {healthy_for} of the {needed} needed"
                )?;
                match breaks {
                    0 => Ok(()),
                    1 => f.write_str(", after 1 break"),
                    _ => write!(f, ", after {breaks} breaks"),
                }
            }
        }
    }
}

/// A time as a person reads it, in seconds with one decimal where it matters.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..120 => {}
        seconds @ 120..7200 => return format!("{} min", seconds / 60),
        seconds => return format!("{} h", seconds / 3600),
    }
    let tenths = time.as_millis() / 100;
    match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        tenth => format!("{}.{tenth} s", tenths / 10),
    }
}
