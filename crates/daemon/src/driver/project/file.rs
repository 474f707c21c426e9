//! The part of Compose's JSON that is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_core::cause::Cause;
use cutover_core::duration;
use serde::{Deserialize, Serialize};

use super::contents::MountAccess;
use super::hooks::{Hooks, WrittenHook};
use super::{Rollout, invalid};
use crate::docker::effects::STOP_TIMEOUT_DEFAULT;
use crate::driver::staging::bodies::DeclaredVolume;
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
    driver: Option<String>,
    #[serde(default)]
    driver_opts: BTreeMap<String, serde_json::Value>,
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
    pub(super) scale: Option<serde_json::Value>,
    pub(super) deploy: Option<Deploy>,
    #[serde(default)]
    pub(super) pre_start: Vec<serde_json::Value>,
    #[serde(default)]
    pub(super) post_start: Vec<WrittenHook>,
    #[serde(default)]
    pub(super) pre_stop: Vec<WrittenHook>,
    stop_grace_period: Option<String>,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
    pub(super) container_name: Option<String>,
    #[serde(default)]
    pub(super) volumes: Vec<Mount>,
    #[serde(default)]
    pub(super) depends_on: BTreeMap<String, Dependency>,
    pub(super) network_mode: Option<String>,
    pub(super) ipc: Option<String>,
    pub(super) pid: Option<String>,
    #[serde(default)]
    pub(super) volumes_from: Vec<String>,
    pub(super) restart: Option<String>,
    #[serde(default)]
    pub(super) secrets: Vec<Granted>,
    #[serde(default)]
    pub(super) configs: Vec<Granted>,
    /// What is read by its name only where it is needed: labels, command, user.
    #[serde(flatten)]
    pub(super) plain: serde_json::Map<String, serde_json::Value>,
}

/// What a service waits for before it starts.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Dependency {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<String>,
    /// Whether the service is restarted when that one is.
    #[serde(default)]
    pub(super) restart: bool,
    /// Whether the service can do without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<bool>,
}

/// A secret or a config that a service gets.
#[derive(Debug, Deserialize)]
pub(super) struct Granted {
    pub(super) source: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Port {
    pub(super) target: Option<u32>,
    pub(super) published: Option<String>,
    pub(super) protocol: Option<String>,
    host_ip: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Mount {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) source: Option<String>,
    pub(super) target: Option<String>,
    #[serde(default)]
    pub(super) read_only: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Deploy {
    pub(super) replicas: Option<serde_json::Value>,
    pub(super) update_config: Option<UpdateConfig>,
    rollback_config: Option<serde_json::Value>,
    pub(super) restart_policy: Option<RestartPolicy>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RestartPolicy {
    pub(super) condition: Option<String>,
    pub(super) max_attempts: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UpdateConfig {
    pub(super) order: Option<String>,
    pub(super) monitor: Option<String>,
    parallelism: Option<serde_json::Value>,
    delay: Option<String>,
    failure_action: Option<String>,
    max_failure_ratio: Option<serde_json::Value>,
}

impl File {
    /// The volumes that Compose may have to create.
    pub(super) fn declared_volumes(&self) -> BTreeMap<String, DeclaredVolume> {
        let volume = |(key, volume): (&String, &Volume)| {
            let text = |value: &serde_json::Value| match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let options = volume.driver_opts.iter();
            let declared = DeclaredVolume {
                driver: volume.driver.clone().unwrap_or_default(),
                options: options
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
            };
            (volume.name.clone().unwrap_or_else(|| key.clone()), declared)
        };
        self.volumes.iter().map(volume).collect()
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
}

impl Service {
    /// What it depends on, as a Compose file has it.
    pub(super) fn depends_on(&self) -> BTreeMap<String, serde_json::Value> {
        let all = self.depends_on.iter();
        let all = all.filter_map(|(on, how)| Some((on.clone(), serde_json::to_value(how).ok()?)));
        all.collect()
    }

    /// Those of its hooks that cutover may have to run.
    pub(super) fn hooks(&self) -> Result<Hooks, Cause> {
        let grace = read_duration("stop_grace_period", self.stop_grace_period.as_deref())?;
        Ok(Hooks {
            pre_stop: self.pre_stop.iter().map(WrittenHook::command).collect(),
            post_start: self.post_start.iter().map(WrittenHook::command).collect(),
            stop_grace: grace.unwrap_or(STOP_TIMEOUT_DEFAULT),
        })
    }

    pub(super) fn update_config(&self) -> Option<&UpdateConfig> {
        self.deploy.as_ref()?.update_config.as_ref()
    }

    pub(super) fn monitor(&self) -> Result<Option<Duration>, Cause> {
        let config = self.update_config();
        read_duration(
            "deploy.update_config.monitor",
            config.and_then(|config| config.monitor.as_deref()),
        )
    }

    /// Names the keys about failures that are not followed, if there are any.
    pub(super) fn not_followed(&self, name: &str) -> Option<String> {
        let config = self.update_config();
        let action = config.and_then(|config| config.failure_action.as_deref());
        let action = action.filter(|action| *action != "rollback");
        let ratio = config.and_then(|config| config.max_failure_ratio.as_ref());
        let ratio = ratio.filter(|ratio| ratio.as_f64() != Some(0.0));
        let back = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.rollback_config.as_ref());
        let keys = [
            action.map(|action| format!("update_config.failure_action: {action}")),
            ratio.map(|ratio| format!("update_config.max_failure_ratio: {ratio}")),
            back.map(|_| "rollback_config".to_owned()),
        ];
        let keys: Vec<String> = keys.into_iter().flatten().collect();
        (!keys.is_empty()).then(|| {
            format!(
                "not followed under `deploy` of the service `{name}`: `{}`; if one replica fails, all return to the previous release at once",
                keys.join("`, `")
            )
        })
    }

    /// How its replicas are switched, as far as the configuration of cutover says nothing else.
    pub(super) fn rollout(&self, service: &settings::Service) -> Result<Rollout, Cause> {
        let config = self.update_config();
        let parallelism = config.and_then(|config| config.parallelism.as_ref());
        let delay = config.and_then(|config| config.delay.as_deref());
        let delay = read_duration("deploy.update_config.delay", delay)?;
        let parallelism = service.parallelism.or(parallelism.and_then(number));
        Ok(Rollout {
            parallelism: parallelism.unwrap_or(1),
            delay: service.delay.or(delay).unwrap_or_default(),
        })
    }
}

impl Dependency {
    /// Whether it must have ended well.
    pub(super) fn waits_for_its_end(&self) -> bool {
        self.condition.as_deref() == Some("service_completed_successfully")
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

    /// Where the host has it, as a person would write it; none if it is no TCP port, or one that Docker chooses.
    pub(super) fn on_the_host(&self) -> Option<String> {
        let is_tcp = self.protocol.as_deref().is_none_or(|it| it == "tcp");
        let port = self
            .published
            .as_deref()
            .filter(|port| !matches!(*port, "" | "0"));
        let port = port.filter(|_| is_tcp)?;
        Some(match self.host_ip.as_deref() {
            None | Some("") => port.to_owned(),
            Some(address) if address.contains(':') => format!("[{address}]:{port}"),
            Some(address) => format!("{address}:{port}"),
        })
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
    pub(super) fn writable(&self) -> Option<String> {
        match (self.kind.as_str(), self.source.as_ref()) {
            _ if self.read_only => None,
            ("volume", Some(source)) => Some(format!("volume `{source}`")),
            // Compose hands an anonymous volume on to the next container.
            ("volume", None) => Some(format!("the volume at `{}`", self.target.as_ref()?)),
            ("bind", Some(source)) => Some(format!("directory `{source}`")),
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
    fn what_is_not_followed_of_a_failure_is_named() {
        let of = |deploy: &str| {
            let service: Service =
                serde_json::from_str(&format!("{{\"deploy\": {deploy}}}")).expect("a service");
            service.not_followed("app")
        };
        let followed =
            r#"{"update_config": {"failure_action": "rollback", "max_failure_ratio": 0}}"#;
        assert_eq!(of(followed), None);
        assert_eq!(of("{}"), None);
        let other = r#"{"update_config": {"failure_action": "pause", "max_failure_ratio": 0.3}, "rollback_config": {"parallelism": 1}}"#;
        let told = of(other).expect("a warning");
        for key in [
            "failure_action: pause`",
            "max_failure_ratio: 0.3`",
            "rollback_config`",
        ] {
            assert!(told.contains(key), "{told}");
        }
    }
}
