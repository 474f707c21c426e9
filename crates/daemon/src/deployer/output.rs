//! The new container's output: shown live, and its end kept for the answer; masked and bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cutover_api::event::OutputLine;
use cutover_core::mask::{Mask, printable};
use futures_util::StreamExt;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::Live;
use crate::docker::Docker;

/// What an answer carries: enough for a stack trace, little enough for a job summary.
const LINES_MAX: usize = 200;

/// The same bound in bytes.
const BYTES_MAX: usize = 32 << 10;

/// Docker delivers what a dead container wrote last a moment after it says that the container died.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// Follows one container's output from its start.
#[derive(Debug)]
pub(super) struct Output {
    kept: Arc<Mutex<Kept>>,
    reader: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    left_out: usize,
}

impl Output {
    /// Begins to follow; lines go to `live` as they come.
    pub(super) fn follow(docker: &Docker, container: &str, mask: Arc<Mask>, live: broadcast::Sender<Live>) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (docker, container, lines) = (docker.clone(), container.to_owned(), Arc::clone(&kept));
        let reader = tokio::spawn(async move {
            let mut output = std::pin::pin!(docker.follow_output(&container));
            while let Some(OutputLine { stream, line }) = output.next().await {
                let line = printable(&mask.apply(&line));
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
                // Nobody may be watching.
                drop(live.send(Live::Output(OutputLine { stream, line })));
            }
        });
        Self { kept, reader }
    }

    /// The end of what was written so far. `complete` waits a moment for a dead container's last words.
    pub(super) async fn last_words(&mut self) -> Vec<String> {
        if tokio::time::timeout(LAST_WORDS_TIMEOUT, &mut self.reader).await.is_err() {
            tracing::debug!("the container still writes");
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }

    /// The end of what was written so far, without waiting.
    pub(super) fn so_far(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Kept {
    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(first) = self.lines.pop_front() else { break };
            self.bytes -= first.len();
            self.left_out += 1;
        }
    }

    fn lines(&self) -> Vec<String> {
        let note = (self.left_out > 0).then(|| format!("({} earlier lines left out)", self.left_out));
        note.into_iter().chain(self.lines.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept_and_it_says_so() {
        let mut kept = Kept::default();
        for number in 0..LINES_MAX + 7 {
            kept.push(format!("line {number}"));
        }
        let lines = kept.lines();
        assert_eq!(lines.len(), LINES_MAX + 1);
        assert_eq!(lines[0], "(7 earlier lines left out)");
        assert_eq!(lines.last().map(String::as_str), Some(format!("line {}", LINES_MAX + 6)).as_deref());
        kept.push("x".repeat(BYTES_MAX));
        assert_eq!(kept.lines().len(), 2);
    }
}
