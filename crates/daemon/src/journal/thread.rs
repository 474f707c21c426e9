//! A thread that owns a connection, and the handle through which others ask it.
//!
//! SQLite blocks, and waits for the disk; asynchronous code must do neither.

use std::fmt;
use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::error::JournalError;

/// How many callers may stand in line. Each waits for its answer, so more than a few never do; whoever
/// comes when the line is full waits for a place.
const QUEUE_LEN_MAX: usize = 32;

type Work<S> = Box<dyn FnOnce(&mut S) + Send>;

/// The handle; the thread ends, and drops what it owns, when the last clone is dropped.
pub(super) struct OwnerThread<S> {
    queue: mpsc::Sender<Work<S>>,
}

impl<S> Clone for OwnerThread<S> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<S> fmt::Debug for OwnerThread<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerThread").finish_non_exhaustive()
    }
}

impl<S: Send + 'static> OwnerThread<S> {
    /// Starts a thread that owns `owned`.
    pub(super) fn start(name: &str, mut owned: S) -> io::Result<Self> {
        let (queue, mut line) = mpsc::channel::<Work<S>>(QUEUE_LEN_MAX);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(work) = line.blocking_recv() {
                    work(&mut owned);
                }
            })?;
        Ok(Self { queue })
    }

    /// Does `work` on the thread. Work that has been handed over is done even if the caller stops waiting.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let work: Work<S> = Box::new(move |owned| {
            // A caller that stopped waiting does not need the answer.
            let _unheard = answer.send(work(owned));
        });
        let ended = || JournalError::Io {
            why: "the journal's thread has ended".to_owned(),
        };
        self.queue.send(work).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}
