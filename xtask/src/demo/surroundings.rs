//! Which Docker Engine, Compose and registry the demo uses: the machine's own where they will do,
//! otherwise a private engine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cutover_daemon::driver::command::Compose;
use cutover_daemon::settings::DockerSettings;
use cutover_testkit::engine::Engine;
use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::engine::world::World;

use super::docker::Docker;
use crate::world;

/// Where Docker Engine listens unless `DOCKER_HOST` says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The oldest API and Compose that cutover works with.
const MIN_API: (u32, u32) = (1, 42);
const MIN_COMPOSE: (u32, u32) = (2, 20);

/// Why the machine's own Docker cannot be used.
#[derive(Debug)]
pub(crate) struct Absent(pub(crate) String);

/// A Docker Engine of the machine's own, with Compose.
#[derive(Debug)]
pub(crate) struct OwnEngine {
    socket: PathBuf,
    compose: PathBuf,
    described: String,
}

/// Everything that the demo does not build itself.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Docker's socket.
    pub(crate) socket: PathBuf,
    /// The Compose program.
    pub(crate) compose: PathBuf,
    /// The registry program.
    pub(crate) registry: PathBuf,
    /// The example service's program.
    pub(crate) shopd: PathBuf,
    /// The product.
    pub(crate) cutover: PathBuf,
    /// What is used, for the reader.
    pub(crate) described: String,
    /// Inside a world: where the programs of the packet filter are.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Inside a world: the file with the number of its first process, as the machine counts.
    pub(crate) init_pid_file: Option<PathBuf>,
}

impl Surroundings {
    /// The private engine of the world in which this process was started.
    pub(crate) fn of_this_world(cutover: PathBuf, init_pid_file: PathBuf) -> Result<Self> {
        let world = World::from_environment()?;
        let compose = world.compose(ComposeVersion::Newest);
        let versions = versions(&world.socket(), &compose)?;
        Ok(Self {
            environment: world.packages.environment().into(),
            socket: world.socket(),
            compose,
            registry: world.registry_bin,
            shopd: world.shopd,
            cutover,
            described: format!("{}, private, in a network of their own", versions.text()),
            init_pid_file: Some(init_pid_file),
        })
    }

    /// The machine's own engine. The registry comes from `PATH` or from Debian's packages.
    pub(crate) fn with_own_engine(own: OwnEngine, cutover: PathBuf) -> Result<Self> {
        let registry = match in_path("docker-registry") {
            Some(program) => program,
            None => Engine::fetch(&world::engine_dir())
                .context(
                    "the demo needs a registry, and there is no `docker-registry` in PATH: \
                     install the package docker-registry, or",
                )?
                .program("docker-registry"),
        };
        Ok(Self {
            socket: own.socket,
            compose: own.compose,
            registry,
            shopd: world::build_shopd()?,
            cutover,
            described: own.described,
            environment: Vec::new(),
            init_pid_file: None,
        })
    }
}

/// The machine's own Docker, if it answers, is new enough and shares the network with this process.
pub(crate) fn of_this_machine() -> Result<OwnEngine, Absent> {
    let host = env::var("DOCKER_HOST").unwrap_or_default();
    let socket = match host.strip_prefix("unix://") {
        Some(path) => PathBuf::from(path),
        None if host.is_empty() => PathBuf::from(DEFAULT_SOCKET),
        None => {
            let reason = format!("DOCKER_HOST is {host}, which is not a socket of this machine");
            return Err(Absent(reason));
        }
    };
    Docker::at(&socket)
        .and_then(|docker| docker.ask("/_ping"))
        .map_err(|_| Absent(format!("nothing answers at {}", socket.display())))?;
    let compose = Compose::find(&DockerSettings::from_environment())
        .map_err(|error| Absent(error.to_string()))?;
    let versions =
        versions(&socket, compose.program()).map_err(|error| Absent(format!("{error:#}")))?;
    if let Some(reason) = versions.reason_against() {
        return Err(Absent(reason));
    }
    Ok(OwnEngine {
        compose: compose.program().to_owned(),
        described: format!(
            "{}, this machine's own, at {}",
            versions.text(),
            socket.display()
        ),
        socket,
    })
}

/// What Docker and Compose say about themselves.
#[derive(Debug)]
struct Versions {
    engine: String,
    api: String,
    compose: String,
    /// Why published ports of it are not ports of this machine, if so.
    elsewhere: Option<String>,
}

impl Versions {
    fn text(&self) -> String {
        format!("Docker Engine {} and Compose {}", self.engine, self.compose)
    }

    fn reason_against(&self) -> Option<String> {
        if version(&self.api) < Some(MIN_API) {
            return Some(format!(
                "Docker Engine {} is older than 23 (API {} instead of 1.42)",
                self.engine, self.api
            ));
        }
        if version(&self.compose) < Some(MIN_COMPOSE) {
            return Some(format!("Compose {} is older than 2.20", self.compose));
        }
        self.elsewhere.clone()
    }
}

fn versions(socket: &Path, compose: &Path) -> Result<Versions> {
    let docker = Docker::at(socket)?;
    let about = docker
        .ask("/version")
        .with_context(|| format!("nothing answers at {}", socket.display()))?;
    let of = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
    let machine = docker.ask("/info")?;
    let is_rootless = machine["SecurityOptions"].to_string().contains("rootless");
    let is_desktop = machine["OperatingSystem"] == "Docker Desktop";
    let elsewhere = (is_rootless || is_desktop).then(|| {
        "this Docker runs in a network of its own (rootless, or Docker Desktop), \
         where it cannot reach the demo's registry"
            .to_owned()
    });
    let mut command = std::process::Command::new(compose);
    let compose =
        cutover_testkit::engine::command::output_of(command.args(["version", "--short"]))?;
    Ok(Versions {
        engine: of("Version"),
        api: of("ApiVersion"),
        compose: compose.trim().to_owned(),
        elsewhere,
    })
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('v').split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_engine_and_an_old_compose_are_refused() {
        let of = |api: &str, compose: &str| Versions {
            engine: "x".to_owned(),
            api: api.to_owned(),
            compose: compose.to_owned(),
            elsewhere: None,
        };
        assert_eq!(of("1.42", "2.20.0").reason_against(), None);
        assert_eq!(of("1.51", "v5.0.1").reason_against(), None);
        for (api, compose) in [
            ("1.41", "2.40.3"),
            ("1.51", "2.19.9"),
            ("", "2.40.3"),
            ("1.51", "dev"),
        ] {
            assert!(
                of(api, compose).reason_against().is_some(),
                "{api} {compose}"
            );
        }
    }
}
