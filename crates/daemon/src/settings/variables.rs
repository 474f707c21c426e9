//! `environment` and `pass_environment`: variables for the Compose file.
//!
//! Values may be secrets, so none of them is ever repeated in a message.

use super::service::Service;
use super::table::{Table, Value};
use super::value::shown;

/// Variables with which Compose would do something else than cutover was told, and what to use instead.
const RESERVED: &[(&str, &str)] = &[
    ("DOCKER_HOST", "`docker.socket`"),
    ("DOCKER_CONTEXT", "`docker.socket`"),
    ("DOCKER_CONFIG", "`docker.config_directory`"),
    ("DOCKER_CERT_PATH", "`docker.socket`"),
    ("DOCKER_TLS", "`docker.socket`"),
    ("DOCKER_TLS_VERIFY", "`docker.socket`"),
    ("DOCKER_API_VERSION", "nothing: it is negotiated"),
    ("COMPOSE_FILE", "`compose_files`"),
    ("COMPOSE_PATH_SEPARATOR", "`compose_files`"),
    ("COMPOSE_PROJECT_NAME", "`project_name`"),
    ("COMPOSE_PROFILES", "`profiles`"),
    ("COMPOSE_ENV_FILES", "`env_files`"),
    ("COMPOSE_DISABLE_ENV_FILE", "`env_files`"),
    (
        "COMPOSE_REMOVE_ORPHANS",
        "nothing: a deployment touches one service",
    ),
    (
        "COMPOSE_IGNORE_ORPHANS",
        "nothing: a deployment touches one service",
    ),
    (
        "COMPOSE_PARALLEL_LIMIT",
        "nothing: a deployment touches one service",
    ),
    ("COMPOSE_EXPERIMENTAL", "nothing"),
    (
        "COMPOSE_PROGRESS",
        "nothing: cutover reads Compose's output",
    ),
    (
        "COMPOSE_STATUS_STDOUT",
        "nothing: cutover reads Compose's output",
    ),
    ("COMPOSE_ANSI", "nothing: cutover reads Compose's output"),
    ("COMPOSE_MENU", "nothing: nobody is there to use it"),
];

/// Reads both into `service`, whose tag variable is known.
pub(super) fn read(table: &Table<'_>, service: &mut Service) {
    let tag_variable = service.tag_variable.clone();
    if let Some(variables) = table.get("environment").and_then(|value| value.names()) {
        for value in variables.entries() {
            value.hide();
            let fine = is_settable(&value, value.name, tag_variable.as_deref());
            if let (Some(()), Some(text)) = (fine, value.text_or_empty()) {
                service
                    .environment
                    .insert(value.name.to_owned(), text.to_owned());
            }
        }
    }
    let Some(names) = table
        .get("pass_environment")
        .and_then(|value| value.texts())
    else {
        return;
    };
    for value in names {
        let Some(name) = read_name(&value) else {
            continue;
        };
        if service.environment.contains_key(&name) {
            value.mistake::<()>(
                format!("`{name}` has a value in `environment` as well"),
                Some("keep one of the two"),
            );
        }
        if is_settable(&value, &name, tag_variable.as_deref()).is_some() {
            service.pass_environment.push(name);
        }
    }
}

/// Reads the name of a variable.
pub(super) fn read_name(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if is_name(text) {
        return Some(text.to_owned());
    }
    value.mistake(
        format!(
            "`{}` must be the name of a variable: letters, digits and `_`, not {}",
            value.path,
            shown(text)
        ),
        None,
    )
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Notes a name that is none, or that is not the user's to set.
fn is_settable(value: &Value<'_>, name: &str, tag_variable: Option<&str>) -> Option<()> {
    if !is_name(name) || name.is_empty() {
        return value.name_mistake(
            format!(
                "{} is not the name of a variable: letters, digits and `_`",
                shown(name)
            ),
            None,
        );
    }
    if tag_variable == Some(name) {
        return value.name_mistake(
            format!("`{name}` is the tag variable, which each deployment sets"),
            Some("remove it here"),
        );
    }
    match RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        None => Some(()),
        Some((_, instead)) => value.name_mistake(
            format!("`{name}` would change what Compose does, so it cannot be set"),
            Some(&format!("use {instead} instead")),
        ),
    }
}
