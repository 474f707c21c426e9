//! Repeats the probes of one life of a container.

use std::net::IpAddr;
use std::time::Duration;

use cutover_core::health::{Sample, Source};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::checks::Checks;
use crate::docker::container::NetworkMode;
use crate::docker::{Container, Docker};
use crate::probe::http::HttpProber;
use crate::probe::tcp::tcp;
use crate::probe::{ProbeFailure, http_port};
use crate::settings::TcpProbe;

/// The first probes follow each other this closely, then at growing distance up to the configured interval:
/// a container that is ready at once is seen at once.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Samples that wait to be taken; two probes make one each.
const QUEUE_LEN_MAX: usize = 8;

/// The probes of a container that runs; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Probes {
    samples: mpsc::Receiver<(Source, Sample)>,
    _probers: Vec<AbortOnDropHandle<()>>,
}

/// The next sample. Without probes there is never one. Cancel safe.
pub(super) async fn next(probes: Option<&mut Probes>) -> (Source, Sample) {
    if let Some(probes) = probes
        && let Some(sample) = probes.samples.recv().await
    {
        return sample;
    }
    std::future::pending().await
}

impl Probes {
    /// Begins to probe; the first probes are sent at once.
    pub(super) async fn start(
        docker: &Docker,
        container: &Container,
        checks: &Checks,
    ) -> Result<Self, ProbeFailure> {
        let (sender, samples) = mpsc::channel(QUEUE_LEN_MAX);
        let mut probers = Vec::new();
        if checks.http.is_some() || checks.tcp.is_some() {
            let address = address(docker, container).await?;
            if let Some(http) = &checks.http {
                let port = http_port(http, container)?;
                let prober = Prober::Http(HttpProber::new(address, port, http)?);
                probers.push(prober.repeat(http.interval, sender.clone()));
            }
            if let Some(probe) = &checks.tcp {
                let prober = Prober::Tcp(address, probe.clone());
                probers.push(prober.repeat(probe.interval, sender.clone()));
            }
        }
        Ok(Self {
            samples,
            _probers: probers,
        })
    }
}

/// Where the container is reached; of one that shares another's network, where that one is.
async fn address(docker: &Docker, container: &Container) -> Result<IpAddr, ProbeFailure> {
    let shared = match &container.network {
        NetworkMode::SharedWith(other) => docker.container(other).await.ok().flatten(),
        _ => None,
    };
    shared
        .as_ref()
        .unwrap_or(container)
        .probe_address()
        .ok_or_else(|| {
            ProbeFailure::new("the container has no address of its own, so no probe can reach it")
        })
}

/// One probe that is repeated.
enum Prober {
    Http(HttpProber),
    Tcp(IpAddr, TcpProbe),
}

impl Prober {
    fn source(&self) -> Source {
        match self {
            Self::Http(_) => Source::HttpProbe,
            Self::Tcp(..) => Source::TcpProbe,
        }
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        match self {
            Self::Http(prober) => prober.probe().await,
            Self::Tcp(address, probe) => tcp(*address, probe.port, probe.timeout).await,
        }
    }

    /// Probes until nobody listens.
    fn repeat(
        self,
        interval: Duration,
        samples: mpsc::Sender<(Source, Sample)>,
    ) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut pause = INTERVAL_MIN.min(interval);
            loop {
                let sample = match self.probe().await {
                    Ok(()) => {
                        pause = interval;
                        Sample::Healthy
                    }
                    Err(failure) => Sample::Unhealthy(failure.why),
                };
                if samples.send((self.source(), sample)).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(interval);
            }
        }))
    }
}
