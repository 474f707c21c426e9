//! How a service would be switched, and why: said before anything is done.

/// What decides about the strategy, as read from the Compose file and the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Host ports that the service publishes.
    pub published_ports: Vec<String>,
    /// The fixed name of its container, if it has one.
    pub container_name: Option<String>,
    /// Volumes and host directories that it may write to.
    pub writable_mounts: Vec<String>,
    /// Whether it uses the host's network.
    pub host_network: bool,
    /// How many containers it wants.
    pub replicas: u32,
    /// Whether the file or the configuration asks for `order: start-first`.
    pub start_first_wanted: bool,
    /// Whether it has `pre_start` hooks.
    pub pre_start_hooks: bool,
    /// Whether it has `pre_stop` hooks.
    pub pre_stop_hooks: bool,
    /// Services of the project that run in a namespace of its container.
    pub sharers: Vec<String>,
    /// Services of the project that wait for it to end well (`service_completed_successfully`).
    pub waits_for_its_end: Vec<String>,
    /// Its restart policy as written, if one is: `deploy.restart_policy` in the form of `restart`, or
    /// `restart`.
    pub restart: Option<String>,
}

/// Whether Docker has the restart policy that `restart` names, with Compose's own words for three of them.
/// Compose passes others on as they are, and Docker would refuse them only after the switch.
fn is_restart_policy(restart: &str) -> bool {
    let (name, retries) = match restart.split_once(':') {
        Some((name, retries)) => (name, Some(retries)),
        None => (restart, None),
    };
    match (name, retries) {
        ("on-failure", Some(retries)) => retries.parse::<u32>().is_ok(),
        ("" | "no" | "none" | "always" | "any" | "unless-stopped" | "on-failure", None) => true,
        _ => false,
    }
}

/// What a deployment would do, with the reasons, or why it would be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Stop the old container, then start the new one.
    StopFirst {
        /// Why not the other way round, each a sentence fragment.
        because: Vec<String>,
    },
    /// It would be refused with nothing changed.
    Refused {
        /// Why, a sentence fragment.
        why: String,
        /// What to change.
        hint: String,
    },
}

/// Why it would be refused, and what to change.
fn refusal(facts: &Facts) -> Option<(String, &'static str)> {
    if !facts.waits_for_its_end.is_empty() {
        return Some((
            format!(
                "it is a job: {} waits for it to end (`service_completed_successfully`), so it never stays up",
                facts.waits_for_its_end.join(", ")
            ),
            "deploy the service that waits, and leave the job out of the configuration of cutover: where its image names the tag variable of that service, it runs before each release",
        ));
    }
    if facts.replicas != 1 {
        return Some((
            format!(
                "it asks for {} replicas, and cutover deploys exactly one for now",
                facts.replicas
            ),
            "set `deploy.replicas: 1` (or `scale: 1`) in the Compose file",
        ));
    }
    if facts.start_first_wanted {
        return Some((
            "it asks for `order: start-first`, which cutover does not do yet".to_owned(),
            "take `deploy.update_config.order: start-first` out of the Compose file, or set `order = \"stop-first\"` for the service in the configuration of cutover",
        ));
    }
    if facts.pre_start_hooks {
        return Some((
            "it has `pre_start` hooks, which run in containers of their own that cutover does not follow".to_owned(),
            "take the hooks out of the Compose file, and do their work in the image before the process begins",
        ));
    }
    if facts.pre_stop_hooks {
        return Some((
            "it has `pre_stop` hooks, which would run before cutover has decided to stop the container".to_owned(),
            "take the hooks out of the Compose file, and do their work when the process gets its stop signal",
        ));
    }
    if let Some(restart) = facts
        .restart
        .as_deref()
        .filter(|name| !is_restart_policy(name))
    {
        return Some((
            format!("its restart policy `{restart}` is none that Docker has"),
            "write `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3` for `restart` in the Compose file; in `deploy.restart_policy`, which goes before it, `max_attempts` needs `condition: on-failure`",
        ));
    }
    if !facts.sharers.is_empty() {
        return Some((
            format!(
                "its container's namespaces are shared by {}, which would be cut off when it is replaced",
                facts.sharers.join(", ")
            ),
            "take `network_mode`, `ipc` and `pid` that name this service out of the other services in the Compose file, for example by putting them on a common network",
        ));
    }
    None
}

/// Decides how a service is switched.
#[must_use]
pub fn strategy(facts: &Facts) -> Strategy {
    if let Some((why, hint)) = refusal(facts) {
        return Strategy::Refused {
            why,
            hint: hint.to_owned(),
        };
    }
    let mut because = Vec::new();
    if !facts.published_ports.is_empty() {
        because.push(format!(
            "only one container at a time can publish port {}",
            facts.published_ports.join(", ")
        ));
    }
    if facts.host_network {
        because.push("two containers on the host's network would want the same ports".to_owned());
    }
    if let Some(name) = &facts.container_name {
        because.push(format!(
            "only one container at a time can be named `{name}`"
        ));
    }
    if !facts.writable_mounts.is_empty() {
        because.push(format!(
            "two containers would write to {}",
            facts.writable_mounts.join(", ")
        ));
    }
    if because.is_empty() {
        because.push("it is the only order that cutover knows so far".to_owned());
    }
    Strategy::StopFirst { because }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Facts {
        Facts {
            replicas: 1,
            ..Facts::default()
        }
    }

    #[test]
    fn the_reasons_are_named() {
        let facts = Facts {
            published_ports: vec!["8080".into()],
            container_name: Some("shop".into()),
            writable_mounts: vec!["volume `data`".into()],
            ..one()
        };
        let Strategy::StopFirst { because } = strategy(&facts) else {
            panic!("refused")
        };
        assert_eq!(
            because,
            [
                "only one container at a time can publish port 8080",
                "only one container at a time can be named `shop`",
                "two containers would write to volume `data`",
            ]
        );
        assert!(matches!(strategy(&one()), Strategy::StopFirst { because } if because.len() == 1));
    }

    #[test]
    fn what_is_not_supported_yet_is_refused_with_what_to_change() {
        for (facts, word) in [
            (
                Facts {
                    replicas: 3,
                    ..one()
                },
                "replicas",
            ),
            (
                Facts {
                    replicas: 0,
                    ..one()
                },
                "replicas",
            ),
            (
                Facts {
                    start_first_wanted: true,
                    ..one()
                },
                "start-first",
            ),
            (
                Facts {
                    pre_stop_hooks: true,
                    ..one()
                },
                "pre_stop",
            ),
            (
                Facts {
                    pre_start_hooks: true,
                    ..one()
                },
                "pre_start",
            ),
            (
                Facts {
                    sharers: vec!["service `sidecar`".into()],
                    ..one()
                },
                "shared by service `sidecar`",
            ),
            (
                Facts {
                    waits_for_its_end: vec!["service `web`".into()],
                    ..one()
                },
                "it is a job: service `web` waits",
            ),
            (
                Facts {
                    restart: Some("any:3".into()),
                    ..one()
                },
                "restart policy",
            ),
        ] {
            let Strategy::Refused { why, hint } = strategy(&facts) else {
                panic!("{facts:?} is not refused")
            };
            assert!(why.contains(word), "{why}");
            assert!(!hint.is_empty());
        }
    }
}
