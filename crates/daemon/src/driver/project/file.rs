//! The part of Compose's JSON that is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_core::cause::Cause;
use cutover_core::duration;
use cutover_core::strategy::Facts;
use serde::Deserialize;

use super::contents::MountAccess;
use super::invalid;
use crate::settings;

/// The project as written, before interpolation.
#[derive(Debug, Deserialize)]
pub(super) struct WrittenFile {
    pub(super) name: String,
    #[serde(default)]
    pub(super) services: BTreeMap<String, WrittenService>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WrittenService {
    pub(super) image: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub(super) rest: serde_json::Map<String, serde_json::Value>,
}

/// The project as rendered.
#[derive(Deserialize)]
pub(super) struct File {
    pub(super) name: String,
    #[serde(default)]
    pub(super) services: BTreeMap<String, Service>,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, SecretFile>,
    #[serde(default)]
    pub(super) configs: BTreeMap<String, SecretFile>,
    #[serde(default)]
    pub(super) volumes: BTreeMap<String, Volume>,
}

/// A volume of the project.
#[derive(Debug, Deserialize)]
pub(super) struct Volume {
    /// Docker's name of it.
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SecretFile {
    pub(super) file: Option<PathBuf>,
    pub(super) environment: Option<String>,
    pub(super) content: Option<String>,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretFile")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
pub(super) struct Service {
    pub(super) image: Option<String>,
    pub(super) platform: Option<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, Option<String>>,
    scale: Option<serde_json::Value>,
    deploy: Option<Deploy>,
    #[serde(default)]
    pre_start: Vec<serde_json::Value>,
    #[serde(default)]
    pre_stop: Vec<serde_json::Value>,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
    container_name: Option<String>,
    #[serde(default)]
    pub(super) volumes: Vec<Mount>,
    network_mode: Option<String>,
    ipc: Option<String>,
    pid: Option<String>,
    restart: Option<String>,
    #[serde(default)]
    pub(super) secrets: Vec<Granted>,
    #[serde(default)]
    pub(super) configs: Vec<Granted>,
    /// What is read by its name only where it is needed: labels, command, user.
    #[serde(flatten)]
    pub(super) plain: serde_json::Map<String, serde_json::Value>,
}

/// A secret or a config that a service gets.
#[derive(Debug, Deserialize)]
pub(super) struct Granted {
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Port {
    target: Option<u32>,
    published: Option<String>,
    protocol: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Mount {
    #[serde(rename = "type")]
    kind: String,
    source: Option<String>,
    target: Option<String>,
    #[serde(default)]
    read_only: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Deploy {
    replicas: Option<serde_json::Value>,
    update_config: Option<UpdateConfig>,
    restart_policy: Option<RestartPolicy>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RestartPolicy {
    condition: Option<String>,
    max_attempts: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UpdateConfig {
    order: Option<String>,
    monitor: Option<String>,
}

impl File {
    /// What decides about how `described`, which is `service`, is switched.
    pub(super) fn facts(&self, service: &settings::Service, described: &Service) -> Facts {
        Facts {
            sharers: self.sharers(&service.compose_service, described),
            ..described.facts(service.order)
        }
    }

    /// The variables that Compose would pass through to the container of `described` and that are set nowhere.
    pub(super) fn not_passed(described: &Service) -> Vec<String> {
        let environment = described.environment.iter();
        let absent = environment.filter(|(_, value)| value.is_none());
        absent.map(|(name, _)| name.clone()).collect()
    }

    /// Whether Compose writes files into the container of `described` when it creates it: secrets and configs that
    /// are no files on this machine.
    pub(super) fn has_written_files(&self, described: &Service) -> bool {
        let is_written = |granted: &Granted, all: &BTreeMap<String, SecretFile>| {
            let source = granted.source.as_ref().and_then(|source| all.get(source));
            source.is_some_and(|source| source.file.is_none())
        };
        let mut secrets = described.secrets.iter();
        let mut configs = described.configs.iter();
        secrets.any(|granted| is_written(granted, &self.secrets))
            || configs.any(|granted| is_written(granted, &self.configs))
    }

    /// The services that run in a namespace of the container of `name`. Docker ties them to the container,
    /// not to the service: with the next one they would have lost it.
    fn sharers(&self, name: &str, described: &Service) -> Vec<String> {
        let container = match &described.container_name {
            Some(container) => format!("container:{container}"),
            None => format!("container:{}-{name}-1", self.name),
        };
        let own = [format!("service:{name}"), container];
        let shares = |other: &Service| {
            [&other.network_mode, &other.ipc, &other.pid]
                .into_iter()
                .flatten()
                .any(|mode| own.contains(mode))
        };
        self.services
            .iter()
            .filter(|(_, other)| shares(other))
            .map(|(other, _)| format!("service `{other}`"))
            .collect()
    }
}

impl Service {
    fn facts(&self, order: Option<settings::Order>) -> Facts {
        Facts {
            published_ports: self
                .ports
                .iter()
                .filter_map(|port| port.published.clone())
                .collect(),
            container_name: self.container_name.clone(),
            writable_mounts: self.volumes.iter().filter_map(Mount::writable).collect(),
            host_network: self.network_mode.as_deref() == Some("host"),
            replicas: self.replicas(),
            start_first_wanted: self.start_first(order),
            pre_start_hooks: !self.pre_start.is_empty(),
            pre_stop_hooks: !self.pre_stop.is_empty(),
            sharers: Vec::new(),
            restart: self.restart(),
        }
    }

    /// Where both are written, Compose takes `deploy.restart_policy` and forgets `restart`, also where the
    /// former has no `condition`: such a container is not restarted.
    fn restart(&self) -> Option<String> {
        let of_deploy = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.restart_policy.as_ref());
        of_deploy.map_or_else(|| self.restart.clone(), |policy| Some(policy.written()))
    }

    fn replicas(&self) -> u32 {
        let deploy = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.replicas.as_ref());
        deploy.or(self.scale.as_ref()).and_then(number).unwrap_or(1)
    }

    fn start_first(&self, order: Option<settings::Order>) -> bool {
        if let Some(order) = order {
            return order == settings::Order::StartFirst;
        }
        let config = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.update_config.as_ref());
        config.and_then(|config| config.order.as_deref()) == Some("start-first")
    }

    pub(super) fn monitor(&self) -> Result<Option<Duration>, Cause> {
        let config = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.update_config.as_ref());
        read_duration(
            "deploy.update_config.monitor",
            config.and_then(|config| config.monitor.as_deref()),
        )
    }
}

/// The facts in a definition whose variables are as written. Only what can refuse a deployment is read,
/// because Compose leaves the rest in forms of many kinds there; what is a variable says nothing yet.
pub(super) fn facts_as_written(definition: &serde_json::Map<String, serde_json::Value>) -> Facts {
    let decisive = ["scale", "deploy", "pre_start", "pre_stop", "restart"];
    let read = decisive
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), definition.get(key)?.clone())))
        .collect();
    let Ok(service) = Service::deserialize(serde_json::Value::Object(read)) else {
        return Facts {
            replicas: 1,
            ..Facts::default()
        };
    };
    let facts = service.facts(None);
    Facts {
        restart: facts.restart.filter(|restart| !restart.contains('$')),
        ..facts
    }
}

impl RestartPolicy {
    /// As `restart` would have it: `on-failure:3`. Without a condition, nothing is attempted.
    fn written(&self) -> String {
        let condition = self.condition.clone().unwrap_or_default();
        let attempts = self.max_attempts.as_ref().and_then(number).unwrap_or(0);
        if condition.is_empty() || attempts == 0 {
            condition
        } else {
            format!("{condition}:{attempts}")
        }
    }
}

impl Granted {
    /// The name under which the project has it.
    pub(super) fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }
}

impl Port {
    /// The container's port as Docker writes it, and the machine's; empty where Docker chooses.
    pub(super) fn container_and_machine(&self) -> Option<(String, String)> {
        let protocol = self.protocol.as_deref().unwrap_or("tcp");
        let container = format!("{}/{protocol}", self.target?);
        Some((container, self.published.clone().unwrap_or_default()))
    }
}

impl Mount {
    pub(super) fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The path in the container, and what is mounted there; none for an anonymous volume.
    pub(super) fn target_and_source(&self) -> Option<(&str, &str)> {
        Some((self.target.as_deref()?, self.source.as_deref()?))
    }

    /// What of the machine is mounted, and what the container may do with it.
    pub(super) fn bound(&self) -> Option<(&Path, MountAccess)> {
        let source = self.source.as_ref().filter(|_| self.kind == "bind")?;
        let access = match self.read_only {
            true => MountAccess::Read,
            false => MountAccess::Write,
        };
        Some((Path::new(source), access))
    }

    /// What it is, if the container may write to it.
    fn writable(&self) -> Option<String> {
        let source = self.source.as_ref().filter(|_| !self.read_only)?;
        match self.kind.as_str() {
            "volume" => Some(format!("volume `{source}`")),
            "bind" => Some(format!("directory `{source}`")),
            _ => None,
        }
    }
}

/// Compose leaves numbers as strings where the project is not interpolated.
pub(super) fn number(value: &serde_json::Value) -> Option<u32> {
    match value {
        serde_json::Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub(super) fn read_duration(key: &str, text: Option<&str>) -> Result<Option<Duration>, Cause> {
    text.map(|text| {
        duration::parse(text).map_err(|error| invalid(format!("{key}: `{text}` is {error}")))
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_seen_of_either_kind() {
        let hooks = |written: &str| {
            let service: Service = serde_json::from_str(written).expect("a service");
            let facts = service.facts(None);
            (facts.pre_start_hooks, facts.pre_stop_hooks)
        };
        let hook = r#"[{"command":["/migrate"]}]"#;
        assert_eq!(hooks("{}"), (false, false));
        assert_eq!(
            hooks(&format!(r#"{{"post_start":{hook}}}"#)),
            (false, false)
        );
        assert_eq!(hooks(&format!(r#"{{"pre_start":{hook}}}"#)), (true, false));
        assert_eq!(hooks(&format!(r#"{{"pre_stop":{hook}}}"#)), (false, true));
    }

    #[test]
    fn services_that_share_a_namespace_of_the_container_are_found() {
        let file = |name: &str| -> File {
            let text = format!(
                r#"{{"name":"shop","services":{{
                    "app":{{{name}"network_mode":"service:vpn"}},
                    "by_service":{{"network_mode":"service:app"}},
                    "by_name":{{"pid":"container:shop-app-1"}},
                    "by_fixed_name":{{"ipc":"container:fixed"}},
                    "vpn":{{"ipc":"shareable","network_mode":"host","pid":"service:application"}}
                }}}}"#
            );
            serde_json::from_str(&text).expect("a project")
        };
        let sharers = |file: &File| file.sharers("app", &file.services["app"]);
        let found = ["service `by_name`", "service `by_service`"];
        assert_eq!(sharers(&file("")), found);
        let found = ["service `by_fixed_name`", "service `by_service`"];
        assert_eq!(sharers(&file(r#""container_name":"fixed","#)), found);
    }

    #[test]
    fn the_restart_policy_is_the_one_that_compose_takes() {
        for (written, expected) in [
            ("{}", None),
            (r#"{"restart":"always"}"#, Some("always")),
            (
                r#"{"restart":"sometimes","deploy":{"restart_policy":{"condition":"any"}}}"#,
                Some("any"),
            ),
            (
                r#"{"restart":"always","deploy":{"restart_policy":{"max_attempts":3}}}"#,
                Some(""),
            ),
            (
                r#"{"deploy":{"restart_policy":{"condition":"on-failure","max_attempts":3}}}"#,
                Some("on-failure:3"),
            ),
            (
                r#"{"deploy":{"restart_policy":{"condition":"any","max_attempts":3}}}"#,
                Some("any:3"),
            ),
        ] {
            let service: Service = serde_json::from_str(written).expect("a service");
            assert_eq!(service.restart().as_deref(), expected, "{written}");
        }
    }
}
