//! Where the tests play: a server with Docker, a Compose project that belongs to a user, cutover's binary,
//! and a registry that wants a login, which root has.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Stdio};

use cutover_testkit::images::ImageSpec;
use cutover_testkit::registry::{Auth, Login, Registry};
use cutover_testkit::scene::{Ended, ask};
use cutover_testkit::server::Server;
use serde_json::Value;

use crate::CUTOVER;

/// Whose the project is: a user without rights.
pub(super) const OWNER: u32 = 1000;
/// A service that is healthy while there is a file in a directory of the project.
const SERVICE: &str = "\
services:
  app:
    image: {image}
    restart: unless-stopped
    stop_grace_period: 5s
    ports: [\"127.0.0.1:8080:8080\"]
    volumes: [\"./gate:/gate\"]
    healthcheck: { test: [CMD, /shopd, cat, /gate/open], interval: 300ms, timeout: 2s, retries: 1000 }
";

/// The server, and what is on it and beside it.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) registry: Registry,
    project: &'static str,
    images: u32,
}

impl Site {
    /// Runs a test at a site with the project in this directory, in a network of its own.
    pub(super) fn with(project: &'static str, test: impl FnOnce(&mut Self) + Send) {
        let world = cutover_testkit::world();
        let namespace = world.new_namespace().expect("a network namespace");
        let inside = namespace.clone();
        namespace
            .run(|| {
                let server = Server::boot(&world.packages, &inside).expect("a server");
                let registry = Registry::start(Auth::Basic(Login::Plain)).expect("a registry");
                let mut site = Self {
                    server,
                    registry,
                    project,
                    images: 0,
                };
                site.prepare();
                test(&mut site);
            })
            .expect("the namespace can be entered");
    }

    fn prepare(&self) {
        let image = format!("{}/shop:${{APP_IMAGE_TAG}}", self.registry.addr());
        self.write("compose.yaml", &SERVICE.replace("{image}", &image));
        self.open_gate();
        chown(self.server.path(self.project), Some(OWNER), Some(OWNER)).expect("an owner");
        self.server.write(
            "/root/.docker/config.json",
            &self.registry.docker_config().to_string(),
        );
        fs::copy(Path::new(CUTOVER), self.server.path("/root/cutover")).expect("the binary");
    }

    fn write(&self, name: &str, text: &str) {
        self.server.write(&format!("{}/{name}", self.project), text);
    }

    /// Lets the service be healthy.
    pub(super) fn open_gate(&self) {
        self.write("gate/open", "");
    }

    /// Keeps what starts from now on from becoming healthy.
    pub(super) fn close_gate(&self) {
        let file = format!("{}/gate/open", self.project);
        fs::remove_file(self.server.path(&file)).expect("it was open");
    }

    /// Installs cutover as the documentation says, without starting it.
    pub(super) fn install(&self) {
        self.expect("/root", "install -m 0755 cutover /usr/local/bin/cutover");
        self.expect(self.project, "cutover init");
    }

    /// Installs cutover, starts it, and deploys a first release.
    pub(super) fn install_and_deploy(&mut self) {
        self.install();
        self.expect("/", "systemctl enable --now /etc/cutover/cutover.service");
        let first = self.push(&ImageSpec::new("first"));
        drop(self.deploy(&first).expect("succeeded"));
        self.expect_first(&first);
    }

    /// The first release runs, and the project's owner can see that in the env file.
    fn expect_first(&self, sha: &str) {
        assert_eq!(self.serves(), "first");
        let env_file = self.server.path(&format!("{}/.env", self.project));
        let env_file = fs::read_to_string(env_file).expect("an env file");
        assert_eq!(env_file, format!("APP_IMAGE_TAG={sha}\n"));
    }

    /// Runs a command as it is typed.
    pub(super) fn run(&self, directory: &str, line: &str) -> Ended {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = self.server.command(directory, &words).output();
        Ended::of(&output.expect("nsenter runs"))
    }

    /// The same, for a command that must succeed.
    #[track_caller]
    pub(super) fn expect(&self, directory: &str, line: &str) -> Ended {
        let ended = self.run(directory, line);
        let log = || self.server.journal("cutover");
        assert_eq!(ended.exit, 0, "{line}: {ended:#?}\n{}", log());
        ended
    }

    /// Types lines into one shell, as root at home; each of them must succeed.
    #[track_caller]
    pub(super) fn type_in(&self, lines: &str) {
        let words = ["bash", "-exc", lines];
        let output = self.server.command("/root", &words).output();
        let ended = Ended::of(&output.expect("nsenter runs"));
        let log = || self.server.journal("cutover");
        assert_eq!(ended.exit, 0, "{lines}: {ended:#?}\n{}", log());
    }

    /// Begins a command without waiting for its end.
    pub(super) fn begin(&self, line: &str) -> Child {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.server.command("/", &words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("nsenter runs")
    }

    /// Pushes an image, and returns its tag.
    pub(super) fn push(&mut self, spec: &ImageSpec) -> String {
        self.images += 1;
        let sha = format!("{:040x}", self.images);
        self.registry.push("shop", &sha, spec).expect("an image");
        sha
    }

    pub(super) fn deploy(&self, sha: &str) -> Ended {
        self.run("/", &format!("cutover deploy app {sha} --json"))
    }

    /// Begins a deployment of a release that does not become healthy before the gate is opened, and waits
    /// until it is being verified.
    pub(super) fn begin_trial(&mut self) -> Child {
        self.close_gate();
        let second = self.push(&ImageSpec::new("second"));
        let client = self.begin(&format!("cutover deploy app {second} --json"));
        self.server.wait_until("the new release is verified", || {
            self.newest()["status"] == "verifying"
        });
        client
    }

    /// The newest deployment; null while the daemon does not answer.
    pub(super) fn newest(&self) -> Value {
        let history = self.run("/", "cutover history --json").body;
        history["deployments"][0].clone()
    }

    /// A property of the unit.
    pub(super) fn property(&self, name: &str) -> String {
        self.server.property("cutover", name)
    }

    /// The version that answers on the published port; empty if none does.
    pub(super) fn serves(&self) -> String {
        let answer = ask(SocketAddr::from(([127, 0, 0, 1], 8080)), "/version");
        answer.trim().to_owned()
    }

    /// Adds to the unit as `systemctl edit` does.
    pub(super) fn edit_unit(&self, lines: &str) {
        let place = "/etc/systemd/system/cutover.service.d/override.conf";
        self.server.write(place, &format!("[Service]\n{lines}\n"));
        self.expect("/", "systemctl daemon-reload");
    }
}

/// How a command of [`Site::begin`] ended.
pub(super) fn end_of(client: Child) -> Ended {
    Ended::of(&client.wait_with_output().expect("an end"))
}
