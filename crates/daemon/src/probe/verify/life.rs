//! From one start of a watched container to its end.

use std::time::Duration;

use cutover_core::health::{HealthWindow, Sample, Source};
use jiff::Timestamp;
use tokio::time::Instant;

use super::probes::Probes;
use crate::docker::Container;

/// From one start of the container to its end.
pub(super) struct Life {
    /// By Docker's clock; tells one life from another.
    pub(super) started_at: Option<Timestamp>,
    pub(super) began: Instant,
    /// For how long it had run by then; Docker's clock is this machine's.
    ran: Duration,
    pub(super) window: HealthWindow,
    pub(super) probes: Probes,
}

impl Life {
    /// The container was started, or is looked at for the first time.
    pub(super) fn begun(container: &Container, window: HealthWindow, probes: Probes) -> Self {
        let started_at = container.state.started_at;
        let ran = started_at.map(|began| Timestamp::now().duration_since(began));
        Self {
            started_at,
            began: Instant::now(),
            ran: ran
                .and_then(|ran| Duration::try_from(ran).ok())
                .unwrap_or_default(),
            window,
            probes,
        }
    }

    /// From the container's start to when it was healthy for the first time.
    pub(super) fn answered_after(&self) -> Option<Duration> {
        Some(self.ran.saturating_add(self.window.first_healthy()?))
    }

    pub(super) fn sample(&mut self, source: Source, sample: Sample) {
        self.window.sample(self.began.elapsed(), source, sample);
    }
}
