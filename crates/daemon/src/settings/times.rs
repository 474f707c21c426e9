//! Those settings of a service that are times, and what goes with them: how long is waited, watched, held, and for how many
//! at once.

use std::time::Duration;

use super::service::Service;
use super::table::Table;

/// Enough for a large image over a slow line; a registry that never answers must not block a service
/// for longer.
pub(super) const DEFAULT_PROGRESS_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// A migration of a large table takes its time; one that hangs must not block a service for longer.
pub(super) const DEFAULT_JOB_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// Most clients wait longer for a connection.
pub(super) const DEFAULT_HOLD: Duration = Duration::from_secs(30);

/// Most requests are over by then; connections that are kept open for later ones never are.
pub(super) const DEFAULT_DRAIN: Duration = Duration::from_secs(2);

/// More replicas of a service than one machine runs.
const PARALLELISM_MAX: u32 = 1000;

/// A deadline that passes at once would fail every deployment.
const DEADLINE_MIN: Duration = Duration::from_millis(10);

/// Reads them all.
pub(super) fn read(table: &Table<'_>, service: &mut Service) {
    let time = |key, least| table.get(key).and_then(|value| value.duration(least));
    service.healthy_deadline = time("healthy_deadline", DEADLINE_MIN);
    service.monitor = time("monitor", Duration::ZERO);
    service.delay = time("delay", Duration::ZERO);
    let parallelism = table.get("parallelism");
    service.parallelism = parallelism.and_then(|value| value.number(0..=PARALLELISM_MAX));
    service.drain = time("drain", Duration::ZERO).unwrap_or(DEFAULT_DRAIN);
    if let Some(value) = table.get("hold") {
        service.hold = match value.is("off") {
            true => None,
            false => value.duration_or("\"off\" or a duration", DEADLINE_MIN),
        };
    }
    let ports = table.get("hold_ports").and_then(|value| value.ports());
    service.hold_ports = ports.unwrap_or_default();
    service.min_healthy_time = time("min_healthy_time", Duration::ZERO).unwrap_or_default();
    service.progress_deadline =
        time("progress_deadline", DEADLINE_MIN).unwrap_or(DEFAULT_PROGRESS_DEADLINE);
    service.job_deadline = time("job_deadline", DEADLINE_MIN).unwrap_or(DEFAULT_JOB_DEADLINE);
    if let (Some(deadline), Some(value)) = (service.healthy_deadline, table.get("min_healthy_time"))
        && service.min_healthy_time >= deadline
    {
        value.mistake::<()>(
            format!(
                "`{}` must be shorter than `healthy_deadline`, or no release could ever succeed",
                value.path
            ),
            None,
        );
    }
}
