//! The example shop: its images in a registry, its Compose project, a certificate, and cutover.

use std::cell::RefCell;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cutover_testkit::engine::command::{output_of, tail_of};
use cutover_testkit::engine::processes;
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::ports::free_port;
use cutover_testkit::registry::{Auth, Registry};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::docker::Docker;
use super::screen::{Screen, shortened};
use super::story::Release;
use super::surroundings::Surroundings;

/// The name of the Compose project: what has this name belongs to the demo.
pub(crate) const PROJECT: &str = "cutover-demo";
/// The service that is deployed, its worker and its migration, and the one beside them that nothing may touch.
pub(crate) const SERVICE: &str = "shop";
pub(crate) const WORKER: &str = "worker";
const MIGRATION: &str = "migrate";
pub(crate) const NEIGHBOR: &str = "search";
/// The neighbor's release, which stays what it is.
const NEIGHBOR_TAG: &str = "2.1";
/// All images of the demo have this label, by which they are removed.
const IMAGE_LABEL: &str = "cutover-demo";

/// From the start of the daemon until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// From SIGTERM until the daemon has ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// The running shop with cutover in front of it.
#[derive(Debug)]
pub(crate) struct Shop {
    dir: TempDir,
    registry: RefCell<Registry>,
    docker: Docker,
    daemon: Option<Child>,
    cutover: PathBuf,
    socket: PathBuf,
    compose: PathBuf,
    published: u16,
    listen: u16,
    secret: String,
    environment: Vec<(&'static str, OsString)>,
}

impl Shop {
    /// Sets everything up and shows it: images, files, `cutover check`, `cutover serve`.
    pub(crate) fn open(surroundings: &Surroundings, screen: &Screen) -> Result<Self> {
        let docker = Docker::at(&surroundings.socket)?;
        // A demo that was killed with SIGKILL could not clean up.
        docker.remove(PROJECT, IMAGE_LABEL)?;
        let registry = Registry::start_program(&surroundings.registry, Auth::None, free_port())?;
        let mut shop = Self {
            dir: tempfile::Builder::new().prefix("cutover-demo-").tempdir()?,
            registry: RefCell::new(registry),
            docker,
            daemon: None,
            cutover: surroundings.cutover.clone(),
            socket: surroundings.socket.clone(),
            compose: surroundings.compose.clone(),
            published: free_port(),
            listen: free_port(),
            secret: random_hex()?,
            environment: surroundings.environment.clone(),
        };
        let registry_address = shop.registry.borrow().addr();
        screen.welcome(&surroundings.described, registry_address, shop.dir.path());
        shop.push_images(&surroundings.shopd)?;
        shop.write_files()?;
        screen.file(shop.dir.path(), "compose.yaml")?;
        shop.start_neighbor(screen)?;
        screen.file(shop.dir.path(), "cutover.toml")?;
        shop.check(screen)?;
        shop.start_daemon(screen)?;
        screen.exports(&shop.exports(), shop.dir.path());
        Ok(shop)
    }

    /// Ends cutover and removes everything that the demo made.
    pub(crate) fn close(&mut self, screen: &Screen) -> Result<()> {
        self.stop_daemon();
        self.docker.remove(PROJECT, IMAGE_LABEL)?;
        screen.removed();
        Ok(())
    }

    /// The port of the shop, as its visitors see it.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.published))
    }

    /// Where cutover is asked for deployments over the network.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.listen)
    }

    /// The secret that signs requests.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// The authority that issued cutover's certificate, as PEM.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// cutover's unix socket.
    pub(crate) fn cutover_socket(&self) -> PathBuf {
        self.path("cutover.sock")
    }

    /// Ends the registry; what was pushed stays on the disk.
    pub(crate) fn stop_registry(&self) -> Result<()> {
        self.registry.borrow_mut().stop()
    }

    /// Starts the registry again, with what was pushed.
    pub(crate) fn restart_registry(&self) -> Result<()> {
        self.registry.borrow_mut().restart()
    }

    /// Docker.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Docker's socket.
    pub(crate) fn docker_socket(&self) -> &Path {
        &self.socket
    }

    /// cutover's own output.
    pub(crate) fn log(&self) -> PathBuf {
        self.path("cutover.log")
    }

    /// The built program.
    pub(crate) fn program(&self) -> &Path {
        &self.cutover
    }

    /// The environment in which the commands below are typed, without the secret.
    pub(crate) fn exports(&self) -> [(&'static str, String); 2] {
        [
            ("SSL_CERT_FILE", self.authority().display().to_string()),
            (
                "CUTOVER_SOCKET",
                self.cutover_socket().display().to_string(),
            ),
        ]
    }

    /// A `cutover` command in that environment.
    pub(crate) fn command(&self, secret: &str) -> Command {
        let mut command = self.in_environment(Command::new(&self.cutover));
        command.env("CUTOVER_SECRET", secret);
        command
    }

    /// The same environment without the secret.
    fn in_environment(&self, mut command: Command) -> Command {
        for name in [
            "GITHUB_ACTIONS",
            "CUTOVER_URL",
            "CUTOVER_SECRET",
            "CUTOVER_TOKEN",
            "RUST_LOG",
        ] {
            command.env_remove(name);
        }
        remove_steering(&mut command, env::vars_os().map(|(name, _)| name));
        command
            .envs(self.environment.iter().cloned())
            .envs(self.exports())
            .env("NO_PROXY", "localhost")
            .env("no_proxy", "localhost");
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn push_images(&self, shopd: &Path) -> Result<()> {
        let spec = |version: &str| {
            ImageSpec::new(version)
                .program(shopd)
                .label(IMAGE_LABEL, "")
        };
        let registry = self.registry.borrow();
        for release in Release::PUSHED {
            let mut image = spec(release.version()).env("MIGRATE_EXIT_AT_ONCE", "0");
            if let Some((name, value)) = release.misfortune() {
                image = image.env(name, value);
            }
            registry.push(SERVICE, release.sha(), &image)?;
        }
        registry.push(NEIGHBOR, NEIGHBOR_TAG, &spec("search 2.1"))?;
        Ok(())
    }

    fn write_files(&self) -> Result<()> {
        let registry = self.registry.borrow().addr();
        let port = self.published;
        self.write(
            "compose.yaml",
            0o644,
            &format!(
                "name: {PROJECT}\n\
                 services:\n\
                 \x20 {SERVICE}:\n\
                 \x20   image: {registry}/{SERVICE}:${{SHOP_TAG}}\n\
                 \x20   restart: unless-stopped\n\
                 \x20   ports: [\"127.0.0.1:{port}:8080\"]\n\
                 \x20   healthcheck: {{ test: [CMD, /shopd, healthcheck], interval: 300ms, timeout: 2s, retries: 3 }}\n\
                 \x20   depends_on: {{ {MIGRATION}: {{ condition: service_completed_successfully }} }}\n\
                 \x20 {WORKER}:   # the same variable, so it is released with the shop\n\
                 \x20   image: {registry}/{SERVICE}:${{SHOP_TAG}}\n\
                 \x20   restart: unless-stopped\n\
                 \x20   environment: {{ ROLE: worker }}\n\
                 \x20   healthcheck: {{ test: [CMD, /shopd, healthcheck], interval: 300ms, timeout: 2s, retries: 3 }}\n\
                 \x20   depends_on: {{ {SERVICE}: {{ condition: service_started }} }}\n\
                 \x20 {MIGRATION}:   # the shop waits for its end, so it runs before anything is stopped\n\
                 \x20   image: {registry}/{SERVICE}:${{SHOP_TAG}}\n\
                 \x20   environment: {{ ROLE: migrate }}\n\
                 \x20 {NEIGHBOR}:   # cutover is not asked to deploy this one, so nothing may touch it\n\
                 \x20   image: {registry}/{NEIGHBOR}:{NEIGHBOR_TAG}\n\
                 \x20   restart: unless-stopped\n"
            ),
        )?;
        let at = |name: &str| self.path(name).display().to_string();
        self.write(
            "cutover.toml",
            0o644,
            &format!(
                "[server]\n\
                 listen = \"127.0.0.1:{listen}\"\n\
                 tls = {{ cert = {cert:?}, key = {key:?} }}\n\
                 socket = {socket:?}\n\
                 state_directory = {state:?}\n\
                 [auth.hmac.ci]\n\
                 secret_file = {secret:?}\n\
                 services = [{SERVICE:?}]\n\
                 [docker]\n\
                 socket = {docker:?}\n\
                 compose = {program:?}\n\
                 [services.{SERVICE}]\n\
                 compose_files = [{compose:?}]\n",
                listen = self.listen,
                cert = at("tls.crt"),
                key = at("tls.key"),
                socket = at("cutover.sock"),
                state = at("state"),
                secret = at("webhook.secret"),
                docker = self.socket,
                program = self.compose,
                compose = at("compose.yaml"),
            ),
        )?;
        self.write("webhook.secret", 0o600, &self.secret)?;
        self.write_certificate()
    }

    /// A certificate for `localhost`, issued by an authority that only this demo trusts.
    fn write_certificate(&self) -> Result<()> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "cutover demo");
        let authority_key = KeyPair::generate()?;
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate()?;
        let server_pem = server.signed_by(&server_key, &issuer)?.pem();
        self.write("ca.crt", 0o644, &authority_pem)?;
        self.write("tls.crt", 0o644, &server_pem)?;
        self.write("tls.key", 0o600, &server_key.serialize_pem())
    }

    fn write(&self, name: &str, mode: u32, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    fn start_neighbor(&self, screen: &Screen) -> Result<()> {
        screen.typed(&format!("docker compose up --detach {NEIGHBOR}"));
        let mut command = Command::new(&self.compose);
        remove_steering(&mut command, env::vars_os().map(|(name, _)| name));
        command
            .args(["up", "--detach", NEIGHBOR])
            .current_dir(self.dir.path())
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            // The file mentions it; the neighbor has no use for it.
            .env("SHOP_TAG", "none");
        output_of(&mut command).map(drop)
    }

    fn check(&self, screen: &Screen) -> Result<()> {
        screen.typed("cutover check --config cutover.toml");
        let mut command = self.command(&self.secret);
        command
            .args(["check", "--config"])
            .arg(self.path("cutover.toml"));
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        screen.output(&shortened(&String::from_utf8_lossy(&said), self.dir.path()));
        ensure!(
            output.status.success(),
            "`cutover check` refuses the demo's configuration ({})",
            output.status
        );
        Ok(())
    }

    fn start_daemon(&mut self, screen: &Screen) -> Result<()> {
        screen.typed("cutover serve --config cutover.toml &");
        // If the demo is killed, its daemon shall not outlive it.
        let mut command = self.in_environment(Command::new("setpriv"));
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&self.cutover)
            .args(["serve", "--config"])
            .arg(self.path("cutover.toml"));
        processes::log_to(&mut command, &self.log())?;
        let daemon = self.daemon.insert(
            command
                .spawn()
                .context("setpriv (package util-linux) could not be started")?,
        );
        let log = self.dir.path().join("cutover.log");
        let socket = self.dir.path().join("cutover.sock");
        let ready = Docker::at(&socket)?;
        wait_for("cutover to be ready", READY_TIMEOUT, || {
            if let Some(status) = daemon.try_wait()? {
                bail!("`cutover serve` ended ({status}); {}", tail_of(&log));
            }
            Ok(ready.ask("/readyz").ok())
        })?;
        screen.output(&format!("ready on https://localhost:{}", self.listen));
        Ok(())
    }

    fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        if let Some(pid) = Pid::from_raw(daemon.id().cast_signed()) {
            processes::signal(pid, Signal::TERM);
        }
        let ended = wait_for("cutover to stop", STOP_TIMEOUT, || Ok(daemon.try_wait()?));
        if ended.is_err() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // After `close` there is nothing left to do; before it, something else went wrong and is
        // being told.
        self.stop_daemon();
        drop(self.docker.remove(PROJECT, IMAGE_LABEL));
    }
}

/// Takes those of these variables from a command with which Docker or Compose would do something else than
/// the demo says: another project, another file, another engine.
fn remove_steering(command: &mut Command, variables: impl Iterator<Item = OsString>) {
    for name in variables {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"COMPOSE_") || bytes.starts_with(b"DOCKER_") {
            command.env_remove(name);
        }
    }
}

/// A secret as `cutover init` makes one.
fn random_hex() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_user_do_not_steer_compose() {
        let mut command = Command::new("docker-compose");
        let variables = ["COMPOSE_PROJECT_NAME", "PATH", "DOCKER_CONTEXT", "DOCKERS"];
        remove_steering(&mut command, variables.map(OsString::from).into_iter());
        let removed: Vec<_> = command.get_envs().collect();
        let expected = ["COMPOSE_PROJECT_NAME", "DOCKER_CONTEXT"];
        assert_eq!(removed, expected.map(|name| (name.as_ref(), None)));
    }
}
