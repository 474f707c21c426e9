//! Repeats the probes of one life of a container.

use std::net::IpAddr;
use std::time::Duration;

use cutover_core::health::{Sample, Source};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::checks::Checks;
use crate::docker::container::NetworkMode;
use crate::docker::{Container, Docker};
use crate::probe::command::CommandProber;
use crate::probe::http::HttpProber;
use crate::probe::tcp::tcp;
use crate::probe::{ProbeFailure, http_port};
use crate::settings::TcpProbe;

/// The first probes follow each other this closely, then at growing distance up to the configured interval:
/// a container that is ready at once is seen at once.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Samples that wait to be taken; each probe makes one.
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
            let addresses = addresses(docker, container).await?;
            if let Some(http) = &checks.http {
                let port = http_port(http, container)?;
                let to = |address: &IpAddr| HttpProber::new(*address, port, http).map(Way::Http);
                let ways = addresses.iter().map(to).collect::<Result<_, _>>()?;
                let prober = Prober::new(Source::HttpProbe, ways);
                probers.push(prober.repeat(http.interval, sender.clone()));
            }
            if let Some(probe) = &checks.tcp {
                let to = |address: &IpAddr| Way::Tcp(*address, probe.clone());
                let prober = Prober::new(Source::TcpProbe, addresses.iter().map(to).collect());
                probers.push(prober.repeat(probe.interval, sender.clone()));
            }
        }
        if let Some(probe) = &checks.url {
            let way = Way::Http(HttpProber::of_url(probe)?);
            let prober = Prober::new(Source::UrlProbe, vec![way]);
            probers.push(prober.repeat(probe.http.interval, sender.clone()));
        }
        if let Some(probe) = &checks.command {
            let way = Way::Command(CommandProber::new(docker, &container.id, probe));
            let prober = Prober::new(Source::CommandProbe, vec![way]);
            probers.push(prober.repeat(probe.interval, sender.clone()));
        }
        Ok(Self {
            samples,
            _probers: probers,
        })
    }
}

/// Where the container is reached; of one that shares another's network, where that one is.
async fn addresses(docker: &Docker, container: &Container) -> Result<Vec<IpAddr>, ProbeFailure> {
    let shared = match &container.network {
        NetworkMode::SharedWith(other) => docker.container(other).await.ok().flatten(),
        _ => None,
    };
    let addresses = shared.as_ref().unwrap_or(container).probe_addresses();
    if addresses.is_empty() {
        return Err(ProbeFailure::new(
            "the container has no address of its own, so no probe can reach it",
        ));
    }
    Ok(addresses)
}

/// So many addresses are named when none of them passed.
const FAILURES_TOLD_MAX: usize = 3;

/// One probe that is repeated. It passes when the container answers at one of its addresses: that there is
/// no way into one of its networks, a macvlan for example, is no fault of the container.
struct Prober {
    source: Source,
    ways: Vec<Way>,
    /// Which of them passed last.
    passed: usize,
}

/// A probe to one address.
enum Way {
    Http(HttpProber),
    Tcp(IpAddr, TcpProbe),
    Command(CommandProber),
}

impl Way {
    async fn probe(&self) -> Result<(), ProbeFailure> {
        match self {
            Self::Http(prober) => prober.probe().await,
            Self::Command(prober) => prober.probe().await,
            Self::Tcp(address, probe) => tcp(*address, probe.port, probe.timeout).await,
        }
    }
}

impl Prober {
    fn new(source: Source, ways: Vec<Way>) -> Self {
        Self {
            source,
            ways,
            passed: 0,
        }
    }

    /// One round: the way that passed last, and if it fails, all others at once.
    async fn probe(&mut self) -> Result<(), ProbeFailure> {
        let mut failures = Vec::new();
        if let Some(way) = self.ways.get(self.passed) {
            match way.probe().await {
                Ok(()) => return Ok(()),
                Err(failure) => failures.push(failure.why),
            }
        }
        let mut others: FuturesUnordered<_> = self
            .ways
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != self.passed)
            .map(|(at, way)| async move { (at, way.probe().await) })
            .collect();
        while let Some((at, outcome)) = others.next().await {
            match outcome {
                Ok(()) => {
                    self.passed = at;
                    return Ok(());
                }
                Err(failure) => failures.push(failure.why),
            }
        }
        // What the container answers at one address says more than that nothing answers at another.
        failures.truncate(FAILURES_TOLD_MAX);
        Err(ProbeFailure::new(failures.join("; ")))
    }

    /// Probes until nobody listens.
    fn repeat(
        mut self,
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
                if samples.send((self.source, sample)).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(interval);
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    const OPEN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    const CLOSED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

    #[tokio::test]
    async fn one_address_that_answers_is_enough() {
        let listener = TcpListener::bind((OPEN, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let to = |address| Way::Tcp(address, TcpProbe::new(port));
        for ways in [[OPEN, CLOSED], [CLOSED, OPEN]] {
            let mut prober = Prober::new(Source::TcpProbe, ways.map(to).into());
            assert_eq!(prober.probe().await, Ok(()));
            let passed = ways.iter().position(|address| *address == OPEN);
            assert_eq!(Some(prober.passed), passed, "asked first from now on");
        }
        let mut prober = Prober::new(Source::TcpProbe, [CLOSED, OPEN].map(to).into());
        drop(listener);
        let failure = prober.probe().await.expect_err("nobody listens");
        let refused = |address| format!("{address}:{port}: connection refused");
        let told = format!("{}; {}", refused(CLOSED), refused(OPEN));
        assert_eq!(failure.why, told);
    }
}
