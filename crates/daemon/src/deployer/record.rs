//! One deployment under way: what has happened so far, recorded before and told to those who watch.

use std::time::Duration;

use cutover_core::deployment::{Deployment, Event, UnixMillis, next_status};
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::words::Live;
use crate::journal::{Journal, JournalError};

/// How long an event that must not hold anything up waits for the disk.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// The moment, by the machine's clock: for people, never for deciding how long something took.
pub(super) fn now() -> UnixMillis {
    UnixMillis(Timestamp::now().as_millisecond())
}

/// The record of one deployment, the only way to add an event to it.
#[derive(Debug)]
pub(super) struct Record {
    deployment: Deployment,
    journal: Journal,
    live: broadcast::Sender<Live>,
    unwritten: Vec<(u64, Event, UnixMillis)>,
}

impl Record {
    pub(super) fn new(
        deployment: Deployment,
        journal: Journal,
        live: broadcast::Sender<Live>,
    ) -> Self {
        Self {
            deployment,
            journal,
            live,
            unwritten: Vec::new(),
        }
    }

    /// What has happened so far.
    pub(super) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Where to tell those who watch what is not recorded.
    pub(super) fn live(&self) -> &broadcast::Sender<Live> {
        &self.live
    }

    /// Records `event`; durable on return. A step forward is taken only after this has succeeded.
    ///
    /// # Errors
    /// The event is not recorded and must be treated as not having happened.
    pub(super) async fn forward(&mut self, event: Event) -> Result<(), JournalError> {
        let at = now();
        let mut next = self.deployment.clone();
        next.apply(&event, at).map_err(JournalError::Illegal)?;
        self.write_unwritten().await?;
        self.journal
            .record(&next.id, next.events, &event, at)
            .await?;
        self.deployment = next;
        self.log(&event);
        self.tell();
        Ok(())
    }

    /// Records `event` if that can be done, and goes on if not: going back, and telling how it ended,
    /// never wait for a disk. What could not be written is tried again with the next event.
    pub(super) async fn anyway(&mut self, event: Event) {
        let at = now();
        let before = self.deployment.clone();
        if let Err(illegal) = self.deployment.apply(&event, at) {
            tracing::error!(deployment.id = %self.deployment.id, %illegal, "an event was left out of the journal");
            return;
        }
        self.log(&event);
        let is_warning = matches!(event, Event::Warned { .. });
        self.unwritten.push((self.deployment.events, event, at));
        let written = tokio::time::timeout(WRITE_PATIENCE, self.write_unwritten()).await;
        let why = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                // What comes after it must not wait behind a warning, which stands in the log as well.
                if is_warning && self.unwritten.len() == 1 {
                    self.unwritten.clear();
                    self.deployment = before;
                }
                error.to_string()
            }
            Err(_) => format!(
                "the disk did not confirm it within {} s",
                WRITE_PATIENCE.as_secs()
            ),
        };
        tracing::error!(
            deployment.id = %self.deployment.id, why,
            "the journal could not be written; going on, because going back must not wait for it"
        );
    }

    /// Writes what could not be written before.
    ///
    /// # Errors
    /// Something of it is still not written.
    pub(super) async fn flush(&mut self) -> Result<(), JournalError> {
        self.write_unwritten().await
    }

    /// Says something that does not change the outcome.
    pub(super) async fn warn(&mut self, what: String) {
        tracing::warn!(deployment.id = %self.deployment.id, service.name = %self.deployment.request.service, "{what}");
        if next_status(
            Some(self.deployment.status()),
            &Event::Warned {
                what: String::new(),
            },
        )
        .is_ok()
        {
            self.anyway(Event::Warned { what }).await;
        }
    }

    async fn write_unwritten(&mut self) -> Result<(), JournalError> {
        while let Some((seq, event, at)) = self.unwritten.first() {
            let written = self.journal.record(&self.deployment.id, *seq, event, *at);
            match written.await {
                // It was handed over before, and written after the wait for it was given up.
                Err(JournalError::Sequence { found, .. }) if found > *seq => {}
                written => written?,
            }
            self.unwritten.remove(0);
            self.tell();
        }
        Ok(())
    }

    fn log(&self, event: &Event) {
        tracing::info!(
            deployment.id = %self.deployment.id,
            service.name = %self.deployment.request.service,
            status = self.deployment.status().as_str(),
            "{}", event.kind()
        );
    }

    /// Tells those who watch that the journal has something new. They read it there, so it must be written by then.
    fn tell(&self) {
        // Nobody may be watching.
        drop(self.live.send(Live::Recorded));
    }
}
