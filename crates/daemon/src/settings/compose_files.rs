//! Which Compose files a service is made of, found as Compose finds them.

use std::path::{Path, PathBuf};

use super::files;
use super::table::{Table, Value};
use crate::files::outside;

/// Compose's names for the file, the preferred ones first.
const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// Compose's names for the file that it lays over the first one.
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Reads `compose_files` or, without it, looks into `project_directory`. Never empty.
pub(super) fn read(table: &Table<'_>, project_directory: Option<&Path>) -> Option<Vec<PathBuf>> {
    match (table.get("compose_files"), table.get("project_directory")) {
        (Some(files), _) => read_list(&files),
        (None, Some(directory)) => find(&directory, project_directory?),
        (None, None) if table.is_misspelled("compose_files") => None,
        (None, None) => {
            table.mistake(
                "neither `compose_files` nor `project_directory` says where the Compose file is"
                    .to_owned(),
                "add `compose_files = [\"/path/to/compose.yaml\"]`",
            );
            None
        }
    }
}

fn read_list(value: &Value<'_>) -> Option<Vec<PathBuf>> {
    let elements = value.texts()?;
    if elements.is_empty() {
        return value.mistake(
            format!("`{}` is empty", value.path),
            Some("name at least one Compose file, or leave it out and give `project_directory`"),
        );
    }
    let files: Vec<Option<PathBuf>> = elements.iter().map(Value::file).collect();
    files.into_iter().collect()
}

fn find(value: &Value<'_>, directory: &Path) -> Option<Vec<PathBuf>> {
    match find_compose_files(directory) {
        Ok(files) => Some(files),
        Err(error) => value.mistake(error.to_string(), Some(&error.help)),
    }
}

/// Why no Compose file is taken from a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoComposeFiles {
    message: String,
    help: String,
}

impl NoComposeFiles {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }
}

/// The file and the override that Compose would take in `directory`; never empty.
///
/// # Errors
/// When there is none, when it cannot be read, and when the project's `.env` file names others.
pub fn find_compose_files(directory: &Path) -> Result<Vec<PathBuf>, NoComposeFiles> {
    let refused = |message: String, help: &str| {
        let help = help.to_owned();
        Err(NoComposeFiles { message, help })
    };
    if let Some(listed) = listed_in_env_file(directory) {
        return refused(
            format!(
                "`{}` sets COMPOSE_FILE, which only the `docker compose` command line follows",
                listed.display()
            ),
            "list these files in `compose_files`, so that it is clear what runs",
        );
    }
    let first = |names: [&str; 4]| {
        names
            .iter()
            .map(|name| directory.join(name))
            .find(|path| path.exists())
    };
    let Some(main) = first(NAMES) else {
        return refused(
            format!(
                "there is no Compose file in `{}`: looked for {}",
                directory.display(),
                NAMES.join(", ")
            ),
            "correct `project_directory`, or give `compose_files`",
        );
    };
    let found: Vec<PathBuf> = [Some(main), first(OVERRIDE_NAMES)]
        .into_iter()
        .flatten()
        .collect();
    for file in &found {
        if let Err(error) = files::open(file) {
            return refused(
                format!("cannot read `{}`: {}", file.display(), files::cause(&error)),
                files::remedy(&error),
            );
        }
    }
    Ok(found)
}

/// The project's `.env` file, if it names Compose files of its own.
fn listed_in_env_file(directory: &Path) -> Option<PathBuf> {
    let path = directory.join(".env");
    let text = outside::text(&path)?;
    let sets_files = text.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        line.strip_prefix("COMPOSE_FILE")
            .is_some_and(|rest| rest.trim_start().starts_with(['=', ':']))
    });
    sets_files.then_some(path)
}
