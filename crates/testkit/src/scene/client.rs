//! What a scene asks of its daemon: by the real client, and over HTTP.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Ended, Scene, wire};

impl Scene {
    /// Deploys with the real client over the unix socket, and waits for the outcome.
    #[must_use]
    pub fn deploy(&self, sha: &str) -> Ended {
        self.run(&["deploy", "app", sha, "--json"])
    }

    /// Begins a deployment without waiting for it; returns the client.
    ///
    /// # Panics
    /// If the client cannot be started.
    #[must_use]
    pub fn begin(&self, sha: &str) -> Child {
        self.client(&["deploy", "app", sha, "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the client starts")
    }

    /// Runs a client command to its end.
    ///
    /// # Panics
    /// If the client cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.client(arguments).output().expect("the client runs"))
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cutover);
        command
            .args(arguments)
            .env("CUTOVER_SOCKET", self.socket())
            .env_remove("GITHUB_ACTIONS");
        if self.has_packet_filter {
            command.envs(crate::world().packages.environment());
        }
        command
    }

    /// The status and body of a `GET` on the daemon's unix socket; `None` if it does not answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(u16, Value)> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: cutover\r\nconnection: close\r\n\r\n");
        wire::send(&self.socket(), &request)
    }

    /// The status and body of a synchronous `POST /deploy` on the daemon's unix socket.
    ///
    /// # Panics
    /// If the daemon does not answer.
    #[must_use]
    pub fn post(&self, sha: &str) -> (u16, Value) {
        self.post_body(&serde_json::json!({ "service": "app", "image_sha": sha }))
    }

    /// The same with a body of one's own.
    ///
    /// # Panics
    /// If the daemon does not answer.
    #[must_use]
    pub fn post_body(&self, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let request = format!(
            "POST /deploy HTTP/1.1\r\nhost: cutover\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        wire::send(&self.socket(), &request).expect("an answer")
    }

    /// What `GET /v1/deployments` says, newest first.
    ///
    /// # Panics
    /// If the daemon does not answer.
    #[must_use]
    pub fn history(&self) -> Vec<Value> {
        let (_, page) = self.get("/v1/deployments").expect("the daemon answers");
        page["deployments"].as_array().cloned().unwrap_or_default()
    }
}
