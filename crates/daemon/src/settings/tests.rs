//! The configuration as a whole: what is read, what is refused, and how it is said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::surroundings::Surroundings;
use super::{Mistakes, Settings};

mod every_key;
mod values;
mod rules;
mod secrets;
mod rendering;
mod documents;

/// The files that a configuration names, in a directory of their own.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            directory: TempDir::new().expect("a directory"),
        };
        for (name, text, mode) in [
            ("compose.yaml", "services: {}\n", 0o644),
            (
                "webhook.secret",
                "0123456789abcdef0123456789abcdef\n",
                0o600,
            ),
            ("next.secret", "fedcba9876543210fedcba9876543210", 0o600),
            (
                "operator.token",
                "abcdefghijklmnopqrstuvwxyz012345\n",
                0o600,
            ),
            ("tls.crt", "a certificate", 0o644),
            ("tls.key", "a key", 0o600),
            (".env", "TAG=1\n", 0o644),
            ("docker-compose", "", 0o755),
            ("cosign", "", 0o755),
            ("cosign.pub", "a public key", 0o644),
        ] {
            place.write(name, text, mode);
        }
        place
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).expect(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect(name);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Reads `text`, in which `$DIR` stands for this place, as `/etc/cutover/cutover.toml`.
    fn read(&self, text: &str) -> Result<Settings, Mistakes> {
        self.read_in(text, &Surroundings::default())
    }

    fn read_in(&self, text: &str, surroundings: &Surroundings) -> Result<Settings, Mistakes> {
        let directory = self.directory.path().display().to_string();
        let path = PathBuf::from("/etc/cutover/cutover.toml");
        super::read(&path, &text.replace("$DIR", &directory), surroundings)
    }

    /// The messages about `text`, with `$DIR` for this place again.
    fn messages(&self, text: &str) -> Vec<String> {
        match self.read(text) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes
                .iter()
                .map(|mistake| self.without_directory(mistake.message()))
                .collect(),
        }
    }

    /// The only message about `text`.
    #[track_caller]
    fn message(&self, text: &str) -> String {
        let mut messages = self.messages(text);
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    fn without_directory(&self, text: &str) -> String {
        text.replace(&self.directory.path().display().to_string(), "$DIR")
    }
}

/// The least that a file must say.
const SMALLEST: &str = "[services.shop]\ncompose_files = [\"$DIR/compose.yaml\"]\n";

/// Every key, with a value that is not its default.
const COMPLETE: &str = r#"
[server]
listen = "0.0.0.0:8443"
tls = { cert = "$DIR/tls.crt", key = "$DIR/tls.key" }
socket = "/run/elsewhere.sock"
metrics_listen = "127.0.0.1:9464"
state_directory = "/srv/state"
shutdown_deadline = "1m30s"
history_days = 30

[auth.hmac.ci]
secret_file = "$DIR/webhook.secret"
services = ["shop"]
require_freshness = false

[auth.operator.alice]
token_file = "$DIR/operator.token"

[docker]
socket = "unix:///run/docker.sock"
config_directory = "$DIR"
compose = "$DIR/docker-compose"
cosign = "$DIR/cosign"

[services.shop]
compose_files = ["$DIR/compose.yaml"]
project_directory = "$DIR"
project_name = "acme"
env_files = ["$DIR/.env"]
profiles = ["prod"]
environment = { REGION = "eu-1", EMPTY = "" }
pass_environment = ["MIRROR"]
compose_service = "web"
compose_services = ["web", "worker"]
jobs_after = ["warm-up"]
release_command = ["./manage.py", "migrate"]
image_repository = "ghcr.io/acme/shop"
tag_variable = "SHOP_TAG"
tag_pattern = "v*"
healthy_deadline = "2m"
min_healthy_time = "5s"
monitor = "10s"
hold = "20s"
hold_ports = [8080, 9090]
drain = "1s"
progress_deadline = "20m"
job_deadline = "1h"
job_reruns = "safe"
keep_releases = 5
order = "start-first"
shared_volumes = "allowed"
aliases = "at-start"
parallelism = 2
delay = "3s"
switch = "together"
when_busy = "refuse"
way_back = "same-container"
unset_variables = "refuse"
output = "none"
image_mib_max = 2048
require_revision_label = true

[services.shop.signature]
by = "https://github.com/acme/shop/.github/workflows/deploy.yml@refs/heads/main"
issuer = "https://issuer.example.com"
transparency_log = true

[services.shop.health]
http = { url = "https://shop.example.com/health", port = 8080, path = "/healthz?full", status = "200-204", host = "shop.example.com", tls = "insecure", interval = "1s", timeout = "3s", body_bytes_max = 10 }
command = ["/shop", "status"]
tcp = { port = 5432, interval = "2s", timeout = "4s" }
"#;
