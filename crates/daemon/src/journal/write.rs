//! What is recorded, and the room that it may use.

use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use cutover_core::cause::Code;
use cutover_core::deployment::{Deployment, Event, Request, Status, UnixMillis, next_status};
use cutover_core::names::{DeploymentId, ServiceName};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::Created;
use super::ballast::{Ballast, Released};
use super::convert::{checksum, delivery_of, to_body};
use super::error::JournalError;
use super::lock::StateLock;
use super::read;

/// How long the writer waits for the reader at the end: a read takes milliseconds.
const READER_WAIT: Duration = Duration::from_secs(2);

/// Owns the one connection that writes. Fields are dropped in their order, so the connection is closed
/// before the lock is given back.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) ballast: Ballast,
    pub(super) reader_end: mpsc::Receiver<Infallible>,
    pub(super) _lock: Arc<StateLock>,
}

impl Drop for Writer {
    /// Lets the reader close first: the last connection folds the log into the file, and the reader's
    /// may not. What a stopped daemon leaves is then one file, which can be copied as it is.
    fn drop(&mut self) {
        // Nothing is ever sent; this ends when the reader's end of the channel is gone.
        let _ended = self.reader_end.recv_timeout(READER_WAIT);
    }
}

/// Which room a record may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// It goes forward: the ballast must be in place before, and stays.
    Ample,
    /// It neither goes forward nor ends anything: what there is.
    Usual,
    /// It is about what has been changed already, it ends a deployment, or it comes before what does: the
    /// ballast too.
    Last,
}

impl Room {
    /// The room for `event`, which leads from `before` to `after`.
    ///
    /// Nothing may begin that could not be ended on paper, so up to the start of the switch the ballast
    /// is kept. From then on it is there to be used, for the commit as well: the new release has proved
    /// itself, and taking it back for want of a page would be a second outage. That a recovery has begun comes
    /// before its end, which must not wait behind it.
    fn of(before: Status, event: &Event, after: Status) -> Self {
        if matches!(event, Event::RecoveryStarted) || after.is_end() || !before.is_before_switch() {
            Self::Last
        } else {
            Self::Ample
        }
    }
}

impl Writer {
    /// Runs `write` as one durable transaction, with the room that it may use.
    fn transact<T>(
        &mut self,
        room: Room,
        write: impl Fn(&Transaction<'_>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        if room == Room::Ample {
            self.ballast.ensure()?;
        }
        let first = self.attempt(&write);
        match first {
            Err(JournalError::Full)
                if room == Room::Last && self.ballast.release() == Released::Freed =>
            {
                tracing::warn!("the disk is full: released the ballast to record the way back");
                self.attempt(&write)
            }
            Err(JournalError::Io { .. }) => {
                self.overwrite();
                first
            }
            _ => first,
        }
    }

    /// After the disk would not confirm a transaction, its pages may stand whole in the log behind the
    /// last one that was confirmed, and a restart would find it recorded after all. The next transaction
    /// takes the same place, whether it is confirmed or not, so one that says nothing is written at once.
    fn overwrite(&mut self) {
        let _unconfirmed = self.attempt(write_probe);
    }

    fn attempt<T>(
        &mut self,
        write: impl Fn(&Transaction<'_>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = write(&transaction)?;
        transaction.commit()?;
        Ok(written)
    }

    /// Records a new deployment, unless its delivery is known.
    pub(super) fn create(
        &mut self,
        id: &DeploymentId,
        request: Request,
        at: UnixMillis,
    ) -> Result<Created, JournalError> {
        // A repetition is answered without room. There is no other writer, and the column is unique.
        let delivery = delivery_of(&request);
        if let Some(delivery) = &delivery
            && let Some(deployment) = read::delivery(&self.connection, delivery)?
        {
            return Ok(Created::KnownDelivery { deployment });
        }
        let body = to_body(&Event::Requested(request.clone()))?;
        self.transact(Room::Ample, |transaction| {
            transaction.execute(
                "INSERT INTO deployments (id, service, delivery_id, status, requested_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    id.as_str(),
                    request.service.as_str(),
                    delivery,
                    Status::Queued.as_str(),
                    at.0
                ],
            )?;
            insert_event(transaction, id, 1, at, &body)
        })?;
        Ok(Created::New(Deployment::requested(id.clone(), request, at)))
    }

    /// Records event number `seq` of a deployment, and what follows from it for the deployment's row
    /// and its service.
    pub(super) fn record(
        &mut self,
        id: &DeploymentId,
        seq: u64,
        event: &Event,
        at: UnixMillis,
    ) -> Result<(), JournalError> {
        let began = Instant::now();
        let position = read::position(&self.connection, id)?;
        let found = position.map_or(0, |(_, last)| last) + 1;
        let (Some((before, _)), true) = (position, found == seq) else {
            return Err(JournalError::Sequence {
                expected: seq,
                found,
            });
        };
        let after = next_status(Some(before), event)?;
        let body = to_body(event)?;
        let ended_at = after.is_end().then_some(at.0);
        self.transact(Room::of(before, event, after), |transaction| {
            insert_event(transaction, id, seq, at, &body)?;
            transaction
                .prepare_cached("UPDATE deployments SET status = ?2, ended_at = ?3 WHERE id = ?1")?
                .execute(params![id.as_str(), after.as_str(), ended_at])?;
            settle_service(transaction, id, before, event)
        })?;
        tracing::debug!(
            deployment.id = %id,
            seq,
            event = event.kind(),
            duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            "recorded"
        );
        Ok(())
    }

    /// Refuses deployments of a service from `at` on.
    pub(super) fn set_paused(
        &mut self,
        service: &ServiceName,
        why: Option<&str>,
        at: UnixMillis,
    ) -> Result<(), JournalError> {
        self.transact(Room::Usual, |transaction| {
            transaction.execute(
                "INSERT INTO services (name, paused_at, paused_why) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET paused_at = ?2, paused_why = ?3",
                params![service.as_str(), at.0, why],
            )?;
            Ok(())
        })
    }

    /// Accepts deployments of a service again.
    pub(super) fn clear_paused(&mut self, service: &ServiceName) -> Result<(), JournalError> {
        self.transact(Room::Usual, |transaction| {
            transaction.execute(
                "UPDATE services SET paused_at = NULL, paused_why = NULL WHERE name = ?1",
                [service.as_str()],
            )?;
            Ok(())
        })
    }

    /// Says that a service needs an operator, or no longer does.
    pub(super) fn set_needs_operator(
        &mut self,
        service: &ServiceName,
        why: Option<&str>,
    ) -> Result<(), JournalError> {
        self.transact(Room::Last, |transaction| {
            set_needs_operator(transaction, service.as_str(), why)
        })
    }

    /// Writes one row, as durably as any record, and puts the ballast back.
    pub(super) fn probe(&mut self) -> Result<(), JournalError> {
        self.transact(Room::Ample, write_probe)
    }

    /// Runs a deletion in the room that there is; returns how many rows went.
    pub(super) fn delete(
        &mut self,
        query: &str,
        params: impl rusqlite::Params + Copy,
    ) -> Result<usize, JournalError> {
        self.transact(Room::Usual, |transaction| {
            Ok(transaction.prepare_cached(query)?.execute(params)?)
        })
    }
}

fn write_probe(transaction: &Transaction<'_>) -> Result<(), JournalError> {
    let query = "INSERT OR REPLACE INTO probe (only, at) VALUES (1, unixepoch() * 1000)";
    transaction.prepare_cached(query)?.execute([])?;
    Ok(())
}

fn insert_event(
    transaction: &Transaction<'_>,
    id: &DeploymentId,
    seq: u64,
    at: UnixMillis,
    body: &str,
) -> Result<(), JournalError> {
    let seq = i64::try_from(seq).map_err(|_| JournalError::Io {
        why: format!("event number {seq} is out of range"),
    })?;
    transaction
        .prepare_cached(
            "INSERT INTO events (deployment_id, seq, at, body, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            id.as_str(),
            seq,
            at.0,
            body,
            checksum(id.as_str(), seq, at, body)
        ])?;
    Ok(())
}

/// A failed rollback makes its service need an operator and a success takes that back, in the same
/// transaction: a crash cannot come between.
fn settle_service(
    transaction: &Transaction<'_>,
    id: &DeploymentId,
    before: Status,
    event: &Event,
) -> Result<(), JournalError> {
    let why = match event {
        // The first deployment of a service: nothing ran before, nothing runs now, and the next one may come.
        Event::RollbackFailed { cause, .. } if cause.code == Code::NoRollbackTarget => {
            return Ok(());
        }
        Event::RollbackFailed { cause, runs } => Some(format!(
            "deployment {id} could not be rolled back: {}; what runs now: {runs}",
            cause.detail
        )),
        Event::Succeeded => None,
        // It took longer than the answer could wait for.
        Event::RolledBack { .. } if before == Status::RollbackFailed => None,
        _ => return Ok(()),
    };
    let service: String = transaction.query_row(
        "SELECT service FROM deployments WHERE id = ?1",
        [id.as_str()],
        |row| row.get(0),
    )?;
    set_needs_operator(transaction, &service, why.as_deref())
}

fn set_needs_operator(
    transaction: &Transaction<'_>,
    service: &str,
    why: Option<&str>,
) -> Result<(), JournalError> {
    let query = match why {
        Some(_) => {
            "INSERT INTO services (name, needs_operator) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET needs_operator = ?2"
        }
        None => "UPDATE services SET needs_operator = ?2 WHERE name = ?1",
    };
    transaction.execute(query, params![service, why])?;
    Ok(())
}
