//! A daemon in this process, with a Compose project of its own and whatever a test asks for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cutover_api::signature::sign;
use cutover_daemon::deployer::Deployer;
use cutover_daemon::docker::Docker;
use cutover_daemon::driver::command::Compose;
use cutover_daemon::driver::{ComposeDriver, Driver};
use cutover_daemon::http::{Limits, Server};
use cutover_daemon::journal::Journal;
use cutover_daemon::settings::{self, Settings};
use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::registry::{Auth, Registry};
use cutover_testkit::signer::Signer;
use cutover_testkit::world;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};

use crate::docker::docker;
use crate::wire::{Answer, PATIENCE, Raw};

/// Signs requests for `app`.
pub(crate) const SECRET: &[u8] = b"a secret of the tests, longer than thirty-two bytes";
/// Signs requests for `blog`.
pub(crate) const OTHER_SECRET: &[u8] = b"another secret of the tests, also longer than that";
/// Signs requests for `app` that need not be fresh.
pub(crate) const HOOK_SECRET: &[u8] = b"the secret of a webhook that has no time stamp in it";
/// An operator's token.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What a head or a body may take: long enough for a busy machine, short enough to wait for once.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(2);

/// A second service that is configured and never deployed.
const COMPOSE: &str = "\
name: {project}
services:
  app:
    image: {image}
    stop_grace_period: 5s
";

/// What proves a release of the example service.
pub(crate) const PROBE: &str =
    "health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }";

static DAEMONS: AtomicU32 = AtomicU32::new(0);

/// What a test asks for beyond the usual.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    pub(crate) auth: Auth,
    /// More lines for `[services.app]`; `{registry}` stands for the registry's address.
    pub(crate) service: String,
    /// More services of the same project: their names, and the lines of each.
    pub(crate) more: Vec<(&'static str, String)>,
    /// The certificate and the key of the network listener; without them it speaks plain HTTP.
    pub(crate) tls: Option<[PathBuf; 2]>,
    /// Whether Docker is where the daemon looks for it.
    pub(crate) docker: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Reachable,
    Missing,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            service: PROBE.to_owned(),
            more: Vec::new(),
            tls: None,
            docker: Reach::Reachable,
        }
    }
}

impl Wishes {
    /// The services that CI may deploy.
    fn names(&self) -> Vec<&str> {
        let more = self.more.iter().map(|(name, _)| *name);
        ["app"].into_iter().chain(more).collect()
    }
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) registry: Registry,
    pub(crate) settings: Settings,
    pub(crate) journal: Journal,
    pub(crate) server: Server,
    dir: TempDir,
    project: String,
    pushed: u32,
}

impl Daemon {
    pub(crate) async fn start(wishes: &Wishes) -> Self {
        let number = DAEMONS.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new().prefix("cut").tempdir_in("/tmp");
        let dir = dir.expect("a directory");
        let project = format!("api-{}-{number}", std::process::id());
        let registry = Registry::start(wishes.auth).expect("a registry");
        write_files(&dir, &project, &registry, wishes);
        let settings = settings::load(&dir.path().join("cutover.toml"))
            .unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let state = &settings.server.state_directory;
        fs::create_dir_all(state).expect("a directory");
        let (journal, _) = Journal::open(state).await.expect("a journal");
        let compose = Compose::find(&settings.docker).expect("Compose");
        let driver = ComposeDriver::new(Docker::new(&settings.docker.socket), compose, state);
        let driver = driver.expect("a driver");
        let driver = Driver::Compose(driver);
        let deployer = Deployer::new(&settings, driver, journal.clone());
        let limits = Limits {
            head_time: REQUEST_TIME,
            body_time: REQUEST_TIME,
            ..Limits::default()
        };
        let server = Server::open_with(&settings, deployer.clone(), journal.clone(), limits);
        let server = server.await.expect("listeners");
        match wishes.docker {
            Reach::Reachable => deployer.recover().await,
            Reach::Missing => drop(tokio::spawn(async move { deployer.recover().await })),
        }
        Self {
            registry,
            settings,
            journal,
            server,
            dir,
            project,
            pushed: 0,
        }
    }

    /// The usual daemon, with a release of `app` running, and that release's tag.
    pub(crate) async fn deployed() -> (Self, String) {
        let mut daemon = Self::start(&Wishes::default()).await;
        let sha = daemon.push(&ImageSpec::new("one"));
        let answer = daemon.ask(&daemon.deployment(&sha).to_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        (daemon, sha)
    }

    /// Pushes an image and returns the sha that it is tagged with.
    pub(crate) fn push(&mut self, spec: &ImageSpec) -> String {
        let sha = self.unused_sha();
        self.registry.push("shop", &sha, spec).expect("an image");
        sha
    }

    /// A sha that no image has.
    pub(crate) fn unused_sha(&mut self) -> String {
        self.pushed += 1;
        format!(
            "{:040x}",
            u64::from(self.pushed) << 32 | u64::from(std::process::id())
        )
    }

    /// Takes the registry's login out of Docker's configuration.
    pub(crate) fn forget_login(&self) {
        fs::write(self.dir.path().join("docker/config.json"), "{}").expect("a file");
    }

    /// The Compose file of `app`.
    pub(crate) fn compose_file(&self) -> PathBuf {
        self.dir.path().join("app/compose.yaml")
    }

    /// A connection from the network.
    pub(crate) async fn connect(&self) -> Raw<TcpStream> {
        let address = self.server.address().expect("a network listener");
        Raw::new(TcpStream::connect(address).await.expect("connects"))
    }

    /// The answer to these bytes from the network.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> Answer {
        let mut raw = self.connect().await;
        raw.send(bytes).await;
        raw.answer().await.expect("an answer")
    }

    /// The answer to these bytes on the operator's socket.
    pub(crate) async fn ask_locally(&self, bytes: &[u8]) -> Answer {
        let socket = UnixStream::connect(&self.settings.server.socket).await;
        let mut raw = Raw::new(socket.expect("connects"));
        raw.send(bytes).await;
        raw.answer().await.expect("an answer")
    }

    /// A well-formed, signed request to deploy `sha`, with a delivery id of its own.
    pub(crate) fn deployment(&self, sha: &str) -> Request {
        self.deployment_of("app", sha)
    }

    /// The same for another service.
    pub(crate) fn deployment_of(&self, service: &str, sha: &str) -> Request {
        static DELIVERIES: AtomicU32 = AtomicU32::new(0);
        let number = DELIVERIES.fetch_add(1, Ordering::Relaxed);
        signed(&json!({
            "service": service,
            "image_sha": sha,
            "delivery_id": format!("{}-{number}", self.project),
            "timestamp": now(),
        }))
    }

    /// The id of each container of the project, and when it was started.
    pub(crate) fn containers(&self) -> Vec<(String, String)> {
        let ids = self.container_ids().expect("Docker answers").into_iter();
        ids.map(|id| {
            let inspected = docker("GET", &format!("/containers/{id}/json"));
            let started_at = inspected["State"]["StartedAt"].as_str().unwrap_or_default();
            (id, started_at.to_owned())
        })
        .collect()
    }

    /// The ids of the project's containers; none if Docker does not answer.
    fn container_ids(&self) -> Option<Vec<String>> {
        let label = format!("%22com.docker.compose.project%3D{}%22", self.project);
        let list = docker(
            "GET",
            &format!("/containers/json?all=1&filters=%7B%22label%22%3A%5B{label}%5D%7D"),
        );
        let ids = list.as_array()?.iter();
        Some(
            ids.filter_map(|container| container["Id"].as_str().map(str::to_owned))
                .collect(),
        )
    }

    /// Waits until `count` deployments have not ended.
    #[track_caller]
    pub(crate) fn unfinished(&self, count: usize) -> impl Future<Output = ()> {
        let location = std::panic::Location::caller();
        async move {
            let waited = tokio::time::timeout(PATIENCE, async {
                while self.journal.unfinished().await.expect("a list").len() != count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            assert!(
                waited.await.is_ok(),
                "{location}: there are never {count} unfinished deployments"
            );
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Docker may be what a failed test failed with: nothing here may panic.
        for id in self.container_ids().unwrap_or_default() {
            docker("DELETE", &format!("/containers/{id}?force=1&v=1"));
        }
        docker("DELETE", &format!("/networks/{}_default", self.project));
    }
}

/// A request that can still be changed.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A request without a body, `GET /path` for instance.
    pub(crate) fn new(line: &str) -> Self {
        Self {
            line: line.to_owned(),
            headers: vec![("Host".to_owned(), b"cutover".to_vec())],
            body: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self
    }

    /// As an operator.
    pub(crate) fn by_operator(self) -> Self {
        self.with("Authorization", format!("Bearer {TOKEN}"))
    }

    /// With a JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string().into_bytes())
    }

    pub(crate) fn body(mut self, body: Vec<u8>) -> Self {
        self = self.with("Content-Type", "application/json");
        self = self.with("Content-Length", body.len().to_string());
        self.body = body;
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} HTTP/1.1\r\n", self.line).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The value of a string field of the JSON body.
    pub(crate) fn field(&self, name: &str) -> String {
        let body: Value = serde_json::from_slice(&self.body).expect("JSON");
        body[name].as_str().expect("a string").to_owned()
    }
}

/// `POST /deploy` with this body, signed for `app`.
pub(crate) fn signed(body: &Value) -> Request {
    signed_bytes(SECRET, body.to_string().into_bytes())
}

/// `POST /deploy` with these bytes as its body.
pub(crate) fn signed_bytes(secret: &[u8], body: Vec<u8>) -> Request {
    Request::new("POST /deploy")
        .with("X-Hub-Signature-256", sign(secret, &body))
        .body(body)
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("small")
}

fn write_files(dir: &TempDir, project: &str, registry: &Registry, wishes: &Wishes) {
    let at = |name: &str| dir.path().join(name);
    let more = wishes.more.iter().map(|(name, _)| *name);
    for name in ["app", "blog", "docker"].into_iter().chain(more.clone()) {
        fs::create_dir_all(at(name)).expect("a directory");
    }
    let image = format!("{}/shop:${{APP_IMAGE_TAG}}", registry.addr());
    let compose = COMPOSE
        .replace("{project}", project)
        .replace("{image}", &image);
    fs::write(at("app/compose.yaml"), &compose).expect("a file");
    for name in ["blog"].into_iter().chain(more) {
        let compose = compose.replace("  app:", &format!("  {name}:"));
        fs::write(at(name).join("compose.yaml"), compose).expect("a file");
    }
    for (name, secret) in [
        ("secret", SECRET),
        ("other", OTHER_SECRET),
        ("hook", HOOK_SECRET),
        ("token", TOKEN.as_bytes()),
    ] {
        fs::write(at(name), secret).expect("a file");
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    let config = registry.docker_config();
    fs::write(at("docker/config.json"), config.to_string()).expect("a file");
    let docker = match wishes.docker {
        Reach::Reachable => world().socket(),
        Reach::Missing => at("no-docker.sock"),
    };
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nmetrics_listen = \"127.0.0.1:0\"\n\
         {tls}socket = {socket:?}\nstate_directory = {state:?}\n\
         [docker]\nsocket = {docker:?}\ncompose = {compose:?}\ncosign = {cosign:?}\nconfig_directory = {config:?}\n\
         [auth.hmac.ci]\nsecret_file = {secret:?}\nservices = {services:?}\n\
         [auth.hmac.other]\nsecret_file = {other:?}\nservices = [\"blog\"]\n\
         [auth.hmac.hook]\nsecret_file = {hook:?}\nservices = [\"app\"]\nrequire_freshness = false\n\
         [auth.operator.alice]\ntoken_file = {token:?}\n\
         [services.blog]\ncompose_files = [{blog:?}]\n\
         [services.app]\ncompose_files = [{app:?}]\nmonitor = \"0s\"\n{service}\n",
        socket = at("cutover.sock"),
        state = at("state"),
        compose = world().compose(ComposeVersion::Newest),
        cosign = Signer::program(),
        config = at("docker"),
        secret = at("secret"),
        other = at("other"),
        hook = at("hook"),
        token = at("token"),
        blog = at("blog/compose.yaml"),
        app = at("app/compose.yaml"),
        tls = wishes.tls.as_ref().map_or_else(String::new, |[cert, key]| {
            format!("tls = {{ cert = {cert:?}, key = {key:?} }}\n")
        }),
        services = wishes.names(),
        service = wishes.service,
    );
    let more = wishes.more.iter().map(|(name, lines)| {
        let file = at(name).join("compose.yaml");
        format!("[services.{name}]\ncompose_files = [{file:?}]\n{lines}\n")
    });
    let text = text + &more.collect::<String>();
    let text = text.replace("{registry}", &registry.addr().to_string());
    fs::write(at("cutover.toml"), text).expect("a file");
}
