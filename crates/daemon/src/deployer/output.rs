//! The new container's output: shown live, and its end kept for the answer; masked and bounded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cutover_api::event::OutputLine;
use cutover_core::mask::{Mask, printable};
use cutover_core::tail::{Tail, TailBounds};
use futures_util::{Stream, StreamExt};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::words::Live;
use crate::docker::Docker;
use crate::settings;

/// What an answer carries: enough for a stack trace, little enough for a job summary.
const KEPT: TailBounds = TailBounds {
    lines: 200,
    bytes: 32 << 10,
};

/// Docker delivers what a dead container wrote last a moment after it says that the container died.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// With which mask a service's output is shown; none if it is not.
pub(super) fn shown_with(output: settings::Output, mask: &Arc<Mask>) -> Option<Arc<Mask>> {
    match output {
        settings::Output::Masked => Some(Arc::clone(mask)),
        settings::Output::Full => Some(Arc::default()),
        settings::Output::None => None,
    }
}

/// Follows one container's output from its start.
#[derive(Debug)]
pub(super) struct Output {
    kept: Arc<Mutex<Tail>>,
    reader: JoinHandle<()>,
}

impl Output {
    /// Begins to follow; lines go to `live` as they come, with the service `of` before each if one is given.
    pub(super) fn follow(
        docker: &Docker,
        container: &str,
        of: Option<String>,
        mask: Arc<Mask>,
        live: broadcast::Sender<Live>,
    ) -> Self {
        Self::read(docker.follow_output(container), of, Some(mask), live)
    }

    /// Begins to read `output`, of which nothing is kept or shown without a mask.
    pub(super) fn read(
        output: impl Stream<Item = OutputLine> + Send + 'static,
        of: Option<String>,
        mask: Option<Arc<Mask>>,
        live: broadcast::Sender<Live>,
    ) -> Self {
        let kept = Arc::new(Mutex::new(Tail::new(KEPT)));
        let lines = Arc::clone(&kept);
        let reader = tokio::spawn(async move {
            let mut output = std::pin::pin!(output);
            while let Some(OutputLine { stream, line }) = output.next().await {
                let Some(mask) = &mask else { continue };
                // Escape sequences in the middle of a secret would hide it from the mask.
                let line = mask.apply(&printable(&line));
                let line = match &of {
                    Some(service) => format!("{service} | {line}"),
                    None => line,
                };
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(&line);
                // Nobody may be watching.
                drop(live.send(Live::Output(OutputLine { stream, line })));
            }
        });
        Self { kept, reader }
    }

    /// The end of what was written so far. Waits a moment for a dead container's last words.
    pub(super) async fn last_words(&mut self) -> Vec<String> {
        if tokio::time::timeout(LAST_WORDS_TIMEOUT, &mut self.reader)
            .await
            .is_err()
        {
            tracing::debug!("the container still writes");
        }
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lines()
    }

    /// Waits until nothing more is written.
    pub(super) async fn end(&mut self) {
        if let Err(error) = (&mut self.reader).await {
            tracing::error!(%error, "the reader of an output ended");
        }
    }

    /// The end of what was written so far, without waiting.
    pub(super) fn so_far(&self) -> Vec<String> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lines()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
