//! `environment` and `pass_environment`: variables for the Compose file.
//!
//! Values may be secrets, so none of them is ever repeated in a message.

use toml::de::DeValue;

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

/// What is said of a name that is none, instead of showing it.
const NO_NAME: &str = "not the name of a variable: letters, digits and `_`; it is not shown, because it may hold a value";

/// Reads both into `service`, whose tag variable is known.
pub(super) fn read(table: &Table<'_>, service: &mut Service) {
    let tag_variable = service.tag_variable.clone();
    if let Some(variables) = table.get("environment").and_then(|value| value.names()) {
        for value in variables.entries() {
            value.hide();
            if !is_name(value.name) {
                value.hidden_name_mistake::<()>(format!(
                    "a name in `{}.environment` is {NO_NAME}",
                    table.path()
                ));
            } else if is_settable(&value, value.name, tag_variable.as_deref()).is_some()
                && let Some(text) = value.text_or_empty()
            {
                service
                    .environment
                    .insert(value.name.to_owned(), text.to_owned());
            }
        }
    }
    let names = table.get("pass_environment");
    for value in names.as_ref().and_then(passed_names).unwrap_or_default() {
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

/// The elements of `pass_environment`, if all are names. One that is not may be a `NAME=value`, as Compose
/// takes it in its `environment`, and is not shown.
fn passed_names<'a>(list: &Value<'a>) -> Option<Vec<Value<'a>>> {
    if !matches!(list.raw(), DeValue::Array(_)) {
        list.hide();
    }
    let mut fine = true;
    for element in list.elements()? {
        let named =
            matches!(element.raw(), DeValue::String(text) if text.is_empty() || is_name(text));
        if !named {
            fine = false;
            element.hide();
            element.mistake::<()>(format!("`{}` is {NO_NAME}", element.path), None);
        }
    }
    if fine { list.texts() } else { None }
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
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Notes a name that is not the user's to set.
fn is_settable(value: &Value<'_>, name: &str, tag_variable: Option<&str>) -> Option<()> {
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
