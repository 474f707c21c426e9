//! What a container must pass, from the service's settings and the container's own health check.

use std::fmt;
use std::time::Duration;

use cutover_core::deployment::{Proof, Witness};
use cutover_core::duration::format;
use cutover_core::health::{
    HEALTHY_DEADLINE_MIN, HealthRules, MONITOR_DEFAULT, MONITOR_UNCHECKED_DEFAULT, Source,
    healthy_deadline_default,
};
use jiff::Timestamp;

use crate::docker::Container;
use crate::docker::container::NetworkMode;
use crate::labels;
use crate::probe::http::HttpProber;
use crate::probe::{self, ProbeFailure};
use crate::settings::{CommandProbe, Health, HttpProbe, Service, TcpProbe, UrlProbe};

/// For a service that has no health check.
const HEALTH_CHECK_EXAMPLE: &str = r#"add one to the service in the Compose file (or `health.http` to the configuration), for example
healthcheck:
  test: ["CMD", "wget", "-qO", "/dev/null", "http://127.0.0.1:8080/"]
  interval: 5s"#;

/// What a container must pass. `Display` says it for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    pub(super) health_check: HealthCheckUse,
    pub(super) http: Option<HttpProbe>,
    pub(super) url: Option<UrlProbe>,
    pub(super) tcp: Option<TcpProbe>,
    pub(super) command: Option<CommandProbe>,
    pub(super) rules: HealthRules,
    /// How much of the time for which it must be healthy it is only watched.
    pub(super) monitor: Duration,
    /// Whether all of them would wait where connections to the service do.
    pub(super) are_held_too: bool,
    pub(super) purpose: Purpose,
}

/// Whether the container has a health check that Docker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealthCheckUse {
    /// It counts.
    Counts,
    /// There is none.
    Absent,
}

/// Which container is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One that has yet to prove itself.
    NewRelease,
    /// One that was proven before and runs again.
    Restored,
    /// One that was proven before and may be about to end, because it was told to.
    PerhapsStopping,
}

impl Checks {
    /// The checks for `container`, which need not run yet; `monitor` is what the Compose file says and the
    /// settings do not.
    #[must_use]
    pub fn new(service: &Service, monitor: Option<Duration>, container: &Container) -> Self {
        let monitor = service.monitor.or(monitor);
        // The probes are the configured service's, and not those of others that are released with it.
        let of = container.labels.get(labels::SERVICE);
        let is_lead = of.is_none_or(|of| *of == service.compose_service);
        let health = if is_lead {
            service.health.clone()
        } else {
            Health::default()
        };
        let has_probe = !health.is_empty();
        let health_check = match container.health_check {
            Some(_) => HealthCheckUse::Counts,
            None => HealthCheckUse::Absent,
        };
        let has_check = has_probe || health_check == HealthCheckUse::Counts;
        // Without any check, running for a while is all that can be asked for.
        let monitor = monitor.unwrap_or(if has_check {
            MONITOR_DEFAULT
        } else {
            MONITOR_UNCHECKED_DEFAULT
        });
        let min_healthy_time = service.min_healthy_time.max(monitor);
        let deadline = service.healthy_deadline.unwrap_or_else(|| {
            container
                .health_check
                .map_or(HEALTHY_DEADLINE_MIN, |check| {
                    healthy_deadline_default(
                        check.start_period,
                        check.interval,
                        check.timeout,
                        check.retries,
                    )
                })
        });
        // A configured deadline has room for `min_healthy_time`; what is added to either comes on top.
        let added = match service.healthy_deadline {
            Some(_) => min_healthy_time.saturating_sub(service.min_healthy_time),
            None => min_healthy_time,
        };
        Self {
            health_check,
            http: health.http,
            url: health.url,
            tcp: health.tcp,
            command: health.command,
            rules: HealthRules {
                min_healthy_time,
                healthy_deadline: deadline.saturating_add(added),
            },
            monitor: min_healthy_time.saturating_sub(service.min_healthy_time),
            are_held_too: container.network == NetworkMode::Host && !service.hold_ports.is_empty(),
            purpose: Purpose::NewRelease,
        }
    }

    /// The same checks without the time for which it is only watched: so much is asked before the next service of a release
    /// is switched, and all of them are watched in the end. None where nothing but that time speaks for it.
    #[must_use]
    pub fn without_watching(&self) -> Option<Self> {
        let HealthRules {
            min_healthy_time,
            healthy_deadline,
        } = self.rules;
        let rules = HealthRules {
            min_healthy_time: min_healthy_time.saturating_sub(self.monitor),
            healthy_deadline: healthy_deadline.saturating_sub(self.monitor),
        };
        (!self.sources().is_empty()).then(|| Self {
            rules,
            ..self.clone()
        })
    }

    /// The same as [`Self::without_watching`], without what would be held itself: requests the way that users come in, and
    /// everything where the container is on the host's network.
    #[must_use]
    pub fn while_held(&self) -> Option<Self> {
        if self.are_held_too {
            return None;
        }
        let inside = Self {
            url: None,
            ..self.clone()
        };
        inside.without_watching()
    }

    /// The same checks for a container that was proven before and runs again: it is watched by the same rule, and may
    /// be started again by Docker meanwhile.
    #[must_use]
    pub fn for_rollback(&self) -> Self {
        Self {
            purpose: Purpose::Restored,
            ..self.clone()
        }
    }

    /// The same checks for a container that has run for a while: it passes as soon as it is healthy.
    #[must_use]
    pub fn for_one_that_runs(&self) -> Self {
        Self {
            rules: HealthRules {
                min_healthy_time: Duration::ZERO,
                ..self.rules
            },
            ..self.for_rollback()
        }
    }

    /// The same checks with a shorter deadline.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self {
            rules: HealthRules {
                healthy_deadline: deadline.min(self.rules.healthy_deadline),
                ..self.rules
            },
            ..self.clone()
        }
    }

    /// What to know of a container that nothing but its running speaks for, and what to add to the Compose file.
    #[must_use]
    pub fn without_any(&self) -> Option<(String, String)> {
        if !self.sources().is_empty() {
            return None;
        }
        let found = format!(
            "it has neither a health check nor a probe: a release counts as good when its container has run for {} without ending",
            format(self.rules.min_healthy_time)
        );
        Some((found, HEALTH_CHECK_EXAMPLE.to_owned()))
    }

    /// What is seen of a container that passes and was healthy for the first time so long after its start.
    #[must_use]
    pub fn proof(&self, answered_after: Duration) -> Proof {
        let by = if self.sources().is_empty() {
            Witness::Nobody
        } else {
            Witness::Check
        };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Proof {
            by,
            for_ms: ms(self.rules.min_healthy_time),
            answered_after_ms: ms(answered_after),
        }
    }

    /// The same checks for a previous container that may have been told to stop already: it must live for at
    /// least this long, and if it ends, it is for the caller to start it again.
    #[must_use]
    pub fn perhaps_stopping(&self, least: Duration) -> Self {
        let added = least.saturating_sub(self.rules.min_healthy_time);
        Self {
            rules: HealthRules {
                min_healthy_time: self.rules.min_healthy_time.saturating_add(added),
                healthy_deadline: self.rules.healthy_deadline.saturating_add(added),
            },
            purpose: Purpose::PerhapsStopping,
            ..self.clone()
        }
    }

    /// Whether something is asked besides Docker.
    #[must_use]
    pub fn has_probes(&self) -> bool {
        self.sources()
            .iter()
            .any(|source| *source != Source::HealthCheck)
    }

    /// Whether the probes can be sent to `container`, which need not run yet.
    ///
    /// # Errors
    /// Why not, and which setting to change.
    pub fn sendable(&self, container: &Container) -> Result<(), ProbeFailure> {
        if let Some(url) = &self.url {
            HttpProber::of_url(url)?;
        }
        probe::sendable(self.http.as_ref(), self.tcp.as_ref(), container)
    }

    /// How long the whole trial may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.rules.healthy_deadline
    }

    /// What must be healthy; nothing where running is all.
    pub(super) fn sources(&self) -> Vec<Source> {
        let health_check =
            (self.health_check == HealthCheckUse::Counts).then_some(Source::HealthCheck);
        let http = self.http.as_ref().map(|_| Source::HttpProbe);
        let url = self.url.as_ref().map(|_| Source::UrlProbe);
        let tcp = self.tcp.as_ref().map(|_| Source::TcpProbe);
        let command = self.command.as_ref().map(|_| Source::CommandProbe);
        let all = [health_check, http, url, tcp, command];
        all.into_iter().flatten().collect()
    }

    /// The rules for one life of the container, of which `remaining` is left until the deadline.
    pub(super) fn rules_for(
        &self,
        container: &Container,
        remaining: Duration,
        now: Timestamp,
    ) -> HealthRules {
        let mut rules = HealthRules {
            healthy_deadline: remaining,
            ..self.rules
        };
        // One that was never stopped has run for a while already. Docker's clock is this machine's.
        if self.purpose == Purpose::Restored
            && self.sources().is_empty()
            && let Some(started_at) = container.state.started_at
        {
            let ran = Duration::try_from(now.duration_since(started_at)).unwrap_or_default();
            rules.min_healthy_time = rules.min_healthy_time.saturating_sub(ran);
        }
        rules
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut checks = Vec::new();
        if self.health_check == HealthCheckUse::Counts {
            checks.push("its health check".to_owned());
        }
        if let Some(http) = &self.http {
            let port = http
                .port
                .map(|port| format!(" port {port}"))
                .unwrap_or_default();
            checks.push(format!("an HTTP probe of{port} {}", http.path));
        }
        if let Some(url) = &self.url {
            checks.push(format!("a probe of {}", url.url));
        }
        if let Some(command) = &self.command {
            let program = command.command.first().map_or("", String::as_str);
            checks.push(format!("the command `{program}` in it"));
        }
        if let Some(tcp) = &self.tcp {
            checks.push(format!("a TCP probe of port {}", tcp.port));
        }
        let HealthRules {
            min_healthy_time,
            healthy_deadline,
        } = self.rules;
        if checks.is_empty() {
            return write!(
                f,
                "that it runs for {} (it has no health check and no probe)",
                format(min_healthy_time)
            );
        }
        f.write_str(&checks.join(" and "))?;
        if !min_healthy_time.is_zero() {
            write!(f, " for {}", format(min_healthy_time))?;
        }
        write!(f, " within {}", format(healthy_deadline))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use cutover_core::names::ServiceName;
    use serde_json::json;

    use super::*;

    fn container(health_check: serde_json::Value) -> Container {
        let answer = json!({"Id": "c", "Config": {"Healthcheck": health_check}});
        let answer = serde_json::from_value(answer).expect("bollard reads it");
        Container::from_docker(answer).expect("it has an id")
    }

    /// By default everybody is watched for a while, and nobody is called healthy whom nobody asked.
    #[test]
    fn a_release_is_watched_by_default_and_longer_where_nothing_can_be_asked() {
        let name = ServiceName::new("app").expect("a name");
        let service = Service::new(name, vec![PathBuf::from("compose.yaml")]);
        let with = container(json!({"Test": ["CMD", "true"]}));
        let without = container(json!(null));
        let seen = |of: &Container, monitor| {
            let checks = Checks::new(&service, monitor, of);
            let back = checks.for_rollback().proof(Duration::ZERO);
            let seen = checks.proof(Duration::ZERO);
            assert_eq!(back, seen, "what comes back is watched alike");
            seen.to_string()
        };
        assert_eq!(seen(&with, None), "healthy for 5 s");
        assert_eq!(seen(&without, None), "ran for 10 s; it has no health check");
        let compose = Some(Duration::from_secs(30));
        assert_eq!(seen(&with, compose), "healthy for 30 s");
        let checks = Checks::new(&service, None, &with);
        assert!(checks.without_any().is_none());
        let proven = checks.without_watching().expect("it has a health check");
        assert_eq!(proven.proof(Duration::ZERO).to_string(), "healthy");
        let rest = checks.deadline().saturating_sub(proven.deadline());
        assert_eq!(rest, Duration::from_secs(5));
        let unchecked = Checks::new(&service, None, &without).without_watching();
        assert_eq!(unchecked, None);
        let glance = checks.for_one_that_runs().proof(Duration::ZERO);
        assert_eq!(glance.to_string(), "healthy");
        let advice = Checks::new(&service, None, &without).without_any();
        let (found, advice) = advice.expect("a warning");
        assert!(found.contains("has run for 10s"), "{found}");
        assert!(advice.contains("\nhealthcheck:\n  test: "), "{advice}");
    }
}
