//! The deployment journal: every event of every deployment, in one SQLite file.
//!
//! It is what a restarted daemon believes about the past, and the history that people read. Events are
//! only ever added; the status of a deployment is the fold of its events, and an event that cannot follow
//! is refused before it is written.
//!
//! ```text
//!  Journal ──► writer thread ──► connection that writes ──┐
//!     │                                                   ├──► journal.sqlite, write-ahead log
//!     └──────► reader thread ──► connection that reads ───┘
//! ```
//!
//! One thread writes, one reads, so that nobody who only looks waits for the disk. A record is durable
//! when [`Journal::record`] returns: one transaction, one wait for the disk. Whatever fails, nothing is
//! half recorded. Deliberately absent: what Docker holds. The journal tells what was done, never what is.

mod ballast;
mod convert;
mod error;
mod files;
mod lock;
mod opening;
mod read;
mod retention;
mod rows;
mod thread;
mod write;

pub use error::JournalError;
pub use retention::{KEEP_COUNT_MAX, KEEP_COUNT_MIN, KEEP_DAYS_MIN, Retention};

use std::path::{Path, PathBuf};

use cutover_core::deployment::{Deployment, Event, Request, Status, UnixMillis};
use cutover_core::names::{DeliveryId, DeploymentId, ServiceName};

use files::Files;
use opening::Reader;
use thread::OwnerThread;
use write::Writer;

/// A service that refuses deployments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Why.
    pub why: Option<String>,
    /// Since when.
    pub since: UnixMillis,
}

/// What is remembered of a service beside its deployments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// Present while an operator has paused the service.
    pub paused: Option<Paused>,
    /// Why an operator is needed.
    pub needs_operator: Option<String>,
}

/// How the journal was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// As it was left.
    Fine,
    /// There was none.
    New,
    /// It was damaged, so it was set aside and a new one begun. Reported by every start until
    /// [`Journal::acknowledge_replacement`].
    Replaced {
        /// Where the damaged file is now.
        broken: PathBuf,
    },
}

/// What became of a wish for a new deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is recorded.
    New(Deployment),
    /// Nothing was recorded: its delivery id belongs to this deployment.
    KnownDelivery {
        /// The one that is recorded.
        deployment: Deployment,
    },
}

/// One event as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its number within the deployment: 1 for the request, then 2, 3, …
    pub seq: u64,
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub event: Event,
    /// The status after it.
    pub status_after: Status,
}

/// The handle to the journal; cheap to clone. Shortly after the last clone is dropped the journal is
/// closed, which leaves one file that can be copied as it is, and the state directory is free again.
///
/// Every method fails with the kinds that [`JournalError`] describes; those that write have recorded
/// nothing then. A write goes on when its caller stops waiting.
#[derive(Debug, Clone)]
pub struct Journal {
    writer: OwnerThread<Writer>,
    reader: OwnerThread<Reader>,
    files: Files,
}

impl Journal {
    /// Opens the journal in `state_directory`, which is made if it is not there, and locks the directory.
    ///
    /// # Errors
    /// [`JournalError::Locked`] when another daemon uses the directory, [`JournalError::Newer`] when a
    /// newer cutover wrote the journal (it is left alone), [`JournalError::Full`] and
    /// [`JournalError::Io`]. A damaged journal is no error: see [`Opened::Replaced`].
    pub async fn open(state_directory: &Path) -> Result<(Self, Opened), JournalError> {
        let directory = state_directory.to_owned();
        let opening = tokio::task::spawn_blocking(move || {
            let (writer, reader, opened) = opening::open(&directory)?;
            let no_thread =
                |error| JournalError::io("cannot start a thread for the journal", &error);
            let journal = Self {
                writer: OwnerThread::start("journal-writer", writer).map_err(no_thread)?,
                reader: OwnerThread::start("journal-reader", reader).map_err(no_thread)?,
                files: Files::of(&directory),
            };
            Ok((journal, opened))
        });
        opening.await.map_err(|error| JournalError::Io {
            why: error.to_string(),
        })?
    }

    /// Takes notice of [`Opened::Replaced`]: the next start reports it no more.
    pub async fn acknowledge_replacement(&self) -> Result<(), JournalError> {
        let files = self.files.clone();
        self.writer.run(move |_| files.forget_note()).await
    }

    /// Records a new deployment, unless its delivery id is known.
    pub async fn create(
        &self,
        id: &DeploymentId,
        request: &Request,
        at: UnixMillis,
    ) -> Result<Created, JournalError> {
        let (id, request) = (id.clone(), request.clone());
        self.writer
            .run(move |writer| writer.create(&id, request, at))
            .await
    }

    /// Records `event` as number `seq` of the deployment, which is one more than
    /// [`Deployment::events`]; durable on return.
    ///
    /// A [`Event::RollbackFailed`] makes the service need an operator, a [`Event::Succeeded`] takes that
    /// back, and so does a [`Event::RolledBack`] of the same deployment. On a full disk everything after the start of a switch, and every end, is still recorded, in
    /// the room of the ballast file.
    ///
    /// # Errors
    /// Beside those of the disk: [`JournalError::Sequence`] when `seq` is not the next number,
    /// [`JournalError::Illegal`] when the event cannot follow, [`JournalError::TooLarge`].
    pub async fn record(
        &self,
        id: &DeploymentId,
        seq: u64,
        event: &Event,
        at: UnixMillis,
    ) -> Result<(), JournalError> {
        let (id, event) = (id.clone(), event.clone());
        self.writer
            .run(move |writer| writer.record(&id, seq, &event, at))
            .await
    }

    /// One deployment, if it is known.
    pub async fn deployment(&self, id: &DeploymentId) -> Result<Option<Deployment>, JournalError> {
        let id = id.clone();
        self.read(move |connection| read::deployment(connection, &id))
            .await
    }

    /// At most `limit` events of a deployment, beginning after number `after_seq` (0 for all).
    pub async fn events(
        &self,
        id: &DeploymentId,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<Recorded>, JournalError> {
        let id = id.clone();
        self.read(move |connection| {
            let recorded = read::recorded(connection, &id)?.into_iter();
            let wanted = recorded.filter(|recorded| recorded.seq > after_seq);
            Ok(wanted
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .collect())
        })
        .await
    }

    /// The deployment of `service` that the delivery with this id became, which `actor` sent, if it is known.
    pub async fn delivery(
        &self,
        service: &ServiceName,
        actor: &str,
        id: &DeliveryId,
    ) -> Result<Option<Deployment>, JournalError> {
        let delivery = convert::delivery_column(service, actor, id);
        self.read(move |connection| read::delivery(connection, &delivery))
            .await
    }

    /// Every deployment that has not ended, oldest first.
    pub async fn unfinished(&self) -> Result<Vec<Deployment>, JournalError> {
        self.read(read::unfinished).await
    }

    /// At most `limit` deployments, newest first: of one service or of all, older than `before`. Nothing
    /// if `before` is not known (any more).
    pub async fn page(
        &self,
        service: Option<&ServiceName>,
        before: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Deployment>, JournalError> {
        let (service, before) = (service.cloned(), before.cloned());
        self.read(move |connection| {
            read::page(connection, service.as_ref(), before.as_ref(), limit)
        })
        .await
    }

    /// At most `limit` deployments that made their release the service's, newest first; one that found
    /// it unchanged is not among them.
    pub async fn committed(
        &self,
        service: &ServiceName,
        limit: u32,
    ) -> Result<Vec<Deployment>, JournalError> {
        let service = service.clone();
        self.read(move |connection| read::committed(connection, &service, limit))
            .await
    }

    /// The service's newest deployment that has ended.
    pub async fn last_ended(
        &self,
        service: &ServiceName,
    ) -> Result<Option<Deployment>, JournalError> {
        let service = service.clone();
        self.read(move |connection| read::last_ended(connection, &service))
            .await
    }

    /// Whether the service is paused or needs an operator.
    pub async fn flags(&self, service: &ServiceName) -> Result<Flags, JournalError> {
        let service = service.clone();
        self.read(move |connection| read::flags(connection, &service))
            .await
    }

    /// The services that need an operator, in the order of their names.
    pub async fn needing_operator(&self) -> Result<Vec<ServiceName>, JournalError> {
        self.read(read::needing_operator).await
    }

    /// Remembers that the service refuses deployments from `at` on.
    pub async fn set_paused(
        &self,
        service: &ServiceName,
        why: Option<&str>,
        at: UnixMillis,
    ) -> Result<(), JournalError> {
        let (service, why) = (service.clone(), why.map(str::to_owned));
        self.writer
            .run(move |writer| writer.set_paused(&service, why.as_deref(), at))
            .await
    }

    /// Remembers that the service accepts deployments again.
    pub async fn clear_paused(&self, service: &ServiceName) -> Result<(), JournalError> {
        let service = service.clone();
        self.writer
            .run(move |writer| writer.clear_paused(&service))
            .await
    }

    /// Remembers why the service needs an operator, or that it does not.
    pub async fn set_needs_operator(
        &self,
        service: &ServiceName,
        why: Option<&str>,
    ) -> Result<(), JournalError> {
        let (service, why) = (service.clone(), why.map(str::to_owned));
        self.writer
            .run(move |writer| writer.set_needs_operator(&service, why.as_deref()))
            .await
    }

    /// Deletes what need not be kept and returns how many deployments went. Kept are all unfinished ones,
    /// those of the last week, the last 50 of each service and the last 50 that succeeded; of more than
    /// [`KEEP_COUNT_MAX`] of a service the oldest go even when they are young, but none of the last hour.
    pub async fn prune(
        &self,
        retention: Retention,
        now: UnixMillis,
    ) -> Result<usize, JournalError> {
        let mut deleted = 0;
        loop {
            let batch = self
                .writer
                .run(move |writer| retention::prune_batch(writer, retention, now))
                .await?;
            deleted += batch;
            if batch < usize::from(retention::BATCH) {
                return Ok(deleted);
            }
        }
    }

    /// Writes a row as durably as any record, and puts the ballast file back if it was used: whether a
    /// deployment could be begun now.
    pub async fn probe_writable(&self) -> Result<(), JournalError> {
        self.writer.run(Writer::probe).await
    }

    /// Asks the reading connection, within one transaction.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.reader
            .run(move |reader| query(&*reader.connection.transaction()?))
            .await
    }
}
