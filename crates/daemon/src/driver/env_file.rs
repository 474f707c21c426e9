//! Writes the tag into the project's env file, so that `docker compose up -d` by hand keeps the release, and so that
//! Compose and the containers see the project as it will stand: a service may read that very file.

use std::path::{Path, PathBuf};

use cutover_core::deployment::{TagBefore, TagLine};
use cutover_core::env_file::{bytes_of, set_tag, take_back, text_of, written_value};
use cutover_core::names::Tag;
use cutover_core::template::Carries;

use super::project::ServiceModel;
use crate::files::outside::{self, Way};
use crate::settings;

/// The longest value that is recorded to be put back; a tag has at most 128 characters.
const VALUE_LEN_MAX: usize = 1024;

/// The env file could not be changed; it is as it was.
#[derive(Debug, thiserror::Error)]
#[error("{} could not be changed and is as it was: {source}", path.display())]
pub struct EnvFileError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// Sets the service's tag variable to its value for `tag` in the env file that Compose reads last.
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
        set_tag(text, &model.tag_variable, tag.as_str())
    })
    .map_err(|source| EnvFileError { path, source })
}

/// What the tag would take the place of; none where that cannot be recorded: the file cannot be read, or its name or the
/// value is none that anybody would write.
#[must_use]
pub fn tag_line(service: &settings::Service, model: &ServiceModel) -> Option<TagLine> {
    let path = env_file(service, model);
    let before = match outside::read(&path).ok()? {
        None => TagBefore::NoFile,
        Some(bytes) => match written_value(&text_of(&bytes), &model.tag_variable.name) {
            None => TagBefore::NoLine,
            Some(value) if value.len() > VALUE_LEN_MAX => return None,
            Some(value) => TagBefore::Value(value.to_owned()),
        },
    };
    let variable = &model.tag_variable;
    let is_digest = matches!(variable.carries(), Carries::Digest(_));
    Some(TagLine {
        file: path.to_str()?.to_owned(),
        variable: variable.name.clone(),
        digest: is_digest.then(|| variable.value("")),
        before,
    })
}

/// Puts back what stood in the file before the `tag` did, unless somebody has changed it since.
///
/// # Errors
/// [`EnvFileError`]; the file is as it was.
pub fn take_tag_back(line: &TagLine, tag: &Tag) -> Result<(), EnvFileError> {
    let path = PathBuf::from(&line.file);
    let before = match &line.before {
        TagBefore::Value(value) => Some(value.as_str()),
        TagBefore::NoLine | TagBefore::NoFile => None,
    };
    let mut is_left_empty = false;
    let taken = replace(&path, |text| {
        let set = line.digest.as_deref().unwrap_or(tag.as_str());
        let taken = take_back(text, &line.variable, set, before)?;
        is_left_empty = taken.is_empty();
        Some(taken)
    });
    let is_made_by_us = line.before == TagBefore::NoFile && is_left_empty;
    taken
        .and_then(|()| match is_made_by_us {
            true => outside::remove(&path),
            false => Ok(()),
        })
        .map_err(|source| EnvFileError { path, source })
}

/// Which file that is: the configured env file that sets the variable, the last of them, or `.env`.
pub fn env_file(service: &settings::Service, model: &ServiceModel) -> PathBuf {
    let sets = |path: &&PathBuf| {
        let text = outside::text(path);
        text.is_some_and(|text| written_value(&text, &model.tag_variable.name).is_some())
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
