//! One deployment under way: what has happened so far, recorded before and told to those who watch.

use cutover_core::deployment::{Deployment, Event, UnixMillis};
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::Live;
use crate::journal::{Journal, JournalError};

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
        self.tell(&event);
        Ok(())
    }

    /// Records `event` if that can be done, and goes on if not: going back, and telling how it ended,
    /// never wait for a disk. What could not be written is tried again with the next event.
    pub(super) async fn anyway(&mut self, event: Event) {
        let at = now();
        if let Err(illegal) = self.deployment.apply(&event, at) {
            tracing::error!(deployment.id = %self.deployment.id, %illegal, "an event was left out of the journal");
            return;
        }
        self.tell(&event);
        self.unwritten.push((self.deployment.events, event, at));
        if let Err(error) = self.write_unwritten().await {
            tracing::error!(
                deployment.id = %self.deployment.id, %error,
                "the journal could not be written; going on, because going back must not wait for it"
            );
        }
    }

    /// Says something that does not change the outcome.
    pub(super) async fn warn(&mut self, what: String) {
        tracing::warn!(deployment.id = %self.deployment.id, service.name = %self.deployment.request.service, "{what}");
        self.anyway(Event::Warned { what }).await;
    }

    async fn write_unwritten(&mut self) -> Result<(), JournalError> {
        while let Some((seq, event, at)) = self.unwritten.first() {
            self.journal
                .record(&self.deployment.id, *seq, event, *at)
                .await?;
            self.unwritten.remove(0);
        }
        Ok(())
    }

    fn tell(&self, event: &Event) {
        tracing::info!(
            deployment.id = %self.deployment.id,
            service.name = %self.deployment.request.service,
            status = self.deployment.status().as_str(),
            "{}", event.kind()
        );
        // Nobody may be watching.
        drop(self.live.send(Live::Recorded));
    }
}
