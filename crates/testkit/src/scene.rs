//! A scene: a Compose project of the example service, a registry, and the real daemon and client in front
//! of the real Docker. Tests read as stories:
//!
//! ```text
//! let mut scene = Scene::usual(CUTOVER);
//! let one = scene.push(&ImageSpec::new("one"));
//! drop(scene.deploy(&one).expect("succeeded"));
//! assert_eq!(scene.serves(), "one");
//! ```

mod client;
mod daemon;
mod ended;
mod look;
mod taken;
mod wire;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::engine::packages::ComposeVersion;
use crate::engine::wait::wait_for;
use crate::faults::FaultyDocker;
use crate::images::ImageSpec;
use crate::ports::free_port;
use crate::registry::{Auth, Registry};

pub use ended::Ended;
pub use look::ask;

/// The longest that a test waits for something that takes well under a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The service that most tests deploy; `{…}` is filled in by [`Scene::new`].
pub const SERVICE: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    stop_grace_period: 5s
    ports: [\"127.0.0.1:{port}:8080\"]
";

/// An HTTP probe that sees a new container at once. Its deadline is for a busy machine.
pub const HTTP_PROBE: &str = "health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }\nhealthy_deadline = \"60s\"\n";

/// The same with a deadline that a test can wait for.
pub const PROMPT_PROBE: &str = "health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }\nhealthy_deadline = \"5s\"\n";

/// The secret that signs requests over TCP.
pub const SECRET: &str = "a secret of the tests, longer than thirty-two bytes";

static SCENES: AtomicU32 = AtomicU32::new(0);

/// What a test asks for beyond the usual.
#[derive(Debug, Clone)]
pub struct Wishes<'a> {
    /// The Compose file, with `{project}`, `{image}` and `{port}` to be filled in.
    pub compose: &'a str,
    /// More lines for `[services.app]`.
    pub service: &'a str,
    /// Which Compose runs.
    pub version: ComposeVersion,
    /// Who may use the registry.
    pub auth: Auth,
    /// Another Docker than the shared one of the world: its socket.
    pub docker: Option<&'a Path>,
    /// Whether the daemon also listens on a loopback port, for signed requests.
    pub network: Network,
}

/// Where the daemon listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// On its unix socket only.
    None,
    /// On a port of 127.0.0.1 as well, without TLS.
    Loopback,
}

/// What the kernel lets the daemon do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capabilities {
    /// Everything that root may.
    All,
    /// All but to change the network.
    WithoutNetAdmin,
}

impl Default for Wishes<'_> {
    fn default() -> Self {
        Self {
            compose: SERVICE,
            service: HTTP_PROBE,
            version: ComposeVersion::Newest,
            auth: Auth::None,
            docker: None,
            network: Network::None,
        }
    }
}

/// One project, its registry, its daemon.
#[derive(Debug)]
pub struct Scene {
    dir: TempDir,
    cutover: PathBuf,
    /// Where images are pushed to.
    pub registry: Registry,
    /// The connection between the daemon and Docker, with faults on request.
    pub docker: FaultyDocker,
    docker_socket: PathBuf,
    project: String,
    project_directory: PathBuf,
    /// The variables of the shell from which Compose is called by hand.
    pub shell: Vec<(&'static str, &'static str)>,
    port: u16,
    network_port: u16,
    version: ComposeVersion,
    /// Whether its daemon and its client find the programs of the packet filter.
    pub has_packet_filter: bool,
    capabilities: Capabilities,
    daemon: Arc<Mutex<Option<Child>>>,
    pushed: u32,
}

impl Scene {
    /// The usual scene, with the daemon running.
    #[must_use]
    pub fn usual(cutover: &str) -> Self {
        Self::new(cutover, &Wishes::default())
    }

    /// A scene as wished for, with the daemon running.
    ///
    /// # Panics
    /// If it cannot be set up.
    #[must_use]
    pub fn new(cutover: &str, wishes: &Wishes<'_>) -> Self {
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let project = format!("scene-{}-{number}", std::process::id());
        let mut scene = Self::empty(cutover, wishes, "project", project);
        scene.write_compose(wishes.compose);
        scene.write_configuration(wishes);
        scene.start_daemon();
        scene
    }

    /// A scene in which no daemon runs, with nothing in the project's directory, which has this name.
    fn empty(cutover: &str, wishes: &Wishes<'_>, directory: &str, project: String) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("cut")
            .tempdir_in("/tmp")
            .expect("a directory");
        let registry = Registry::start(wishes.auth).expect("a registry");
        let port = free_port();
        let daemon: Arc<Mutex<Option<Child>>> = Arc::default();
        let struck = Arc::clone(&daemon);
        let docker_socket = wishes
            .docker
            .map_or_else(|| crate::world().socket(), Path::to_owned);
        let docker =
            FaultyDocker::start(&dir.path().join("docker.sock"), &docker_socket, move || {
                if let Some(child) = struck
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .as_mut()
                {
                    drop(child.kill());
                    drop(child.wait());
                }
            })
            .expect("a socket in front of Docker");
        Self {
            cutover: PathBuf::from(cutover),
            registry,
            docker,
            docker_socket,
            project,
            port,
            network_port: free_port(),
            version: wishes.version,
            has_packet_filter: wishes.service.contains("hold = ")
                && !wishes.service.contains("hold = \"off\""),
            capabilities: Capabilities::All,
            daemon,
            pushed: 0,
            project_directory: dir.path().join(directory),
            shell: Vec::new(),
            dir,
        }
    }

    /// The directory of the Compose project.
    #[must_use]
    pub fn project_directory(&self) -> PathBuf {
        self.project_directory.clone()
    }

    /// The directory of everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The name of the Compose project.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The host port of the service.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The daemon's unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("cutover.sock")
    }

    /// The configuration file.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.dir.path().join("cutover.toml")
    }

    /// The daemon's address for signed requests, where it was wished for.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.network_port)
    }

    /// The file with the secret that signs requests.
    #[must_use]
    pub fn secret_file(&self) -> PathBuf {
        self.dir.path().join("secret")
    }

    /// The image repository of the service.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/shop", self.registry.addr())
    }

    /// Replaces the project's Compose file.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_compose(&self, text: &str) {
        let text = text
            .replace("{project}", &self.project)
            .replace(
                "{image}",
                &format!("{}:${{APP_IMAGE_TAG}}", self.repository()),
            )
            .replace("{port}", &self.port.to_string());
        self.write("project/compose.yaml", &text);
    }

    /// Writes a file below the scene's directory.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn write_configuration(&self, wishes: &Wishes<'_>) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let text = format!(
            "[server]\nsocket = {socket:?}\nstate_directory = {state:?}\n{listen}\n\n\
             [docker]\nsocket = {docker:?}\ncompose = {compose:?}\nconfig_directory = {config:?}\n\n\
             [auth.hmac.ci]\nsecret_file = {secret:?}\nservices = [\"app\"]\n\n\
             [services.app]\ncompose_files = [{file:?}]\n{service}\n",
            socket = at("cutover.sock"),
            state = at("state"),
            docker = self.docker.socket(),
            compose = crate::world().compose(wishes.version),
            config = at("docker"),
            secret = at("secret"),
            file = at("project/compose.yaml"),
            service = with_defaults(wishes.service),
            listen = match wishes.network {
                Network::None => String::new(),
                Network::Loopback => format!("listen = \"127.0.0.1:{}\"", self.network_port),
            },
        );
        self.write("secret", SECRET);
        fs::set_permissions(
            self.dir.path().join("secret"),
            fs::Permissions::from_mode(0o600),
        )
        .expect("a mode");
        self.write(
            "docker/config.json",
            &self.registry.docker_config().to_string(),
        );
        self.write("cutover.toml", &text);
    }

    /// Pushes an image of the example service and returns the sha that it is tagged with.
    ///
    /// # Panics
    /// If it cannot be pushed.
    pub fn push(&mut self, spec: &ImageSpec) -> String {
        self.pushed += 1;
        let sha = format!(
            "{:040x}",
            u64::from(self.pushed) * 0x0001_0001_0001 + u64::from(std::process::id())
        );
        // No other scene has this very image: Docker may remove one that a daemon clears away while another pulls it.
        let own = spec.clone().label("scene", &self.project);
        self.registry.push("shop", &sha, &own).expect("an image");
        sha
    }

    /// Waits until `condition` holds.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let waited = wait_for(what, PATIENCE, || Ok(condition().then_some(())));
        assert!(
            waited.is_ok(),
            "{what}: not within {PATIENCE:?}\n{}",
            self.log_tail()
        );
    }
}

/// A release is watched for seconds once it is healthy, and connections are held; where that is not what a test is about,
/// it is not done.
fn with_defaults(service: &str) -> String {
    let mut text = String::new();
    for (key, value) in [("monitor", "0s"), ("hold", "off")] {
        if !service.contains(&format!("{key} = ")) {
            text.push_str(&format!("{key} = \"{value}\"\n"));
        }
    }
    text + service
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.kill_daemon();
        // Docker may be what a failed test failed with: nothing here may panic.
        for id in self.container_ids().unwrap_or_default() {
            self.call_docker("DELETE", &format!("/containers/{id}?force=1&v=1"));
        }
        for kind in ["networks", "volumes"] {
            for name in self.named(kind) {
                self.call_docker("DELETE", &format!("/{kind}/{name}"));
            }
        }
    }
}

/// Asks the shared Docker of the world and returns status and body.
pub fn docker_call(method: &str, path: &str) -> Option<(u16, Value)> {
    wire::ask(&crate::world().socket(), method, path)
}
