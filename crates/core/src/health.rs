//! Decides from samples whether a new container may stay.
//!
//! A container has one or more [`Source`]s of health. It is healthy once all of them have been healthy at
//! the same time, without a break, for `min_healthy_time`; it is unhealthy when that has not come to pass
//! by `healthy_deadline`. Some things decide at once: the container exits or restarts, or Docker itself
//! calls it unhealthy, whose own retries are used up by then.
//!
//! ```text
//!            all sources healthy for min_healthy_time
//!  Pending ───────────────────────────────────────────► Healthy
//!     │  a failed probe begins the time anew
//!     └─► Unhealthy: deadline, exit, restart, Docker's word
//! ```
//!
//! Docker's health status and plain running are states: they hold until Docker says otherwise. A probe is
//! a sample: it proves the moment in which it was taken. So a window of probes is closed by a probe, not
//! by the clock; a container that hangs while the last answer is awaited does not pass.
//!
//! Times are measured from the container's start on a clock that never jumps.

use std::fmt;
use std::time::Duration;

mod unhealthy;

pub(crate) use unhealthy::seconds;
pub use unhealthy::{Missing, Unhealthy};

/// How long a container is watched that is healthy, as Swarm's `monitor`.
pub const MONITOR_DEFAULT: Duration = Duration::from_secs(5);

/// How long a container is watched that has no check at all: that it runs is all that can be seen.
pub const MONITOR_UNCHECKED_DEFAULT: Duration = Duration::from_secs(10);

/// The shortest default for `healthy_deadline`; quick checks of slow starters need room.
pub const HEALTHY_DEADLINE_MIN: Duration = Duration::from_secs(60);

/// The default for `healthy_deadline`, from the health check as Compose names its fields.
///
/// `start_period + (retries + 1) × (interval + timeout)`, and at least a minute: by then Docker has called
/// every container unhealthy that is. The one check beyond `retries` is the one that was under way when
/// the start period ended. `min_healthy_time` is not part of it: where it is longer than a few checks,
/// the caller adds it.
#[must_use]
pub fn healthy_deadline_default(
    start_period: Duration,
    interval: Duration,
    timeout: Duration,
    retries: u32,
) -> Duration {
    interval
        .saturating_add(timeout)
        .saturating_mul(retries.saturating_add(1))
        .saturating_add(start_period)
        .max(HEALTHY_DEADLINE_MIN)
}

/// What a container must do to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthRules {
    /// How long all sources must be healthy without a break; `monitor` where there is no check.
    pub min_healthy_time: Duration,
    /// By when that must have come to pass, from the container's start. One shorter than
    /// `min_healthy_time` can never be met.
    pub healthy_deadline: Duration,
}

/// Where a sample comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The container's own health check, as Docker reports it.
    HealthCheck,
    /// Requests from outside.
    HttpProbe,
    /// Requests to the address by which users come in.
    UrlProbe,
    /// Connections from outside.
    TcpProbe,
    /// A command in the container.
    CommandProbe,
    /// Nothing but that the container runs.
    Running,
}

impl Source {
    /// Whether what it said holds until it says something else.
    fn is_state(self) -> bool {
        matches!(self, Self::HealthCheck | Self::Running)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HealthCheck => "health check",
            Self::HttpProbe => "HTTP probe",
            Self::UrlProbe => "probe of the URL",
            Self::TcpProbe => "TCP probe",
            Self::CommandProbe => "command",
            Self::Running => "running state",
        })
    }
}

/// One result of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// The container is well.
    Healthy,
    /// It is not, and why in words.
    Unhealthy(String),
}

/// What is known so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided.
    Pending,
    /// The container may stay.
    Healthy,
    /// The container must go.
    Unhealthy(Unhealthy),
}

/// Folds samples into a verdict.
#[derive(Debug, Clone)]
pub struct HealthWindow {
    rules: HealthRules,
    sources: Vec<(Source, Condition)>,
    /// The latest time heard of.
    now: Duration,
    breaks: u32,
    first_healthy: Option<Duration>,
    verdict: Verdict,
}

/// What one source said last.
#[derive(Debug, Clone)]
enum Condition {
    Unknown,
    Healthy {
        /// The first of the unbroken row of samples.
        since: Duration,
        /// The last of it.
        until: Duration,
    },
    Unhealthy(String),
}

impl HealthWindow {
    /// A container that has just started; all of `sources` must become healthy.
    ///
    /// Without sources there is nothing but that the container runs: then it counts as
    /// [`Source::Running`] and healthy from the start.
    #[must_use]
    pub fn new(rules: HealthRules, sources: impl IntoIterator<Item = Source>) -> Self {
        let mut window = Self {
            rules,
            sources: Vec::new(),
            now: Duration::ZERO,
            breaks: 0,
            first_healthy: None,
            verdict: Verdict::Pending,
        };
        for source in sources {
            if window.sources.iter().all(|(known, _)| *known != source) {
                window.sources.push((source, Condition::Unknown));
            }
        }
        if window.sources.is_empty() {
            let running = Condition::Healthy {
                since: Duration::ZERO,
                until: Duration::ZERO,
            };
            window.sources.push((Source::Running, running));
        }
        window
    }

    /// Takes a sample that `source` gave at `at`.
    ///
    /// A source that is not among those of this window decides nothing.
    pub fn sample(&mut self, at: Duration, source: Source, sample: Sample) -> &Verdict {
        self.now = self.now.max(at);
        // Good news that comes after the deadline changes nothing. Bad news counts even if the window has
        // closed by the clock in the meantime: nobody was told yet.
        if sample == Sample::Healthy && self.now > self.rules.healthy_deadline {
            self.judge();
        }
        if self.verdict != Verdict::Pending {
            return &self.verdict;
        }
        let now = self.now;
        let was_healthy = self.healthy_since().is_some();
        let Some((_, condition)) = self.sources.iter_mut().find(|(known, _)| *known == source)
        else {
            return &self.verdict;
        };
        match (sample, &mut *condition) {
            (Sample::Healthy, Condition::Healthy { until, .. }) => *until = now,
            (Sample::Healthy, _) => {
                *condition = Condition::Healthy {
                    since: now,
                    until: now,
                }
            }
            (Sample::Unhealthy(detail), _) if source == Source::HealthCheck => {
                return self.decide(Unhealthy::HealthCheck { after: now, detail });
            }
            (Sample::Unhealthy(detail), _) => *condition = Condition::Unhealthy(detail),
        }
        if was_healthy && self.healthy_since().is_none() {
            self.breaks = self.breaks.saturating_add(1);
        }
        self.first_healthy = self.first_healthy.or(self.healthy_since());
        self.judge();
        &self.verdict
    }

    /// The container ended at `at`.
    pub fn exited(&mut self, at: Duration, code: i64) -> &Verdict {
        self.decide(Unhealthy::Exited { code, after: at })
    }

    /// The container was started again at `at`, by whomever.
    pub fn restarted(&mut self, at: Duration) -> &Verdict {
        self.decide(Unhealthy::Restarted { after: at })
    }

    /// The verdict at `now`; time alone can bring it about.
    pub fn at(&mut self, now: Duration) -> &Verdict {
        // Samples of different sources may arrive in the wrong order; time does not go back for that.
        self.now = self.now.max(now);
        self.judge();
        &self.verdict
    }

    /// The verdict at the latest time heard of.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// When all sources were healthy for the first time; `None` while they have not been, and where there is none.
    #[must_use]
    pub fn first_healthy(&self) -> Option<Duration> {
        self.first_healthy
    }

    /// The time at which the verdict changes if no sample comes until then; `None` once it is final.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Duration> {
        let deadline = self.rules.healthy_deadline;
        (self.verdict == Verdict::Pending).then(|| {
            self.complete_at()
                .map_or(deadline, |complete| complete.min(deadline))
        })
    }

    /// Decides by what is known now.
    fn judge(&mut self) {
        if self.verdict != Verdict::Pending {
            return;
        }
        let deadline = self.rules.healthy_deadline;
        match self.complete_at() {
            Some(complete) if complete <= self.now.min(deadline) => self.verdict = Verdict::Healthy,
            _ if self.now >= deadline => {
                let missing = self.missing();
                self.decide(Unhealthy::Deadline { deadline, missing });
            }
            _ => {}
        }
    }

    fn decide(&mut self, why: Unhealthy) -> &Verdict {
        if self.verdict == Verdict::Pending {
            self.verdict = Verdict::Unhealthy(why);
        }
        &self.verdict
    }

    /// Since when all sources are healthy, if they are.
    fn healthy_since(&self) -> Option<Duration> {
        self.sources
            .iter()
            .try_fold(Duration::ZERO, |latest, (_, condition)| match condition {
                Condition::Healthy { since, .. } => Some(latest.max(*since)),
                Condition::Unknown | Condition::Unhealthy(_) => None,
            })
    }

    /// When the window is complete if no further sample comes; `None` if that takes one.
    fn complete_at(&self) -> Option<Duration> {
        let end = self
            .healthy_since()?
            .saturating_add(self.rules.min_healthy_time);
        self.sources
            .iter()
            .try_fold(end, |complete, (source, condition)| match condition {
                // A state covers the window by the clock, a probe by a sample at its end.
                Condition::Healthy { .. } if source.is_state() => Some(complete),
                Condition::Healthy { until, .. } if *until >= end => Some(complete.max(*until)),
                _ => None,
            })
    }

    /// What is missing now: first what is wrong, then what is silent.
    fn missing(&self) -> Missing {
        let wrong = self
            .sources
            .iter()
            .find_map(|(source, condition)| match condition {
                Condition::Unhealthy(detail) => Some(Missing::Health {
                    source: *source,
                    detail: detail.clone(),
                }),
                _ => None,
            });
        let silent = || {
            let unknown = |condition: &Condition| matches!(condition, Condition::Unknown);
            let (source, _) = self
                .sources
                .iter()
                .find(|(_, condition)| unknown(condition))?;
            Some(Missing::Answer(*source))
        };
        wrong.or_else(silent).unwrap_or_else(|| Missing::Time {
            healthy_for: self.healthy_for(self.rules.healthy_deadline),
            min_healthy_time: self.rules.min_healthy_time,
            breaks: self.breaks,
        })
    }

    /// For how long before `end` all sources are known to have been healthy.
    fn healthy_for(&self, end: Duration) -> Duration {
        let Some(since) = self.healthy_since() else {
            return Duration::ZERO;
        };
        let known_until =
            self.sources
                .iter()
                .fold(end, |end, (source, condition)| match condition {
                    Condition::Healthy { until, .. } if !source.is_state() => end.min(*until),
                    _ => end,
                });
        known_until.saturating_sub(since)
    }
}

#[cfg(test)]
mod tests;
