//! Writes the committed tag into the project's env file, so that `docker compose up -d` by hand keeps
//! the release.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cutover_core::env_file::{set_variable, variable};
use cutover_core::names::Tag;

use super::project::ServiceModel;
use crate::files::{self, Access, OWNER_ONLY};
use crate::settings;

/// Two services of one project may be committed in the same moment, and share the file.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The env file could not be changed; it is as it was.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be changed and is as it was: {source}", path.display())]
pub struct EnvFileError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// Sets the service's tag variable to `tag` in the env file that Compose reads last.
///
/// One line is changed or added; the file is replaced atomically and keeps its mode and owner. A new one
/// belongs to whom its directory belongs to, who could not read it otherwise. Nothing is written if the
/// variable has this value already.
///
/// # Errors
/// [`EnvFileError`]; the file is as it was.
pub fn remember_tag(
    service: &settings::Service,
    model: &ServiceModel,
    tag: &Tag,
) -> Result<(), EnvFileError> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let path = env_file(service, model);
    replace(&path, |text| {
        (variable(text, &model.tag_variable).as_deref() != Some(tag.as_str()))
            .then(|| set_variable(text, &model.tag_variable, tag.as_str()))
    })
    .map_err(|source| EnvFileError { path, source })
}

/// Sets the service's tag variable to `tag` again if it is `taken_back` there now.
///
/// # Errors
/// [`EnvFileError`]; the file is as it was.
pub fn take_tag_back(
    service: &settings::Service,
    model: &ServiceModel,
    taken_back: &Tag,
    tag: &Tag,
) -> Result<(), EnvFileError> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let path = env_file(service, model);
    replace(&path, |text| {
        (variable(text, &model.tag_variable).as_deref() == Some(taken_back.as_str()))
            .then(|| set_variable(text, &model.tag_variable, tag.as_str()))
    })
    .map_err(|source| EnvFileError { path, source })
}

/// Which file that is: the configured env file that sets the variable, the last of them, or `.env`.
pub fn env_file(service: &settings::Service, model: &ServiceModel) -> PathBuf {
    let sets = |path: &&PathBuf| {
        fs::read_to_string(path).is_ok_and(|text| variable(&text, &model.tag_variable).is_some())
    };
    let files = &service.env_files;
    let chosen = files.iter().rev().find(sets).or(files.last()).cloned();
    chosen.unwrap_or_else(|| model.directory.join(".env"))
}

fn replace(path: &Path, change: impl FnOnce(&str) -> Option<String>) -> std::io::Result<()> {
    // A symbolic link stays one: what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (text, metadata) = match fs::read_to_string(&target) {
        Ok(text) => (text, Some(fs::metadata(&target)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (String::new(), None),
        Err(error) => return Err(error),
    };
    let Some(changed) = change(&text) else {
        return Ok(());
    };
    let access = match metadata {
        Some(present) => Access::like(&present),
        None => Access {
            mode: OWNER_ONLY,
            ..Access::like(&fs::metadata(target.parent().unwrap_or(Path::new("/")))?)
        },
    };
    files::replace(&target, changed.as_bytes(), access)
}
