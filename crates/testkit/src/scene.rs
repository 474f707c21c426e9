//! A scene: a Compose project of the example service, a registry, and the real daemon and client in front
//! of the real Docker. Tests read as stories:
//!
//! ```text
//! let mut scene = Scene::new(cutover, SERVICE);
//! let one = scene.push(ImageSpec::new("one"));
//! scene.deploy(&one).expect_succeeded();
//! assert_eq!(scene.serves(), "one");
//! ```

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::engine::packages::ComposeVersion;
use crate::engine::wait::wait_for;
use crate::faults::FaultyDocker;
use crate::images::ImageSpec;
use crate::registry::{Auth, Registry};

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

/// An HTTP probe that sees a new container at once.
pub const HTTP_PROBE: &str = "health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }\nhealthy_deadline = \"5s\"\n";

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

impl Default for Wishes<'_> {
    fn default() -> Self {
        Self {
            compose: SERVICE,
            service: HTTP_PROBE,
            version: ComposeVersion::Newest,
            auth: Auth::None,
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
    project: String,
    port: u16,
    network_port: u16,
    version: ComposeVersion,
    daemon: Arc<Mutex<Option<Child>>>,
    pushed: u32,
}

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
        let dir = tempfile::Builder::new()
            .prefix("cut")
            .tempdir_in("/tmp")
            .expect("a directory");
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let project = format!("scene-{}-{number}", std::process::id());
        let registry = Registry::start(wishes.auth).expect("a registry");
        let port = free_port();
        let daemon: Arc<Mutex<Option<Child>>> = Arc::default();
        let struck = Arc::clone(&daemon);
        let docker = FaultyDocker::start(
            &dir.path().join("docker.sock"),
            &crate::world().socket(),
            move || {
                if let Some(child) = struck
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .as_mut()
                {
                    drop(child.kill());
                    drop(child.wait());
                }
            },
        )
        .expect("a socket in front of Docker");
        let mut scene = Self {
            cutover: PathBuf::from(cutover),
            registry,
            docker,
            project,
            port,
            network_port: free_port(),
            version: wishes.version,
            daemon,
            pushed: 0,
            dir,
        };
        scene.write_compose(wishes.compose);
        scene.write_configuration(wishes);
        scene.start_daemon();
        scene
    }

    /// The directory of the Compose project.
    #[must_use]
    pub fn project_directory(&self) -> PathBuf {
        self.dir.path().join("project")
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
            service = wishes.service,
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

    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_daemon(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a log");
        let child = Command::new(&self.cutover)
            .args(["serve", "--config"])
            .arg(self.configuration())
            .env("RUST_LOG", "debug,hyper=info,bollard=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        self.wait_until("the daemon is ready", || {
            assert!(self.daemon_runs(), "the daemon ended:\n{}", self.log_tail());
            self.get("/readyz").is_some_and(|(status, _)| status == 200)
        });
    }

    /// Whether the daemon's process is there.
    #[must_use]
    pub fn daemon_runs(&self) -> bool {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        daemon
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills the daemon as a crash would.
    pub fn kill_daemon(&self) {
        if let Some(mut child) = self
            .daemon
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks the daemon to stop, as systemd does, and waits until it has ended.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop_daemon(&self) {
        let child = self
            .daemon
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut child) = child else { return };
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("the daemon is there");
        self.wait_until("the daemon stops", || {
            child.try_wait().is_ok_and(|status| status.is_some())
        });
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
        self.registry.push("shop", &sha, spec).expect("an image");
        sha
    }

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
        command
    }

    /// The status and body of a `GET` on the daemon's unix socket; `None` if it does not answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(u16, Value)> {
        let mut stream = std::os::unix::net::UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: cutover\r\nconnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        read_answer(stream)
    }

    /// The status and body of a synchronous `POST /deploy` on the daemon's unix socket.
    ///
    /// # Panics
    /// If the daemon does not answer.
    #[must_use]
    pub fn post(&self, sha: &str) -> (u16, Value) {
        let body = serde_json::json!({ "service": "app", "image_sha": sha }).to_string();
        let mut stream =
            std::os::unix::net::UnixStream::connect(self.socket()).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let request = format!(
            "POST /deploy HTTP/1.1\r\nhost: cutover\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("the daemon reads");
        read_answer(stream).expect("an answer")
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

    /// The version that answers on the published port; empty if none does.
    #[must_use]
    pub fn serves(&self) -> String {
        let Ok(mut stream) = TcpStream::connect(self.address()) else {
            return String::new();
        };
        drop(stream.set_read_timeout(Some(Duration::from_secs(2))));
        let asked = std::io::Write::write_all(
            &mut stream,
            b"GET /version HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n",
        );
        let mut text = String::new();
        if asked.is_err() || stream.read_to_string(&mut text).is_err() {
            return String::new();
        }
        text.split_once("\r\n\r\n")
            .map(|(_, body)| body.trim().to_owned())
            .unwrap_or_default()
    }

    /// What `GET path` on the published port answers; empty if nothing does.
    #[must_use]
    pub fn ask(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(self.address()) else {
            return String::new();
        };
        drop(stream.set_read_timeout(Some(Duration::from_secs(2))));
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        let mut text = String::new();
        if std::io::Write::write_all(&mut stream, request.as_bytes()).is_err()
            || stream.read_to_string(&mut text).is_err()
        {
            return String::new();
        }
        text.split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default()
    }

    /// The containers of the project, as Docker describes each.
    ///
    /// # Panics
    /// If Docker does not answer.
    #[must_use]
    pub fn containers(&self) -> Vec<Value> {
        let filter = format!(
            "{{\"label\":[\"com.docker.compose.project={}\"]}}",
            self.project
        );
        let filter = filter
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22")
            .replace('[', "%5B")
            .replace(']', "%5D")
            .replace('=', "%3D");
        let list =
            docker(&format!("/containers/json?all=1&filters={filter}")).expect("Docker answers");
        let ids: Vec<_> = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item["Id"].as_str().map(str::to_owned))
            .collect();
        ids.iter()
            .filter_map(|id| docker(&format!("/containers/{id}/json")))
            .collect()
    }

    /// The only container of the project.
    ///
    /// # Panics
    /// If there is another number of them.
    #[must_use]
    #[track_caller]
    pub fn container(&self) -> Value {
        let mut containers = self.containers();
        let names: Vec<_> = containers
            .iter()
            .map(|container| container["Name"].clone())
            .collect();
        assert_eq!(
            containers.len(),
            1,
            "containers: {names:?}\n{}",
            self.log_tail()
        );
        containers.remove(0)
    }

    /// Runs `docker compose` by hand in the project's directory; returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn compose(&self, arguments: &[&str]) -> String {
        let output = Command::new(crate::world().compose(self.version))
            .args(arguments)
            .current_dir(self.project_directory())
            .env("DOCKER_HOST", &crate::world().docker_host)
            .env_remove("APP_IMAGE_TAG")
            .output()
            .expect("compose runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            output.status.success(),
            "docker compose {arguments:?}: {text}"
        );
        text
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

    /// Where the daemon's output goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("daemon.log")
    }

    /// The end of the daemon's output.
    #[must_use]
    pub fn log_tail(&self) -> String {
        crate::engine::command::tail_of(&self.log())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.kill_daemon();
        for container in self.containers() {
            let id = container["Id"].as_str().unwrap_or_default();
            docker_call("DELETE", &format!("/containers/{id}?force=1&v=1"));
        }
        for kind in ["networks", "volumes"] {
            for name in named(kind, &self.project) {
                docker_call("DELETE", &format!("/{kind}/{name}"));
            }
        }
    }
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

/// A port that nobody listens on.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// What Docker answers to a `GET`, as JSON; `None` for an error.
#[must_use]
pub fn docker(path: &str) -> Option<Value> {
    docker_call("GET", path)
        .filter(|(status, _)| *status < 300)
        .map(|(_, body)| body)
}

/// Asks Docker and returns status and body.
pub fn docker_call(method: &str, path: &str) -> Option<(u16, Value)> {
    let mut stream = std::os::unix::net::UnixStream::connect(crate::world().socket()).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request =
        format!("{method} /v1.43{path} HTTP/1.0\r\nhost: docker\r\ncontent-length: 0\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
    read_answer(stream)
}

fn named(kind: &str, project: &str) -> Vec<String> {
    let list = docker(&format!("/{kind}")).unwrap_or_default();
    let list = if kind == "volumes" {
        list["Volumes"].clone()
    } else {
        list
    };
    let of_project =
        |item: &&Value| item["Labels"]["com.docker.compose.project"].as_str() == Some(project);
    list.as_array()
        .into_iter()
        .flatten()
        .filter(of_project)
        .filter_map(|item| item["Name"].as_str().map(str::to_owned))
        .collect()
}

fn read_answer(mut stream: std::os::unix::net::UnixStream) -> Option<(u16, Value)> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let body = if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        unchunked(body)
    } else {
        body.to_owned()
    };
    Some((status, serde_json::from_str(&body).unwrap_or_default()))
}

/// The content of a chunked body.
fn unchunked(mut body: &str) -> String {
    let mut content = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size @ 1..) = usize::from_str_radix(size.trim(), 16) else {
            break;
        };
        content.push_str(rest.get(..size).unwrap_or(rest));
        body = rest.get(size + 2..).unwrap_or_default();
    }
    content
}
