//! What a project says that decides about how a service is switched.

use std::collections::BTreeSet;

use cutover_core::strategy::Facts;
use serde::Deserialize as _;

use super::file::{Dependency, File, Mount, RestartPolicy, Service, number};
use crate::settings;

impl File {
    /// What decides about how `described`, which is service `name`, is switched.
    pub(super) fn facts(
        &self,
        name: &str,
        service: &settings::Service,
        described: &Service,
    ) -> Facts {
        Facts {
            sharers: self.sharers_by_name(name, described),
            waits_for_its_end: self.waits_for_the_end_of(name),
            shared_volumes_allowed: service.shared_volumes == settings::SharedVolumes::Allowed,
            shared_with: self.shared_with(name, described),
            ..described.facts(service.order)
        }
    }

    /// The lines by which `name` and another service of the project go together.
    fn shared_with(&self, name: &str, described: &Service) -> Vec<String> {
        let own = described.sharing_lines().map(|(line, _)| line);
        let of_others = self.services.iter().flat_map(|(other, one)| {
            let lines = one.sharing_lines().filter(|(_, with)| *with == name);
            lines.map(move |(line, _)| format!("{line} of service {other}"))
        });
        own.chain(of_others).collect()
    }

    /// The services that start only when `name` has ended well: it is a job to them.
    pub(super) fn waits_for_the_end_of(&self, name: &str) -> Vec<String> {
        let waits = |other: &Service| {
            let on = other.depends_on.get(name);
            on.is_some_and(Dependency::waits_for_its_end)
        };
        let waiting = self.services.iter().filter(|(_, other)| waits(other));
        waiting
            .map(|(other, _)| format!("service `{other}`"))
            .collect()
    }

    /// The services that `name` is to be restarted with.
    pub(super) fn restarts_with(&self, name: &str) -> Vec<String> {
        let described = self.services.get(name).into_iter();
        let on = described.flat_map(|one| &one.depends_on);
        let on = on.filter(|(_, dependency)| dependency.restart);
        on.map(|(on, _)| on.clone()).collect()
    }

    /// The services outside `names` that one of them waits for, or that one of those waits for, until they have ended
    /// well.
    pub(super) fn jobs_of(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        let mut jobs = BTreeSet::new();
        let mut open: Vec<&String> = names.iter().collect();
        while let Some(described) = open.pop().map(|name| self.services.get(name)) {
            for (on, dependency) in described.iter().flat_map(|one| &one.depends_on) {
                let is_job = dependency.waits_for_its_end() && self.services.contains_key(on);
                if is_job && !names.contains(on) && jobs.insert(on.clone()) {
                    open.push(on);
                }
            }
        }
        jobs
    }

    /// The services that run in a namespace of the container of `name`, which they know by its name. Docker ties them to
    /// the container, not to the service: with the next one they would have lost it, and Compose does not make them again.
    fn sharers_by_name(&self, name: &str, described: &Service) -> Vec<String> {
        let container = match &described.container_name {
            Some(container) => format!("container:{container}"),
            None => format!("container:{}-{name}-1", self.name),
        };
        let sharing = self.services.iter().filter(|(_, other)| {
            let mut modes = other.shared_namespaces();
            modes.any(|mode| *mode == container)
        });
        sharing
            .map(|(other, _)| format!("service `{other}`"))
            .collect()
    }

    /// The services whose containers' namespaces `name` runs in, or whose volumes it takes: Compose makes its container again
    /// with theirs.
    pub(super) fn shares_with(&self, name: &str) -> Vec<String> {
        let Some(described) = self.services.get(name) else {
            return Vec::new();
        };
        let modes = described.shared_namespaces();
        let services = modes.filter_map(|mode| mode.strip_prefix("service:"));
        // `NAME` or `NAME:ro`; another's container is `container:NAME`.
        let from = described.volumes_from.iter();
        let from = from.filter(|one| !one.starts_with("container:"));
        let from = from.filter_map(|one| one.split(':').next());
        services.chain(from).map(str::to_owned).collect()
    }

    /// The services outside `names` that share with one of them so, or with one of those.
    pub(super) fn sharers_of(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        let mut sharers = BTreeSet::new();
        loop {
            let known = |one: &String| names.contains(one) || sharers.contains(one);
            let more = self
                .services
                .keys()
                .filter(|name| !known(name) && self.shares_with(name).iter().any(known));
            let more: BTreeSet<String> = more.cloned().collect();
            if more.is_empty() {
                return sharers;
            }
            sharers.extend(more);
        }
    }
}

impl Service {
    /// `service:NAME` or `container:NAME`, each.
    fn shared_namespaces(&self) -> impl Iterator<Item = &String> {
        [&self.network_mode, &self.ipc, &self.pid]
            .into_iter()
            .flatten()
    }

    /// The lines by which it shares something with another container, each with the service or the container's name.
    fn sharing_lines(&self) -> impl Iterator<Item = (String, &str)> {
        let modes = [
            ("network_mode", &self.network_mode),
            ("ipc", &self.ipc),
            ("pid", &self.pid),
        ];
        let modes = modes.into_iter().filter_map(|(key, mode)| {
            let mode = mode.as_deref()?;
            let (kind, with) = mode.split_once(':')?;
            matches!(kind, "service" | "container").then(|| (format!("{key}: {mode}"), with))
        });
        let from = self.volumes_from.iter().map(|from| {
            let with = from.strip_prefix("container:").unwrap_or(from);
            let with = with.split(':').next().unwrap_or_default();
            (format!("volumes_from: {from}"), with)
        });
        modes.chain(from)
    }

    /// The lines that fix an address of its container.
    fn fixed_addresses(&self) -> Vec<String> {
        let keys = ["ipv4_address", "ipv6_address", "mac_address"];
        let networks = self.plain.get("networks").and_then(|all| all.as_object());
        let networks = networks.into_iter().flatten().map(|(_, network)| network);
        let lines = |of: &serde_json::Value| {
            let line = |key: &&str| Some(format!("{key}: {}", of.get(key)?.as_str()?));
            keys.iter().filter_map(line).collect::<Vec<_>>()
        };
        let own = self.plain.get("mac_address").and_then(|it| it.as_str());
        let own = own.map(|address| format!("mac_address: {address}"));
        own.into_iter().chain(networks.flat_map(lines)).collect()
    }

    /// Whether a proxy that reads Docker's labels, or the environment of its containers, follows it.
    pub(super) fn is_followed_by_a_proxy(&self) -> bool {
        let labels = self.plain.get("labels").and_then(|all| all.as_object());
        let mut labels = labels.into_iter().flatten().map(|(label, _)| label);
        labels.any(|label| label.starts_with("traefik.") || label.starts_with("caddy"))
            || self.environment.contains_key("VIRTUAL_HOST")
    }

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
            shared_volumes_allowed: false,
            fixed_addresses: self.fixed_addresses(),
            shared_with: Vec::new(),
            pre_start_hooks: !self.pre_start.is_empty(),
            sharers: Vec::new(),
            waits_for_its_end: Vec::new(),
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
        let config = self.update_config();
        config.and_then(|config| config.order.as_deref()) == Some("start-first")
    }
}

/// The facts in a definition whose variables are as written. Only what can refuse a deployment is read,
/// because Compose leaves the rest in forms of many kinds there; what is a variable says nothing yet.
pub(super) fn facts_as_written(definition: &serde_json::Map<String, serde_json::Value>) -> Facts {
    let decisive = [
        "scale",
        "deploy",
        "pre_start",
        "restart",
        "container_name",
        "network_mode",
    ];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_before_the_start_are_seen() {
        for (key, expected) in [
            ("post_start", false),
            ("pre_stop", false),
            ("pre_start", true),
        ] {
            let written = format!(r#"{{"{key}":[{{"command":["/migrate"]}}]}}"#);
            let service: Service = serde_json::from_str(&written).expect("a service");
            assert_eq!(service.facts(None).pre_start_hooks, expected, "{key}");
        }
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
                    "backup":{{"volumes_from":["db:ro","container:other"]}},
                    "vpn":{{"ipc":"shareable","network_mode":"host","pid":"service:application"}}
                }}}}"#
            );
            serde_json::from_str(&text).expect("a project")
        };
        let by_name = |file: &File| file.sharers_by_name("app", &file.services["app"]);
        assert_eq!(by_name(&file("")), ["service `by_name`"]);
        let fixed = file(r#""container_name":"fixed","#);
        assert_eq!(by_name(&fixed), ["service `by_fixed_name`"]);
        let sharers = |of: &str| file("").sharers_of(&BTreeSet::from([of.to_owned()]));
        assert_eq!(sharers("app"), BTreeSet::from(["by_service".to_owned()]));
        let both = ["app", "by_service"].map(str::to_owned);
        assert_eq!(
            sharers("vpn"),
            BTreeSet::from(both),
            "one that shares with one that shares"
        );
        assert_eq!(sharers("db"), BTreeSet::from(["backup".to_owned()]));
        assert_eq!(sharers("other"), BTreeSet::new());
    }

    #[test]
    fn a_service_whose_end_others_wait_for_is_seen() {
        let text = r#"{"name":"shop","services":{
            "migrate":{},
            "web":{"depends_on":{
                "db":{"condition":"service_healthy"},
                "migrate":{"condition":"service_completed_successfully"}
            }},
            "db":{}
        }}"#;
        let file: File = serde_json::from_str(text).expect("a project");
        assert_eq!(file.waits_for_the_end_of("migrate"), ["service `web`"]);
        assert_eq!(file.waits_for_the_end_of("db"), [""; 0]);
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
