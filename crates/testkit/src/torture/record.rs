//! What the journal says of a deployment, as the API shows it.

use serde_json::Value;

/// A deployment as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// The outcome's word, once there is one.
    pub outcome: Option<String>,
    /// The status' word.
    pub status: String,
    /// What was recorded, in order.
    pub events: Vec<Line>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its kind's word.
    pub kind: String,
    /// The status after it.
    pub status: String,
    /// When it was recorded, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What happened, for a person.
    pub message: String,
}

impl Record {
    /// From what `GET /v1/deployments/{id}` answers.
    #[must_use]
    pub fn of(deployment: &Value) -> Self {
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let lines = deployment["events"].as_array().into_iter().flatten();
        Self {
            id: word(&deployment["id"]).unwrap_or_default(),
            outcome: word(&deployment["outcome"]),
            status: word(&deployment["status"]).unwrap_or_default(),
            events: lines
                .map(|line| Line {
                    kind: word(&line["kind"]).unwrap_or_default(),
                    status: word(&line["status"]).unwrap_or_default(),
                    at_ms: millis(&line["at"]),
                    message: word(&line["message"]).unwrap_or_default(),
                })
                .collect(),
        }
    }

    /// When the first event of this kind was recorded.
    #[must_use]
    pub fn first(&self, kind: &str) -> Option<i64> {
        let line = self.events.iter().find(|line| line.kind == kind);
        line.map(|line| line.at_ms)
    }

    /// When it ended for the first time: a failed rollback may go on, and end anew.
    #[must_use]
    pub fn ended_ms(&self) -> Option<i64> {
        let line = self.events.iter().find(|line| is_end(&line.status));
        line.map(|line| line.at_ms)
    }

    /// Whether an event of this kind is in it.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.first(kind).is_some()
    }

    /// What the last event of this kind says.
    #[must_use]
    pub fn last_message(&self, kind: &str) -> &str {
        let line = self.events.iter().rev().find(|line| line.kind == kind);
        line.map_or("", |line| &line.message)
    }
}

/// Whether this status is an outcome.
#[must_use]
pub fn is_end(status: &str) -> bool {
    matches!(
        status,
        "succeeded" | "unchanged" | "failed" | "rolled_back" | "rollback_failed" | "cancelled"
    )
}

fn millis(at: &Value) -> i64 {
    let at = at
        .as_str()
        .and_then(|at| at.parse::<jiff::Timestamp>().ok());
    at.map_or(0, |at| at.as_millisecond())
}
