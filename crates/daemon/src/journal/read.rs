//! What is asked of the journal. Everything is read inside one transaction, so an answer never mixes two
//! moments; a deployment is always the fold of its events, never its row.

use cutover_core::deployment::{Deployment, Event, Status, UnixMillis, next_status};
use cutover_core::names::{DeploymentId, ServiceName};
use rusqlite::{Connection, OptionalExtension, Params};

use super::convert::{checksum, delivery_of, from_body, status_from_word};
use super::error::JournalError;
use super::{Flags, Paused, Recorded};

/// The events of a deployment in order, each with the status after it; none if it is not known.
///
/// # Errors
/// [`JournalError::Corrupt`] when they do not add up.
pub(super) fn recorded(
    connection: &Connection,
    id: &DeploymentId,
) -> Result<Vec<Recorded>, JournalError> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, body, checksum FROM events WHERE deployment_id = ?1 ORDER BY seq",
    )?;
    let mut rows = statement.query([id.as_str()])?;
    let mut recorded = Vec::new();
    let mut status = None;
    let mut number: u64 = 0;
    while let Some(row) = rows.next()? {
        number += 1;
        let seq: i64 = row.get(0)?;
        let at = UnixMillis(row.get(1)?);
        let body: String = row.get(2)?;
        if u64::try_from(seq) != Ok(number) {
            return Err(damaged(id, &format!("event {number} is missing")));
        }
        if checksum(id.as_str(), seq, at, &body) != row.get::<_, i64>(3)? {
            return Err(damaged(
                id,
                &format!("event {number} does not match its checksum"),
            ));
        }
        let event = from_body(&body)?;
        let status_after =
            next_status(status, &event).map_err(|illegal| damaged(id, &illegal.to_string()))?;
        status = Some(status_after);
        recorded.push(Recorded {
            seq: number,
            at,
            event,
            status_after,
        });
    }
    Ok(recorded)
}

fn damaged(id: &DeploymentId, why: &str) -> JournalError {
    JournalError::corrupt(format!("deployment {id}: {why}"))
}

/// One deployment, if it is known.
pub(super) fn deployment(
    connection: &Connection,
    id: &DeploymentId,
) -> Result<Option<Deployment>, JournalError> {
    let mut recorded = recorded(connection, id)?.into_iter();
    let Some(first) = recorded.next() else {
        return Ok(None);
    };
    let Event::Requested(request) = first.event else {
        return Err(damaged(id, "its first event is no request"));
    };
    let mut deployment = Deployment::requested(id.clone(), request, first.at);
    for Recorded { event, at, .. } in recorded {
        deployment
            .apply(&event, at)
            .map_err(|illegal| damaged(id, &illegal.to_string()))?;
    }
    Ok(Some(deployment))
}

/// The deployments whose ids `query` yields, in its order.
fn listed(
    connection: &Connection,
    query: &str,
    params: impl Params,
) -> Result<Vec<Deployment>, JournalError> {
    let mut statement = connection.prepare_cached(query)?;
    let ids = statement
        .query_map(params, |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    ids.iter()
        .map(|id| {
            let id = DeploymentId::new(id)?;
            deployment(connection, &id)?.ok_or_else(|| damaged(&id, "it has no events"))
        })
        .collect()
}

/// The deployment that a [`delivery_column`] became.
pub(super) fn delivery(
    connection: &Connection,
    delivery: &str,
) -> Result<Option<Deployment>, JournalError> {
    let query = "SELECT id FROM deployments WHERE delivery_id = ?1";
    Ok(listed(connection, query, [delivery])?.pop())
}

/// Every deployment that has not ended, oldest first.
pub(super) fn unfinished(connection: &Connection) -> Result<Vec<Deployment>, JournalError> {
    let query = "SELECT id FROM deployments WHERE ended_at IS NULL ORDER BY number";
    listed(connection, query, [])
}

/// Newest first, of one service or of all, beginning after `before`.
pub(super) fn page(
    connection: &Connection,
    service: Option<&ServiceName>,
    before: Option<&DeploymentId>,
    limit: u32,
) -> Result<Vec<Deployment>, JournalError> {
    let query = "SELECT id FROM deployments
        WHERE (?1 IS NULL OR service = ?1)
          AND (?2 IS NULL OR number < (SELECT number FROM deployments WHERE id = ?2))
        ORDER BY number DESC LIMIT ?3";
    let service = service.map(ServiceName::as_str);
    let before = before.map(DeploymentId::as_str);
    listed(connection, query, (service, before, limit))
}

/// Those that made their release the service's, newest first.
pub(super) fn committed(
    connection: &Connection,
    service: &ServiceName,
    limit: u32,
) -> Result<Vec<Deployment>, JournalError> {
    let query = "SELECT id FROM deployments WHERE service = ?1 AND status IN (?2, ?3)
        ORDER BY number DESC LIMIT ?4";
    let words = (Status::Committed.as_str(), Status::Succeeded.as_str());
    listed(
        connection,
        query,
        (service.as_str(), words.0, words.1, limit),
    )
}

/// The newest that has ended.
pub(super) fn last_ended(
    connection: &Connection,
    service: &ServiceName,
) -> Result<Option<Deployment>, JournalError> {
    let query = "SELECT id FROM deployments WHERE service = ?1 AND ended_at IS NOT NULL
        ORDER BY number DESC LIMIT 1";
    Ok(listed(connection, query, [service.as_str()])?.pop())
}

/// What operators have set for a service, or need to know.
pub(super) fn flags(connection: &Connection, service: &ServiceName) -> Result<Flags, JournalError> {
    let flags = connection
        .prepare_cached(
            "SELECT paused_at, paused_why, needs_operator FROM services WHERE name = ?1",
        )?
        .query_row([service.as_str()], |row| {
            let since: Option<i64> = row.get(0)?;
            let why: Option<String> = row.get(1)?;
            Ok(Flags {
                paused: since.map(|since| Paused {
                    why,
                    since: UnixMillis(since),
                }),
                needs_operator: row.get(2)?,
            })
        })
        .optional()?;
    Ok(flags.unwrap_or_default())
}

/// The services that need an operator.
pub(super) fn needing_operator(connection: &Connection) -> Result<Vec<ServiceName>, JournalError> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM services WHERE needs_operator IS NOT NULL ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| Ok(ServiceName::new(&name?)?)).collect()
}

/// How far a deployment has come: its status and the number of its last event; none if it is not known.
pub(super) fn position(
    connection: &Connection,
    id: &DeploymentId,
) -> Result<Option<(Status, u64)>, JournalError> {
    let found: Option<(String, i64)> = connection
        .prepare_cached(
            "SELECT status, (SELECT max(seq) FROM events WHERE deployment_id = id)
             FROM deployments WHERE id = ?1",
        )?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found
        .map(|(word, seq)| {
            let seq = u64::try_from(seq).map_err(|_| damaged(id, "an event has no number"))?;
            Ok((status_from_word(&word)?, seq))
        })
        .transpose()
}

/// Folds every deployment and compares it with its row, and looks at what the other tables hold.
///
/// # Errors
/// [`JournalError::Corrupt`] for the first that does not add up.
pub(super) fn verify(connection: &Connection) -> Result<(), JournalError> {
    let mut services = connection.prepare("SELECT name FROM services")?;
    for name in services.query_map([], |row| row.get::<_, String>(0))? {
        flags(connection, &ServiceName::new(&name?)?)?;
    }
    connection.prepare("SELECT only, at FROM probe")?;
    let mut statement = connection.prepare(
        "SELECT id, service, delivery_id, status, requested_at, ended_at FROM deployments",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = DeploymentId::new(&row.get::<_, String>(0)?)?;
        let folded =
            deployment(connection, &id)?.ok_or_else(|| damaged(&id, "it has no events"))?;
        let delivery = delivery_of(&folded.request);
        let agrees = row.get::<_, String>(1)? == folded.request.service.as_str()
            && row.get::<_, Option<String>>(2)? == delivery
            && row.get::<_, String>(3)? == folded.status().as_str()
            && row.get::<_, i64>(4)? == folded.started_at.0
            && row.get::<_, Option<i64>>(5)? == folded.finished_at.map(|at| at.0);
        if !agrees {
            return Err(damaged(&id, "its row is not the fold of its events"));
        }
    }
    Ok(())
}
