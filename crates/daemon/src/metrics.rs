//! What is counted and measured, in Prometheus' terms.
//!
//! Counters and histograms are fed where things happen and start at zero with the daemon. What can be
//! looked up is not kept here: `/metrics` sets those gauges from the journal when it is asked.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use cutover_core::deployment::Deployment;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Bounds of the histogram of durations, in seconds: from an image that is already there to a large
/// pull with a long health check.
const DURATION_BOUNDS: [f64; 10] = [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// Bounds of the histogram of outages, in seconds: from the floor of stop and start to an application
/// that needs minutes for its start-up.
const OUTAGE_BOUNDS: [f64; 10] = [0.0, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

/// Labels of an answered request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

/// Labels of a refused request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

/// Labels of what belongs to a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

/// Labels of an ended deployment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    service: String,
    outcome: String,
}

/// What a service looks like when `/metrics` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceGauges {
    /// Its name.
    pub service: String,
    /// Deployments that run or wait.
    pub unfinished: usize,
    /// Whether an operator is needed.
    pub needs_operator: bool,
    /// Whether deployments are refused.
    pub paused: bool,
}

/// All metrics; cheap to clone, which every request does.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    counted: Arc<Counted>,
}

/// What is fed, of which the registry holds clones.
#[derive(Debug)]
struct Counted {
    requests: Family<RequestLabels, Counter>,
    refusals: Family<CodeLabels, Counter>,
    handshakes_failed: Counter,
    connections_evicted: Counter,
    certificate_usable: Gauge,
    deployments: Family<OutcomeLabels, Counter>,
    durations: Family<OutcomeLabels, Histogram>,
    outages: Family<ServiceLabels, Histogram>,
    held: Family<ServiceLabels, Counter>,
    held_max: Family<ServiceLabels, Gauge<f64, AtomicU64>>,
    unfinished: Family<ServiceLabels, Gauge>,
    needs_operator: Family<ServiceLabels, Gauge>,
    paused: Family<ServiceLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics of which nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        let counted = Counted {
            requests: Family::default(),
            refusals: Family::default(),
            handshakes_failed: Counter::default(),
            connections_evicted: Counter::default(),
            certificate_usable: Gauge::default(),
            deployments: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BOUNDS)),
            held: Family::default(),
            held_max: Family::default(),
            outages: Family::new_with_constructor(|| Histogram::new(OUTAGE_BOUNDS)),
            unfinished: Family::default(),
            needs_operator: Family::default(),
            paused: Family::default(),
        };
        counted.certificate_usable.set(1);
        Self {
            registry: Arc::new(counted.register()),
            counted: Arc::new(counted),
        }
    }

    /// A request was answered.
    pub fn answered(&self, method: &'static str, route: &str, status: u16) {
        let labels = RequestLabels {
            method,
            route: route.to_owned(),
            status,
        };
        self.counted.requests.get_or_create(&labels).inc();
    }

    /// A request was refused with this code.
    pub fn refused(&self, code: &'static str) {
        self.counted
            .refusals
            .get_or_create(&CodeLabels { code })
            .inc();
    }

    /// A TLS handshake did not come about.
    pub fn handshake_failed(&self) {
        self.counted.handshakes_failed.inc();
    }

    /// A connection that had not proven who it is was ended in favour of a newer one.
    pub fn connection_evicted(&self) {
        self.counted.connections_evicted.inc();
    }

    /// Whether the certificate files can be used as they are.
    pub fn certificate_usable(&self, usable: bool) {
        self.counted.certificate_usable.set(i64::from(usable));
    }

    /// A deployment has ended; called once for each.
    pub fn deployment_ended(&self, deployment: &Deployment) {
        let labels = OutcomeLabels {
            service: deployment.request.service.as_str().to_owned(),
            outcome: deployment.status().as_str().to_owned(),
        };
        self.counted.deployments.get_or_create(&labels).inc();
        if let Some(finished_at) = deployment.finished_at {
            let seconds = seconds(finished_at.since(deployment.started_at));
            self.counted
                .durations
                .get_or_create(&labels)
                .observe(seconds);
        }
        let service = ServiceLabels {
            service: labels.service.clone(),
        };
        self.counted
            .held
            .get_or_create(&service)
            .inc_by(deployment.held);
        self.counted
            .held_max
            .get_or_create(&service)
            .set(seconds(deployment.held_max_ms.unwrap_or(0)));
        // Where nothing ran before, nothing went out: zeros would hide the outages there were.
        if deployment.ran_before()
            && let Some(outage_ms) = deployment.outage_ms
        {
            self.counted
                .outages
                .get_or_create(&service)
                .observe(seconds(outage_ms));
        }
    }

    /// The text of `/metrics`, with `services` as they are now.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn encode(&self, services: &[ServiceGauges]) -> Result<String, std::fmt::Error> {
        for gauges in services {
            let labels = ServiceLabels {
                service: gauges.service.clone(),
            };
            let unfinished = i64::try_from(gauges.unfinished).unwrap_or(i64::MAX);
            self.counted
                .unfinished
                .get_or_create(&labels)
                .set(unfinished);
            self.counted
                .needs_operator
                .get_or_create(&labels)
                .set(i64::from(gauges.needs_operator));
            self.counted
                .paused
                .get_or_create(&labels)
                .set(i64::from(gauges.paused));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Counted {
    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("cutover");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running cutover", version);
        registry.register(
            "http_requests",
            "Requests answered, by method, route and status",
            self.requests.clone(),
        );
        registry.register(
            "http_refusals",
            "Requests refused, by the code in the answer",
            self.refusals.clone(),
        );
        registry.register(
            "tls_handshakes_failed",
            "TLS handshakes that did not come about",
            self.handshakes_failed.clone(),
        );
        registry.register(
            "connections_evicted",
            "Connections that had not proven who they are and were ended for newer ones",
            self.connections_evicted.clone(),
        );
        registry.register(
            "tls_certificate_usable",
            "1 unless the certificate files hold a pair that cannot be used, so that an older one is served",
            self.certificate_usable.clone(),
        );
        self.register_deployments(&mut registry);
        registry
    }

    fn register_deployments(&self, registry: &mut Registry) {
        registry.register(
            "deployments",
            "Deployments that have ended, by outcome",
            self.deployments.clone(),
        );
        registry.register_with_unit(
            "deployment_duration",
            "From the request to the end of a deployment",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register_with_unit(
            "deployment_outage",
            "How long no container of the service ran during a deployment that changed something",
            Unit::Seconds,
            self.outages.clone(),
        );
        registry.register(
            "held_connections",
            "New connections that waited while a service was switched or put back",
            self.held.clone(),
        );
        registry.register_with_unit(
            "held_max",
            "How long the connection waited that waited longest, in the last deployment",
            Unit::Seconds,
            self.held_max.clone(),
        );
        registry.register(
            "deployments_unfinished",
            "Deployments that run or wait",
            self.unfinished.clone(),
        );
        registry.register(
            "service_needs_operator",
            "1 if a rollback failed and nobody has looked yet",
            self.needs_operator.clone(),
        );
        registry.register(
            "service_paused",
            "1 if an operator has paused the service",
            self.paused.clone(),
        );
    }
}

fn seconds(milliseconds: u64) -> f64 {
    std::time::Duration::from_millis(milliseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_core::deployment::{Event, Request, UnixMillis};
    use cutover_core::names::{DeploymentId, ServiceName, Tag};

    fn requested() -> Deployment {
        let request = Request {
            service: ServiceName::new("shop").expect("a name"),
            tag: Tag::new("v1").expect("a tag"),
            digest: None,
            actor: "ci".into(),
            delivery_id: None,
            fingerprint: String::new(),
            rollback_to: None,
            way_back: cutover_core::deployment::WayBack::Needed,
            if_unchanged: cutover_core::deployment::IfUnchanged::default(),
        };
        let id = DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("an id");
        Deployment::requested(id, request, UnixMillis(0))
    }

    #[test]
    fn what_happened_is_found_in_the_text() {
        let metrics = Metrics::new();
        metrics.answered("POST", "/deploy", 401);
        metrics.refused("unauthorized");
        let mut deployment = requested();
        let why = "superseded".to_owned();
        deployment
            .apply(&Event::Cancelled { why }, UnixMillis(1500))
            .expect("legal");
        metrics.deployment_ended(&deployment);
        let text = metrics
            .encode(&[ServiceGauges {
                service: "shop".into(),
                unfinished: 0,
                needs_operator: true,
                paused: false,
            }])
            .expect("text");
        for line in [
            r#"cutover_http_requests_total{method="POST",route="/deploy",status="401"} 1"#,
            r#"cutover_http_refusals_total{code="unauthorized"} 1"#,
            r#"cutover_deployments_total{service="shop",outcome="cancelled"} 1"#,
            r#"cutover_deployment_duration_seconds_sum{service="shop",outcome="cancelled"} 1.5"#,
            r#"cutover_service_needs_operator{service="shop"} 1"#,
            "\ncutover_tls_certificate_usable 1\n",
        ] {
            assert!(text.contains(line), "{line} not in:\n{text}");
        }
    }

    #[test]
    fn an_outage_is_only_observed_where_something_ran_before() {
        use crate::deployer::tests::until_switched;
        use cutover_core::deployment::{Condition, Replica};
        let metrics = Metrics::new();
        for condition in [None, Some(Condition::Stopped), Some(Condition::Healthy)] {
            let mut deployment = requested();
            for event in until_switched() {
                let event = match event {
                    Event::StageStarted { .. } => Event::StageStarted {
                        tag_line: None,
                        old: condition
                            .map(|condition| Replica {
                                condition,
                                ..Replica::default()
                            })
                            .into_iter()
                            .collect(),
                    },
                    event => event,
                };
                deployment.apply(&event, UnixMillis(1)).expect("legal");
            }
            metrics.deployment_ended(&deployment);
        }
        let text = metrics.encode(&[]).expect("text");
        let line = r#"cutover_deployment_outage_seconds_count{service="shop"} 1"#;
        assert!(text.contains(line), "{text}");
    }
}
