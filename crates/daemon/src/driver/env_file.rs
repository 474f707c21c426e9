//! Writes the committed tag into the project's env file, so that `docker compose up -d` by hand keeps
//! the release.

use std::path::{Path, PathBuf};

use cutover_core::env_file::{bytes_of, set_variable, text_of, variable};
use cutover_core::names::Tag;

use super::project::ServiceModel;
use crate::files::outside::{self, Way};
use crate::settings;

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
/// One line is changed or added, every other byte stays, and so does what belongs to the file (`files::outside`).
/// Nothing is written if the variable has this value already.
///
/// # Errors
/// [`EnvFileError`]; the file is as it was.
pub fn remember_tag(
    service: &settings::Service,
    model: &ServiceModel,
    tag: &Tag,
) -> Result<(), EnvFileError> {
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
        outside::text(path).is_some_and(|text| variable(&text, &model.tag_variable).is_some())
    };
    let files = &service.env_files;
    let chosen = files.iter().rev().find(sets).or(files.last()).cloned();
    chosen.unwrap_or_else(|| model.directory.join(".env"))
}

/// Does what [`remember_tag`] will do, up to the moment before the file is another; says which file and how.
///
/// # Errors
/// [`EnvFileError`]; what every deployment would say after its commit.
pub(crate) fn rehearse(
    service: &settings::Service,
    model: &ServiceModel,
) -> Result<(PathBuf, Way), EnvFileError> {
    let path = env_file(service, model);
    match outside::rehearse(&path) {
        Ok(way) => Ok((path, way)),
        Err(source) => Err(EnvFileError { path, source }),
    }
}

fn replace(path: &Path, change: impl FnOnce(&str) -> Option<String>) -> std::io::Result<()> {
    outside::change(path, |bytes| {
        change(&text_of(bytes)).map(|text| bytes_of(&text))
    })
}
