//! How much history is kept, so that the journal cannot grow without end.

use cutover_core::deployment::{Status, UnixMillis};

use super::error::JournalError;
use super::write::Writer;

const MINUTE_MS: i64 = 60 * 1000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// No deployment younger than this goes for its age, whatever is asked for.
pub const KEEP_DAYS_MIN: u32 = 7;

/// At least so many of a service stay, and so many that succeeded, however old.
pub const KEEP_COUNT_MIN: u32 = 50;

/// At most so many ended deployments of a service stay, however young: somebody deploys in a loop.
pub const KEEP_COUNT_MAX: u32 = 10_000;

/// A delivery is remembered at least so long, whatever its number: many times the 300 seconds by which a
/// request's timestamp may be off to either side, so that no request can be replayed.
const KEEP_DELIVERY_MS: i64 = 60 * MINUTE_MS;

/// How many deployments go in one transaction, so that a record never waits long.
pub(super) const BATCH: u16 = 200;

/// What stays. What is asked for is brought within the bounds above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// For how many days after its end a deployment stays.
    pub days: u32,
    /// How many of a service stay however old, and how many that succeeded.
    pub per_service: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            days: 90,
            per_service: KEEP_COUNT_MIN,
        }
    }
}

/// Deletes one batch of what need not stay; returns how many went. Unfinished deployments always stay.
pub(super) fn prune_batch(
    writer: &mut Writer,
    retention: Retention,
    now: UnixMillis,
) -> Result<usize, JournalError> {
    let days = retention.days.max(KEEP_DAYS_MIN);
    let per_service = retention.per_service.clamp(KEEP_COUNT_MIN, KEEP_COUNT_MAX);
    let old = now.0.saturating_sub(i64::from(days) * DAY_MS);
    let replayable = now.0.saturating_sub(KEEP_DELIVERY_MS);
    writer.delete(
        "DELETE FROM deployments WHERE number IN (
             SELECT number FROM (
                 SELECT number, ended_at, status,
                     row_number() OVER (PARTITION BY service ORDER BY number DESC) AS place,
                     row_number() OVER (PARTITION BY service, status ORDER BY number DESC) AS place_alike
                 FROM deployments WHERE ended_at IS NOT NULL)
             WHERE place > ?1
               AND NOT (status = ?2 AND place_alike <= ?1)
               AND (ended_at < ?3 OR (place > ?4 AND ended_at < ?5))
             ORDER BY number LIMIT ?6)",
        (
            per_service,
            Status::Succeeded.as_str(),
            old,
            KEEP_COUNT_MAX,
            replayable,
            BATCH,
        ),
    )
}
