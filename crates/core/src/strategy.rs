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
    /// Whether two containers may write to the same volumes and host directories for a while.
    pub shared_volumes_allowed: bool,
    /// The lines of the Compose file that give its container a fixed address.
    pub fixed_addresses: Vec<String>,
    /// The lines of the Compose file by which it shares namespaces or volumes with another container.
    pub shared_with: Vec<String>,
    /// Whether it has `pre_start` hooks.
    pub pre_start_hooks: bool,
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
    /// Start the new container beside the old one, then stop the old one.
    StartFirst {
        /// What to know of that, each a sentence fragment.
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
    if let Some(refused) = refusal_of_replicas(facts) {
        return Some(refused);
    }
    if let Some(refused) = refusal_of_start_first(facts) {
        return Some(refused);
    }
    if facts.pre_start_hooks {
        return Some((
            "it has `pre_start` hooks, which Compose runs in containers of their own, and cutover lets Compose create the service's container alone".to_owned(),
            "let cutover run the command before anything is stopped: as `release_command` in the configuration of cutover, or as a service of the Compose file that this one waits for with `service_completed_successfully`",
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

/// The lines of the Compose file that two containers at a time cannot both have, each with the reason.
fn forbids_two(facts: &Facts) -> Vec<String> {
    let mut forbids: Vec<String> = Vec::new();
    let mut line = |line: &str, why: &str| forbids.push(format!("`{line}`: {why}"));
    for port in &facts.published_ports {
        let why = "only one container at a time can publish a port";
        line(&format!("ports: {port}"), why);
    }
    if facts.host_network {
        let why = "two containers on the host's network would want the same ports";
        line("network_mode: host", why);
    }
    if let Some(name) = &facts.container_name {
        let why = "only one container at a time can have a name";
        line(&format!("container_name: {name}"), why);
    }
    for address in &facts.fixed_addresses {
        line(address, "only one container at a time can have an address");
    }
    for shared in &facts.shared_with {
        line(
            shared,
            "the two go together, and one of them would be cut off from the other",
        );
    }
    forbids
}

/// Two replicas of one release run beside each other all the time.
fn refusal_of_replicas(facts: &Facts) -> Option<(String, &'static str)> {
    if facts.replicas == 0 {
        return Some((
            "it asks for 0 replicas, so there is nothing to deploy".to_owned(),
            "set `deploy.replicas` (or `scale`) in the Compose file to 1 or more, or stop the service with `docker compose stop`",
        ));
    }
    // Each replica takes a port of a range that is free.
    let is_enough = |port: &String| {
        let (first, last) = port.split_once('-').unwrap_or((port, port));
        let ends = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
        ends.is_none_or(|(first, last)| last.saturating_sub(first) + 1 >= facts.replicas)
    };
    let of_replicas = Facts {
        host_network: false,
        published_ports: facts
            .published_ports
            .iter()
            .filter(|port| !is_enough(port))
            .cloned()
            .collect(),
        ..facts.clone()
    };
    let forbids = forbids_two(&of_replicas);
    if facts.replicas == 1 || forbids.is_empty() {
        return None;
    }
    Some((
        format!(
            "it asks for {} replicas, which its definition in the Compose file forbids ({})",
            facts.replicas,
            forbids.join("; ")
        ),
        "take that out of the Compose file (a range such as `8080-8089:80` gives each replica a port of its own), or set `deploy.replicas: 1` (or `scale: 1`)",
    ))
}

fn refusal_of_start_first(facts: &Facts) -> Option<(String, &'static str)> {
    if !facts.start_first_wanted {
        return None;
    }
    let forbids = forbids_two(facts);
    if !forbids.is_empty() {
        return Some((
            format!(
                "it asks for `order: start-first`, which its definition in the Compose file forbids ({})",
                forbids.join("; ")
            ),
            "take that out of the Compose file, or set `order = \"stop-first\"` for the service in the configuration of cutover",
        ));
    }
    if !facts.writable_mounts.is_empty() && !facts.shared_volumes_allowed {
        return Some((shared_volumes(&facts.writable_mounts), SHARED_VOLUMES_HINT));
    }
    None
}

/// What to do about volumes that two containers would write to.
pub const SHARED_VOLUMES_HINT: &str = "where the application allows for a second one beside it, say so with `shared_volumes = \"allowed\"` for the service in the configuration of cutover; otherwise set `order = \"stop-first\"`, or mount it with `:ro`";

/// That two containers would write to these `volumes`, a sentence fragment.
#[must_use]
pub fn shared_volumes(volumes: &[String]) -> String {
    format!(
        "it asks for `order: start-first`, and for a while two containers would write to {}",
        volumes.join(", ")
    )
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
    let written = facts.writable_mounts.join(", ");
    if facts.start_first_wanted {
        let mut because = vec![
            "`order` asks for it: the old container serves until the new one is proven".to_owned(),
        ];
        if !written.is_empty() {
            because.push(format!(
                "`shared_volumes` allows that both write to {written} meanwhile"
            ));
        }
        return Strategy::StartFirst { because };
    }
    let mut because = forbids_two(facts);
    if !written.is_empty() {
        because.push(format!("two containers would write to {written}"));
    }
    if because.is_empty() {
        because.push(
            "`order` asks for nothing else; nothing in the Compose file stands against `start-first`, with which the old container serves until the new one is proven"
                .to_owned(),
        );
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
                "`ports: 8080`: only one container at a time can publish a port",
                "`container_name: shop`: only one container at a time can have a name",
                "two containers would write to volume `data`",
            ]
        );
        assert!(matches!(strategy(&one()), Strategy::StopFirst { because } if because.len() == 1));
    }

    #[test]
    fn replicas_need_what_each_of_them_can_have() {
        let with = |replicas, ports: &str, name: Option<&str>| {
            let facts = Facts {
                replicas,
                published_ports: vec![ports.to_owned()],
                container_name: name.map(str::to_owned),
                ..Facts::default()
            };
            match strategy(&facts) {
                Strategy::Refused { why, .. } => Some(why),
                _ => None,
            }
        };
        assert_eq!(with(1, "8080", Some("shop")), None);
        assert_eq!(with(3, "8080-8082", None), None);
        for (ports, name, line) in [
            ("8080", None, "`ports: 8080`"),
            ("8080-8081", None, "`ports: 8080-8081`"),
            ("8080-8082", Some("shop"), "`container_name: shop`"),
        ] {
            let why = with(3, ports, name).expect("refused");
            assert!(why.contains("3 replicas") && why.contains(line), "{why}");
        }
    }

    #[test]
    fn what_is_not_supported_yet_is_refused_with_what_to_change() {
        for (facts, word) in [
            (
                Facts {
                    replicas: 0,
                    ..one()
                },
                "0 replicas",
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

    #[test]
    fn start_first_is_refused_with_the_line_that_forbids_it() {
        let wanted = || Facts {
            start_first_wanted: true,
            ..one()
        };
        for (facts, line) in [
            (
                Facts {
                    published_ports: vec!["8080".into()],
                    ..wanted()
                },
                "(`ports: 8080`: ",
            ),
            (
                Facts {
                    container_name: Some("shop".into()),
                    ..wanted()
                },
                "(`container_name: shop`: ",
            ),
            (
                Facts {
                    host_network: true,
                    ..wanted()
                },
                "(`network_mode: host`: ",
            ),
            (
                Facts {
                    fixed_addresses: vec!["ipv4_address: 10.0.0.2".into()],
                    ..wanted()
                },
                "(`ipv4_address: 10.0.0.2`: ",
            ),
            (
                Facts {
                    shared_with: vec!["network_mode: service:vpn".into()],
                    ..wanted()
                },
                "(`network_mode: service:vpn`: ",
            ),
            (
                Facts {
                    writable_mounts: vec!["volume `data`".into()],
                    ..wanted()
                },
                "two containers would write to volume `data`",
            ),
        ] {
            let Strategy::Refused { why, .. } = strategy(&facts) else {
                panic!("{facts:?} is not refused")
            };
            assert!(why.contains(line), "{why}");
        }
        let allowed = Facts {
            writable_mounts: vec!["volume `data`".into()],
            shared_volumes_allowed: true,
            ..wanted()
        };
        let Strategy::StartFirst { because } = strategy(&allowed) else {
            panic!("refused")
        };
        assert!(because[1].contains("volume `data`"), "{because:?}");
        assert!(
            matches!(strategy(&wanted()), Strategy::StartFirst { because } if because.len() == 1)
        );
    }
}
