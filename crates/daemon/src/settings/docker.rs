//! `[docker]`: how Docker and Compose are reached.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::surroundings::Surroundings;
use super::table::Value;
use super::value::shown;

pub(super) const KEYS: &[&str] = &["socket", "config_directory", "compose", "cosign"];

/// Where Docker Engine listens on every distribution.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Where root's Docker client keeps its configuration.
const DEFAULT_CONFIG_DIRECTORY: &str = "/root/.docker";

/// How Docker and Compose are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettings {
    /// Docker Engine's unix socket. cutover works on the machine that it runs on, so there is no other
    /// way to name Docker.
    pub socket: PathBuf,
    /// The directory with `config.json`, which says how to log in to registries.
    pub config_directory: PathBuf,
    /// The Compose binary, if it shall not be searched for.
    pub compose: Option<PathBuf>,
    /// The cosign binary, if it shall not be searched for; only needed where a service wants signatures.
    pub cosign: Option<PathBuf>,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(DEFAULT_SOCKET),
            config_directory: PathBuf::from(DEFAULT_CONFIG_DIRECTORY),
            compose: None,
            cosign: None,
        }
    }
}

impl DockerSettings {
    /// What a file without `[docker]` means in the environment of this process.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::defaults_in(&Surroundings::of_this_process())
    }

    fn defaults_in(surroundings: &Surroundings) -> Self {
        let mut docker = Self::default();
        if let Some(directory) = &surroundings.docker_config {
            docker.config_directory.clone_from(directory);
        } else if let Some(home) = &surroundings.home {
            docker.config_directory = home.join(".docker");
        }
        docker
    }
}

/// Reads `[docker]`; all of it has a default.
pub(super) fn read(
    section: Option<&Value<'_>>,
    surroundings: &Surroundings,
) -> Option<DockerSettings> {
    let mut docker = DockerSettings::defaults_in(surroundings);
    let Some(section) = section else {
        return Some(docker);
    };
    let table = section.table(KEYS)?;
    if let Some(socket) = table.get("socket").as_ref().and_then(read_socket) {
        docker.socket = socket;
    }
    if let Some(value) = table.get("config_directory")
        && let Some(directory) = value.directory()
    {
        docker.config_directory = directory;
    }
    docker.compose = table
        .get("compose")
        .and_then(|value| read_program(&value, "docker-compose"));
    docker.cosign = table
        .get("cosign")
        .and_then(|value| read_program(&value, "cosign"));
    Some(docker)
}

/// The path, with or without `unix://` before it. Whether Docker answers there is not asked here: it may
/// start after the daemon.
fn read_socket(value: &Value<'_>) -> Option<PathBuf> {
    let text = value.text()?;
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.starts_with('/') {
        return Some(PathBuf::from(path));
    }
    value.mistake(
        format!(
            "`{}` must be the absolute path of a unix socket, not {}",
            value.path,
            shown(text)
        ),
        Some("for example \"/var/run/docker.sock\"; Docker on another machine is not supported"),
    )
}

fn read_program(value: &Value<'_>, name: &str) -> Option<PathBuf> {
    let path = value.file()?;
    let mode = std::fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o111 != 0 {
        return Some(path);
    }
    value.mistake(
        format!("`{}`: `{}` is not executable", value.path, path.display()),
        Some(&format!("name the `{name}` binary")),
    )
}
