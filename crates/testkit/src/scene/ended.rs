//! How a client command ended.

use serde_json::Value;

/// How a client command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub exit: i32,
    /// What it printed to stdout, as JSON; null if it was not JSON.
    pub body: Value,
    /// What it printed to stdout.
    pub stdout: String,
    /// What it printed to stderr.
    pub stderr: String,
}

impl Ended {
    /// From what a client command left.
    #[must_use]
    pub fn of(output: &std::process::Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Self {
            exit: output.status.code().unwrap_or(-1),
            body: serde_json::from_str(&stdout).unwrap_or_default(),
            stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The deployment in the answer, wherever it stands.
    #[must_use]
    pub fn deployment(&self) -> &Value {
        if self.body["deployment"].is_object() {
            &self.body["deployment"]
        } else {
            &self.body
        }
    }

    /// The outcome's word; empty if there is none.
    #[must_use]
    pub fn outcome(&self) -> &str {
        self.deployment()["outcome"].as_str().unwrap_or_default()
    }

    /// The cause's code; empty if there is none.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.deployment()["cause"]["code"]
            .as_str()
            .unwrap_or_default()
    }

    /// Checks outcome and exit code.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[track_caller]
    #[must_use = "look at what came with it, or drop it"]
    pub fn expect(self, outcome: &str) -> Self {
        let exit = match outcome {
            "succeeded" | "unchanged" => 0,
            "rolled_back" => 3,
            "rollback_failed" => 4,
            _ => 1,
        };
        assert_eq!((self.outcome(), self.exit), (outcome, exit), "{self:#?}");
        self
    }
}
