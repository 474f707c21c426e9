//! adnanh/webhook, the usual way to run a command when CI sends a signed request: Debian's package,
//! unpacked and not installed, with a hook that checks the same signature.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::ports::free_port;
use serde_json::json;

use super::http;
use super::stage::{PATIENCE, SECRET};
use crate::debian;

/// The package and its release. It links nothing but the C library.
const PACKAGE: &str = "webhook/bookworm";
/// Where the hook answers.
pub(super) const PATH: &str = "/hooks/deploy";

/// Downloads and unpacks it into `dir`, unless it is there, and returns the program.
pub(super) fn fetch(dir: &Path) -> Result<PathBuf> {
    let place = debian::fetch(dir, "webhook", &[PACKAGE])?;
    Ok(place.join("usr/bin/webhook"))
}

/// A running webhook. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Webhook {
    child: Child,
    address: SocketAddr,
}

impl Webhook {
    /// Starts it on plain HTTP, with one hook that wants the same signature as cutover, answers 401
    /// without it, and with it runs a program that does nothing.
    pub(super) fn start(program: &Path, dir: &Path) -> Result<Self> {
        let hooks = json!([{
            "id": "deploy",
            "execute-command": "/bin/true",
            "response-message": "started",
            "trigger-rule-mismatch-http-response-code": 401,
            // A wrong signature is answered with 500, except with this and inside of `or`.
            "trigger-signature-soft-failures": true,
            "trigger-rule": { "or": [{ "match": {
                "type": "payload-hmac-sha256",
                "secret": SECRET,
                "parameter": { "source": "header", "name": "X-Hub-Signature-256" },
            }}]},
        }]);
        let file = dir.join("hooks.json");
        fs::write(&file, hooks.to_string())?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = Command::new(program)
            .args(["-ip", "127.0.0.1", "-port", &address.port().to_string()])
            .arg("-hooks")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("webhook.log"))?)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        let mut webhook = Self { child, address };
        wait_for("webhook", PATIENCE, || {
            if let Some(status) = webhook.child.try_wait()? {
                bail!("webhook ended: {status}");
            }
            Ok(http::send(address, &http::get("/")).ok())
        })?;
        Ok(webhook)
    }

    /// Where it answers.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
