//! Where everything is measured: a Compose project with the example service, a registry, and the real
//! daemon on plain HTTP, inside a test world.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use cutover_api::signature;
use cutover_testkit::engine::command::{output_of, tail_of};
use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::ports::free_port;
use cutover_testkit::registry::{Auth, Registry};
use cutover_testkit::scene::docker_call;
use cutover_testkit::world;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;

/// The longest that anything is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Signs the requests.
pub(super) const SECRET: &str = "the secret of the benchmark, longer than thirty-two bytes";
/// What is deployed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Project {
    /// The Compose project.
    pub(super) name: &'static str,
    /// More lines for the service `app`.
    pub(super) lines: &'static str,
    /// Its services beside `app`, of the same image.
    pub(super) others: &'static [&'static str],
    /// More lines for `[services.app]`.
    pub(super) settings: &'static str,
}

impl Project {
    /// One service.
    pub(super) const USUAL: Self = Self {
        name: "bench",
        lines: "    ports: [\"127.0.0.1:{port}:8080\"]\n",
        others: &[],
        settings: "",
    };
    /// The same without the hold, where what lies under it is measured.
    pub(super) const NOT_HELD: Self = Self {
        settings: "hold = \"off\"\n",
        ..Self::USUAL
    };

    /// The Compose file. The service is stopped by the signal that every container gets.
    fn compose(self) -> String {
        let service = |name: &str| {
            format!(
                "  {name}:\n    image: {{image}}\n    restart: unless-stopped\n    stop_grace_period: 5s\n"
            )
        };
        let others: String = self.others.iter().map(|name| service(name)).collect();
        let (name, app, lines) = (self.name, service("app"), self.lines);
        format!("name: {name}\nservices:\n{app}{lines}{others}")
    }
}

/// The project, the registry and the daemon. Dropping it ends the daemon; the rest ends with the world.
#[derive(Debug)]
pub(super) struct Stage {
    dir: TempDir,
    cutover: PathBuf,
    project: Project,
    registry: Registry,
    service: SocketAddr,
    endpoint: SocketAddr,
    daemon: Option<Child>,
    pushed: u32,
    deliveries: u32,
}

impl Stage {
    /// Sets the stage; nothing runs yet.
    pub(super) fn set(cutover: &Path) -> Result<Self> {
        Self::with(cutover, Project::USUAL)
    }

    /// Sets the stage for this project.
    pub(super) fn with(cutover: &Path, project: Project) -> Result<Self> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let stage = Self {
            dir: tempfile::Builder::new().prefix("cut").tempdir_in("/tmp")?,
            cutover: cutover.to_owned(),
            project,
            registry: Registry::start(Auth::None)?,
            service: loopback(free_port()),
            endpoint: loopback(free_port()),
            daemon: None,
            pushed: 0,
            deliveries: 0,
        };
        let compose = project
            .compose()
            .replace(
                "{image}",
                &format!("{}/shop:${{APP_IMAGE_TAG}}", stage.registry.addr()),
            )
            .replace("{port}", &stage.service.port().to_string());
        stage.write("project/compose.yaml", &compose)?;
        stage.write("secret", SECRET)?;
        fs::set_permissions(
            stage.dir.path().join("secret"),
            fs::Permissions::from_mode(0o600),
        )?;
        stage.write("docker/config.json", "{}")?;
        let at = |name: &str| stage.dir.path().join(name);
        stage.write(
            "cutover.toml",
            &format!(
                "[server]\nlisten = \"{listen}\"\nsocket = {socket:?}\nstate_directory = {state:?}\n\n\
                 [docker]\nsocket = {docker:?}\ncompose = {compose:?}\nconfig_directory = {config:?}\n\n\
                 [auth.hmac.ci]\nsecret_file = {secret:?}\nservices = [\"app\"]\n\n\
                 [services.app]\ncompose_files = [{file:?}]\nmonitor = \"0s\"\nhealthy_deadline = \"20s\"\n\
                 health.http = {{ path = \"/healthz\", port = 8080, interval = \"10ms\" }}\n{settings}",
                settings = project.settings,
                listen = stage.endpoint,
                socket = at("cutover.sock"),
                state = at("state"),
                docker = world().socket(),
                compose = world().compose(ComposeVersion::Newest),
                config = at("docker"),
                secret = at("secret"),
                file = at("project/compose.yaml"),
            ),
        )?;
        Ok(stage)
    }

    /// Where the service answers.
    pub(super) fn service(&self) -> SocketAddr {
        self.service
    }

    /// Where the daemon answers.
    pub(super) fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// A directory for whatever else is measured.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Pushes an image of the example service and returns its tag.
    pub(super) fn push(&mut self, spec: &ImageSpec) -> Result<String> {
        self.pushed += 1;
        let tag = format!("{:040x}", self.pushed);
        self.registry.push("shop", &tag, spec)?;
        Ok(tag)
    }

    /// Brings an image onto the machine.
    pub(super) fn pull(&self, tag: &str) -> Result<()> {
        self.compose(tag, &["pull", "--quiet"])
    }

    /// Runs `docker compose` in the project, as one would type it.
    pub(super) fn compose(&self, tag: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(world().packages.program("docker"));
        command
            .arg("compose")
            .args(arguments)
            .current_dir(self.dir.path().join("project"))
            .env("DOCKER_HOST", &world().docker_host)
            .env("DOCKER_CONFIG", &world().docker_config)
            .env("APP_IMAGE_TAG", tag);
        output_of(&mut command).map(drop)
    }

    /// Starts the daemon, with the log level that it has by default, and waits until it is ready.
    pub(super) fn start_daemon(&mut self) -> Result<()> {
        let log = self.dir.path().join("daemon.log");
        let child = Command::new(&self.cutover)
            .args(["serve", "--config"])
            .arg(self.dir.path().join("cutover.toml"))
            .envs(world().packages.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("the daemon could not be started")?;
        let child = self.daemon.insert(child);
        let endpoint = self.endpoint;
        wait_for("the daemon", PATIENCE, || {
            if let Some(status) = child.try_wait()? {
                bail!("the daemon ended: {status}");
            }
            let answer = http::send(endpoint, &http::get("/readyz"));
            Ok(answer.ok().filter(|answer| answer.status == 200))
        })
        .with_context(|| tail_of(&log))?;
        Ok(())
    }

    /// Kills the daemon as a crash would.
    pub(super) fn kill_daemon(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("the daemon does not run")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// The daemon's process id.
    pub(super) fn daemon(&self) -> Result<u32> {
        let child = self.daemon.as_ref().context("the daemon does not run")?;
        Ok(child.id())
    }

    /// A signed request to deploy; the body is padded to at least so many bytes.
    pub(super) fn request(&mut self, tag: &str, body_bytes: usize) -> Result<Vec<u8>> {
        self.deliveries += 1;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut body = json!({
            "image_sha": tag,
            "service": "app",
            "delivery_id": format!("bench-{}", self.deliveries),
            "timestamp": now.as_secs(),
        });
        let bare_bytes = body.to_string().len();
        body["padding"] = "x".repeat(body_bytes.saturating_sub(bare_bytes)).into();
        let body = body.to_string().into_bytes();
        let signature = signature::sign(SECRET.as_bytes(), &body);
        Ok(http::post("/deploy", &signature, &body))
    }

    /// Asks the daemon to deploy and returns status and body of its answer.
    pub(super) fn deploy(&mut self, tag: &str) -> Result<(u16, Value)> {
        let request = self.request(tag, 0)?;
        let answer = http::send(self.endpoint, &request)?;
        Ok((answer.status, serde_json::from_slice(&answer.body)?))
    }

    /// The ids of the project's containers.
    pub(super) fn containers(&self) -> Result<Vec<String>> {
        let (_, list) =
            docker_call("GET", "/containers/json?all=1").context("Docker does not answer")?;
        let list = list.as_array().context("Docker answers no list")?;
        let ours = |one: &&Value| one["Labels"]["com.docker.compose.project"] == self.project.name;
        let id = |one: &Value| one["Id"].as_str().map(str::to_owned);
        let ids = list.iter().filter(ours).map(id);
        ids.collect::<Option<_>>().context("a container without id")
    }

    /// The id of the service's only container.
    pub(super) fn container(&self) -> Result<String> {
        let mut ids = self.containers()?;
        let id = ids.pop().context("there is no container")?;
        ensure!(ids.is_empty(), "more containers are there than one");
        Ok(id)
    }

    /// What Docker knows of the service's only container.
    pub(super) fn inspect(&self) -> Result<Value> {
        let path = format!("/containers/{}/json", self.container()?);
        let (status, found) = docker_call("GET", &path).context("Docker does not answer")?;
        ensure!(status == 200, "Docker answers {status}");
        Ok(found)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.dir.path().join(path);
        let parent = path.parent().context("a file is in a directory")?;
        fs::create_dir_all(parent)?;
        Ok(fs::write(path, text)?)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
    }
}
