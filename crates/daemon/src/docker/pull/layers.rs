//! Adds up what Docker says about each layer of a pull.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;
use cutover_api::event::PullProgress;

/// No image has more layers than this (Docker itself allows 127); more would be a Docker gone mad.
const LAYERS_MAX: usize = 1000;

/// Whether an answer tells of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// Bytes came in, or a layer came a step further.
    Yes,
    /// The same as before, or only words.
    No,
}

/// Every layer that Docker has named so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: HashMap<String, Layer>,
}

#[derive(Debug, Default)]
struct Layer {
    fetched_bytes: u64,
    total_bytes: u64,
    /// What Docker said last, with a number that grows while it goes on.
    seen: (String, i64),
    complete: bool,
}

impl Layers {
    /// Takes one answer into account.
    pub(super) fn note(&mut self, answer: &CreateImageInfo) -> Moved {
        let (Some(id), Some(status)) = (answer.id.as_deref(), answer.status.as_deref()) else {
            return Moved::No;
        };
        // The tag comes as an id as well, once: it is no layer. "Retrying in 5 seconds" counts down, which is
        // the opposite of progress.
        if status.starts_with("Pulling from") || status.starts_with("Retrying in") {
            return Moved::No;
        }
        if self.layers.len() >= LAYERS_MAX && !self.layers.contains_key(id) {
            return Moved::No;
        }
        let detail = answer.progress_detail.as_ref();
        let current = detail.and_then(|detail| detail.current).unwrap_or(0);
        let total = detail.and_then(|detail| detail.total).unwrap_or(0);
        let layer = self.layers.entry(id.to_owned()).or_default();
        match status {
            "Downloading" => {
                layer.fetched_bytes = u64::try_from(current).unwrap_or(0);
                layer.total_bytes = layer.total_bytes.max(u64::try_from(total).unwrap_or(0));
            }
            "Verifying Checksum" | "Download complete" | "Extracting" => {
                layer.fetched_bytes = layer.total_bytes;
            }
            "Pull complete" => {
                layer.fetched_bytes = layer.total_bytes;
                layer.complete = true;
            }
            "Already exists" => layer.complete = true,
            _ => {}
        }
        let seen = (status.to_owned(), current);
        if layer.seen == seen {
            return Moved::No;
        }
        layer.seen = seen;
        Moved::Yes
    }

    /// The sum.
    pub(super) fn progress(&self) -> PullProgress {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        PullProgress {
            current_bytes: self.layers.values().map(|l| l.fetched_bytes).sum(),
            total_bytes: self.layers.values().map(|l| l.total_bytes).sum(),
            layers_done: count(self.layers.values().filter(|l| l.complete).count()),
            layers: count(self.layers.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(layers: &mut Layers, text: &str) -> Moved {
        layers.note(&serde_json::from_str(text).expect("bollard reads it"))
    }

    #[test]
    fn layers_are_added_up() {
        let mut layers = Layers::default();
        for text in [
            r#"{"status":"Pulling from acme/shop","id":"0a1b"}"#,
            r#"{"status":"Already exists","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"bb"}"#,
            r#"{"status":"Waiting","progressDetail":{},"id":"cc"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":100},"progress":"[>  ]","id":"bb"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":5,"total":50},"id":"cc"}"#,
            r#"{"status":"Digest: sha256:00"}"#,
        ] {
            note(&mut layers, text);
        }
        let sum = |current_bytes, total_bytes, layers_done| PullProgress {
            current_bytes,
            total_bytes,
            layers_done,
            layers: 3,
        };
        assert_eq!(layers.progress(), sum(15, 150, 1));
        note(
            &mut layers,
            r#"{"status":"Download complete","progressDetail":{},"id":"bb"}"#,
        );
        assert_eq!(layers.progress(), sum(105, 150, 1));
        note(
            &mut layers,
            r#"{"status":"Extracting","progressDetail":{"current":100,"total":100},"id":"bb"}"#,
        );
        note(
            &mut layers,
            r#"{"status":"Pull complete","progressDetail":{},"id":"bb"}"#,
        );
        assert_eq!(layers.progress(), sum(105, 150, 2));
    }

    #[test]
    fn only_what_changes_counts_as_progress() {
        let mut layers = Layers::default();
        let downloading =
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"bb"}"#;
        assert_eq!(note(&mut layers, downloading), Moved::Yes);
        assert_eq!(note(&mut layers, downloading), Moved::No);
        for words in [
            r#"{"status":"Retrying in 5 seconds","progressDetail":{},"id":"bb"}"#,
            r#"{"status":"Retrying in 4 seconds","progressDetail":{},"id":"bb"}"#,
            r#"{"status":"Pulling from acme/shop","id":"0a1b"}"#,
        ] {
            assert_eq!(note(&mut layers, words), Moved::No, "{words}");
        }
        let more =
            r#"{"status":"Downloading","progressDetail":{"current":11,"total":100},"id":"bb"}"#;
        assert_eq!(note(&mut layers, more), Moved::Yes);
    }
}
