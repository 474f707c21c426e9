//! The world that a test runs in: what `cargo xtask` prepared, told through the environment.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Engine;
use super::namespace::Namespace;
use super::packages::{ComposeVersion, Packages};

/// The shared engine, as for `DOCKER_HOST`.
pub const DOCKER_HOST: &str = "CUTOVER_TEST_DOCKER_HOST";
/// The directory of the unpacked packages.
pub const PACKAGES: &str = "CUTOVER_TEST_PACKAGES";
/// The newest standalone Compose.
pub const COMPOSE: &str = "CUTOVER_TEST_COMPOSE";
/// The oldest standalone Compose.
pub const COMPOSE_OLD: &str = "CUTOVER_TEST_COMPOSE_OLD";
/// A value for `DOCKER_CONFIG` with which `docker compose` is the newest Compose.
pub const DOCKER_CONFIG: &str = "CUTOVER_TEST_DOCKER_CONFIG";
/// The registry's program.
pub const REGISTRY_BIN: &str = "CUTOVER_TEST_REGISTRY_BIN";
/// The example service's program, linked statically.
pub const SHOPD: &str = "CUTOVER_TEST_SHOPD";

/// Everything that a test finds prepared.
#[derive(Debug)]
pub struct World {
    /// The shared engine's address, as for `DOCKER_HOST`. Tests use project and image names of
    /// their own; a test that stops or kills Docker starts an engine of its own.
    pub docker_host: String,
    /// A value for `DOCKER_CONFIG`: with it, the `docker` of `packages` has `docker compose`.
    pub docker_config: PathBuf,
    /// The unpacked packages, to start an engine of one's own.
    pub packages: Packages,
    /// The program of the registry.
    pub registry_bin: PathBuf,
    /// The program of the example service.
    pub shopd: PathBuf,
    compose: PathBuf,
    compose_old: PathBuf,
}

impl World {
    /// Reads the environment that `cargo xtask` prepared.
    ///
    /// # Errors
    /// If a variable is missing; the error says how to run the tests.
    pub fn from_environment() -> Result<Self> {
        Ok(Self {
            docker_host: variable(DOCKER_HOST)?,
            docker_config: path(DOCKER_CONFIG)?,
            packages: Packages::open(&path(PACKAGES)?)?,
            registry_bin: path(REGISTRY_BIN)?,
            shopd: path(SHOPD)?,
            compose: path(COMPOSE)?,
            compose_old: path(COMPOSE_OLD)?,
        })
    }

    /// The variables that make a process part of the world of this engine.
    #[must_use]
    pub fn variables(
        engine: &Engine,
        packages: &Packages,
        shopd: PathBuf,
    ) -> [(&'static str, PathBuf); 7] {
        [
            (DOCKER_HOST, engine.docker_host().into()),
            (DOCKER_CONFIG, engine.docker_config()),
            (PACKAGES, packages.dir().to_owned()),
            (COMPOSE, packages.compose(ComposeVersion::Newest)),
            (COMPOSE_OLD, packages.compose(ComposeVersion::Oldest)),
            (REGISTRY_BIN, packages.program("docker-registry")),
            (SHOPD, shopd),
        ]
    }

    /// The socket of the shared engine.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let address = self.docker_host.as_str();
        PathBuf::from(address.strip_prefix("unix://").unwrap_or(address))
    }

    /// The path of a standalone Compose binary.
    #[must_use]
    pub fn compose(&self, version: ComposeVersion) -> PathBuf {
        match version {
            ComposeVersion::Newest => self.compose.clone(),
            ComposeVersion::Oldest => self.compose_old.clone(),
        }
    }

    /// A network namespace of one's own beside the shared one, for an engine of one's own.
    ///
    /// # Errors
    /// If this is not permitted.
    pub fn new_namespace(&self) -> Result<Namespace> {
        Namespace::create(&self.packages)
    }
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| {
        format!(
            "{name} is not set: this test needs the private Docker that `cargo xtask test` \
             or `cargo xtask engine run -- cargo test …` prepares"
        )
    })
}

fn path(name: &str) -> Result<PathBuf> {
    variable(name).map(PathBuf::from)
}
