//! Which Compose project a service belongs to, as far as the files tell without Compose.
//!
//! A container under two names would be deployed twice at once, so this is refused early where it is
//! certain. What only Compose knows is found out when it reads the project, by `check` and by the daemon.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::service::Service;
use crate::files::outside;

/// Whether two services certainly are the same one of the same Compose project.
pub(super) fn same_container(a: &Service, b: &Service) -> bool {
    if a.compose_service != b.compose_service {
        return false;
    }
    match (project_name(a), project_name(b)) {
        (Some(a), Some(b)) => a == b,
        // The name is in the files: what reads the same files in the same way has the same name.
        (None, None) => reads_the_same(a, b),
        _ => false,
    }
}

/// The name that Compose gives to the project; none if the Compose files or their variables say it.
fn project_name(service: &Service) -> Option<String> {
    if let Some(name) = &service.project_name {
        return Some(name.clone());
    }
    let beside = service.directory().join(".env");
    let variables = service.env_files.iter().chain([&beside]);
    let elsewhere = service.compose_files.iter().any(|file| may_name(file))
        || variables.into_iter().any(|file| may_set_name(file));
    if elsewhere {
        None
    } else {
        Some(default_name(service.directory()))
    }
}

/// Compose's own choice: the last part of the directory's path, which it cleans and does not resolve, without
/// what a name cannot have.
fn default_name(directory: &Path) -> String {
    let mut cleaned = PathBuf::new();
    for part in directory.components() {
        match part {
            Component::ParentDir => {
                cleaned.pop();
            }
            part => cleaned.push(part),
        }
    }
    let last = cleaned.file_name().unwrap_or_default().to_string_lossy();
    let kept: String = last
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ['_', '-'].contains(c))
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// Whether a Compose file may have a `name:` of its own. One that cannot be read, or is not written line by
/// line, may.
fn may_name(file: &Path) -> bool {
    let Some(text) = outside::text(file) else {
        return true;
    };
    let written = |line: &str| {
        ["name", "\"name", "'name"]
            .iter()
            .any(|key| line.starts_with(key))
    };
    text.trim_start().starts_with('{') || text.lines().any(written)
}

/// Whether a file with variables may set the project's name.
fn may_set_name(file: &Path) -> bool {
    outside::text(file).is_some_and(|text| text.contains("COMPOSE_PROJECT_NAME"))
}

/// Whether Compose is given the same for both, wherever symbolic links lead to it.
fn reads_the_same(a: &Service, b: &Service) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let files = |service: &Service| -> Vec<PathBuf> {
        let all = service.compose_files.iter().chain(&service.env_files);
        all.map(|path| real(path)).collect()
    };
    files(a) == files(b)
        && real(a.directory()) == real(b.directory())
        && a.environment == b.environment
        && a.pass_environment == b.pass_environment
}
