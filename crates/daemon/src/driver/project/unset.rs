//! What a service would lose because a variable is set nowhere.
//!
//! The settings that a variable may be part of are read from three places, by the same names: the definition as written,
//! the definition as Compose renders it, and the container that runs now.

use std::collections::BTreeMap;

use cutover_core::compose_warnings::unset_variable;
use cutover_core::unset::{Setting, lost};
use serde_json::{Map, Value};

use super::ServiceModel;
use super::file::{File, Service};
use crate::docker::Container;
use crate::docker::container::EnvVar;

/// The values of settings by their names, as a person would call them.
pub(super) type Settings = BTreeMap<String, String>;

const MOUNT_AT: &str = "mount at ";

/// The variables that Compose warns of.
pub(super) fn warned_of(model: &ServiceModel) -> impl Iterator<Item = &str> {
    model
        .warnings
        .iter()
        .filter_map(|said| unset_variable(said))
}

/// The variables that Compose found nowhere: those that it warns of, and those that it would have passed through to the
/// container, of which it says nothing.
pub(super) fn not_found(model: &ServiceModel) -> Vec<&str> {
    let passed = model.not_passed.iter().map(String::as_str);
    warned_of(model).chain(passed).collect()
}

/// What the service would lose that `container` has, a sentence each.
pub(super) fn losses(
    model: &ServiceModel,
    written: Option<&Map<String, Value>>,
    container: &Container,
    of_image: &[String],
) -> Vec<String> {
    let unset = not_found(model);
    let written = written.map(written_settings).unwrap_or_default();
    let before = container_settings(container, of_image);
    let now = &model.settings;
    let names = now.keys().chain(written.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    let setting = |name: &String| Setting {
        name: name.clone(),
        written: written.get(name).cloned(),
        now: now.get(name).cloned().unwrap_or_default(),
        before: before.get(name).cloned().unwrap_or_default(),
    };
    let settings: Vec<Setting> = names.into_iter().map(setting).collect();
    lost(&unset, &settings).map(described).collect()
}

fn described((setting, variable): (&str, Option<&str>)) -> String {
    match variable {
        Some(variable) => format!(
            "the variable `{variable}` is set nowhere, and the previous container has its {setting} by it"
        ),
        None => format!(
            "a variable in an env file of the service is set nowhere, and the previous container has its {setting} by it"
        ),
    }
}

/// The settings of a service as Compose renders it.
pub(super) fn rendered_settings(file: &File, service: &Service) -> Settings {
    let mut settings = Settings::new();
    for (name, value) in &service.environment {
        settings.insert(variable(name), value.clone().unwrap_or_default());
    }
    for mount in &service.volumes {
        if let Some((target, source)) = mount.target_and_source() {
            let volume = file.volumes.get(source);
            let source = volume.and_then(|volume| volume.name.as_deref());
            let source = source.or(mount.source()).unwrap_or_default();
            settings.insert(mount_at(target), source.to_owned());
        }
    }
    for port in &service.ports {
        if let Some((container, machine)) = port.container_and_machine() {
            add_port(&mut settings, &container, machine);
        }
    }
    add_plain(&mut settings, &service.plain);
    settings
}

/// The settings of a service as it is written.
fn written_settings(service: &Map<String, Value>) -> Settings {
    let mut settings = Settings::new();
    for (name, value) in entries(service.get("environment")) {
        // `- NAME` alone is passed through, as `NAME=${NAME}`.
        let value = value.unwrap_or_else(|| format!("${{{name}}}"));
        settings.insert(variable(&name), value);
    }
    for mount in list(service.get("volumes")) {
        if let (Some(target), Some(source)) = (text(mount.get("target")), text(mount.get("source")))
        {
            settings.insert(mount_at(&target), source);
        }
    }
    for port in list(service.get("ports")) {
        let (container, machine) = match port {
            Value::Object(port) => (text(port.get("target")), text(port.get("published"))),
            _ => short_port(port),
        };
        if let Some(container) = container {
            let container = match container.contains('/') {
                true => container,
                false => format!("{container}/tcp"),
            };
            add_port(&mut settings, &container, machine.unwrap_or_default());
        }
    }
    add_plain(&mut settings, service);
    settings
}

/// The settings of a container; what it has from its image is not among them.
fn container_settings(container: &Container, of_image: &[String]) -> Settings {
    let definition = &container.definition;
    let mut settings = Settings::new();
    for EnvVar { name, value } in &container.env {
        if !of_image.contains(&format!("{name}={value}")) {
            settings.insert(variable(name), value.clone());
        }
    }
    for (target, source) in &definition.mounts {
        settings.insert(mount_at(target), source.clone());
    }
    for (port, machine) in &definition.published {
        for machine in machine {
            add_port(&mut settings, port, machine.clone());
        }
    }
    for (name, value) in &container.labels {
        settings.insert(label(name), value.clone());
    }
    settings.insert("command".to_owned(), definition.command.join(" "));
    settings.insert("entrypoint".to_owned(), definition.entrypoint.join(" "));
    settings.insert("user".to_owned(), definition.user.clone());
    settings
}

/// What is written and rendered in the same way.
fn add_plain(settings: &mut Settings, service: &Map<String, Value>) {
    for (name, value) in entries(service.get("labels")) {
        settings.insert(label(&name), value.unwrap_or_default());
    }
    for name in ["command", "entrypoint", "user"] {
        let value = match service.get(name) {
            Some(Value::Array(arguments)) => {
                let arguments: Vec<_> = arguments.iter().map(|one| text(Some(one))).collect();
                let arguments: Vec<_> = arguments.into_iter().flatten().collect();
                Some(arguments.join(" "))
            }
            other => text(other),
        };
        settings.extend(value.map(|value| (name.to_owned(), value)));
    }
}

fn add_port(settings: &mut Settings, container: &str, machine: String) {
    let ports = settings
        .entry(format!("published port of {container}"))
        .or_default();
    if !ports.is_empty() {
        ports.push(' ');
    }
    ports.push_str(&machine);
}

/// The container's and the machine's port in `127.0.0.1:${PORT}:80/tcp`.
fn short_port(port: &Value) -> (Option<String>, Option<String>) {
    let Some(written) = text(Some(port)) else {
        return (None, None);
    };
    match written.rsplit_once(':') {
        Some((machine, container)) => (Some(container.to_owned()), Some(machine.to_owned())),
        None => (Some(written), None),
    }
}

/// The entries of a map, or of a list of `name=value`.
fn entries(value: Option<&Value>) -> Vec<(String, Option<String>)> {
    let of_line = |line: &Value| {
        let line = text(Some(line))?;
        Some(match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (line, None),
        })
    };
    match value {
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, value)| (name.clone(), text(Some(value))))
            .collect(),
        Some(Value::Array(lines)) => lines.iter().filter_map(of_line).collect(),
        _ => Vec::new(),
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(values)) => values,
        _ => &[],
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

/// The value of an environment variable of the rendered service; none if it has none.
pub(super) fn environment_of<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    settings.get(&variable(name)).map(String::as_str)
}

/// What of the machine or of Docker's volumes the rendered service mounts.
pub(super) fn mounted(settings: &Settings) -> impl Iterator<Item = &str> {
    let mounts = settings
        .iter()
        .filter(|(name, _)| name.starts_with(MOUNT_AT));
    mounts.map(|(_, source)| source.as_str())
}

fn variable(name: &str) -> String {
    format!("environment variable {name}")
}

fn label(name: &str) -> String {
    format!("label {name}")
}

fn mount_at(target: &str) -> String {
    let target = match target.trim_end_matches('/') {
        "" => "/",
        target => target,
    };
    format!("{MOUNT_AT}{target}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_have_the_same_names_as_written_as_rendered_and_in_the_container() {
        let written = json!({
            "environment": ["PASS", "URL=pg://${PW}@db", "PORT=80"],
            "labels": {"a": "${PW}"},
            "volumes": [{"type": "volume", "source": "${DIR}/db", "target": "/data/"}],
            "ports": ["127.0.0.1:${PORT}:80", {"target": 53, "published": "${DNS}"}],
            "command": "run ${PW}",
            "user": "${UID}",
        });
        let written = written_settings(written.as_object().expect("an object"));
        let rendered = json!({
            "name": "shop",
            "services": {"app": {
                "environment": {"PASS": null, "URL": "pg://@db", "PORT": "80"},
                "labels": {"a": ""},
                "volumes": [{"type": "bind", "source": "/db", "target": "/data"}],
                "ports": [
                    {"target": 80, "published": "8080", "protocol": "tcp"},
                    {"target": 53, "protocol": "tcp"},
                ],
                "command": ["run"],
                "user": "",
            }},
        });
        let file: File = serde_json::from_value(rendered).expect("a project");
        let rendered = rendered_settings(&file, &file.services["app"]);
        let names: Vec<_> = rendered.keys().collect();
        assert_eq!(names, written.keys().collect::<Vec<_>>());
        assert_eq!(written["environment variable PASS"], "${PASS}");
        assert_eq!(written["published port of 80/tcp"], "127.0.0.1:${PORT}");
        assert_eq!(rendered["mount at /data"], "/db");

        let container = json!({
            "Id": "c", "Name": "/shop-app-1",
            "Config": {
                "Env": ["PASS=secret", "URL=pg://pw@db", "PATH=/bin"],
                "Labels": {"a": "pw"}, "Cmd": ["run", "pw"], "User": "1000",
            },
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}], "53/tcp": null}},
            "Mounts": [{"Type": "bind", "Source": "/srv/db", "Destination": "/data"}],
        });
        let container = serde_json::from_value(container).expect("bollard reads it");
        let container = Container::from_docker(container).expect("it has an id");
        let before = container_settings(&container, &["PATH=/bin".to_owned()]);
        assert_eq!(before["mount at /data"], "/srv/db");
        assert_eq!(before["published port of 80/tcp"], "8080");
        assert_eq!(before["environment variable PASS"], "secret");
        assert!(!before.contains_key("environment variable PATH"));
        let shared = before.keys().filter(|name| rendered.contains_key(*name));
        assert_eq!(shared.count(), 7, "{:?}", before.keys());
    }
}
