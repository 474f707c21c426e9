//! The hold of a deployment: new connections to the published ports wait from before the first stop until the new
//! containers are proven, or the previous ones are back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use cutover_core::deployment::{Event, Replica};
use cutover_core::hold::Published;
use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::context::Run;
use crate::docker::Container;
use crate::docker::container::{NetworkMode, PublishedPort};
use crate::driver::{Found, Look};
use crate::hold::{ContainerProcess, Drained, Hold, drain, listening};
use crate::settings::Service;

/// What asks a container to end, unless it says otherwise.
const STOP_SIGNAL: &str = "SIGTERM";

/// How often a port is asked whether somebody answers there.
const ASK_PAUSE: Duration = Duration::from_millis(20);

/// How long one such question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// The ports of each service at which somebody answered before the first stop: those that clients use. Nothing needs to
/// listen at a published port, and nobody waits for one that was silent before.
#[derive(Debug, Default)]
pub(super) struct Served(BTreeMap<String, BTreeSet<u16>>);

impl Served {
    /// Those of one service, if they are known.
    pub(super) fn of(&self, service: &str) -> Option<&BTreeSet<u16>> {
        self.0.get(service)
    }
}

/// Whether the service is reached at ports at which new connections are to wait.
pub(super) fn is_wanted(run: &Run, look: &Look) -> bool {
    let mut all = containers(look).flat_map(|one| ports_of(&run.service, one));
    run.service.hold.is_some() && all.next().is_some()
}

/// Holds what comes to the published ports of these containers. Where that cannot be, the switch goes on without, and that is
/// told.
pub(super) async fn begin(run: &mut Run, look: &Look) {
    let Some(bound) = run.service.hold.filter(|_| !run.cannot_hold) else {
        return;
    };
    let all = containers(look).flat_map(|one| ports_of(&run.service, one));
    let ports: BTreeSet<Published> = all.map(|port| port.host).collect();
    let ports: Vec<Published> = ports.into_iter().collect();
    if ports.is_empty() {
        return;
    }
    if run.served.0.is_empty() {
        run.served = served(&run.service, look).await;
    }
    let found = look.old.iter().chain(&look.new).next();
    let project = found.map_or("", |found| found.replica.project.as_str());
    let owner = format!("{project}/{}", run.service.name);
    match Hold::begin(&ports, &owner, bound).await {
        Ok(hold) => run.hold = Some(hold),
        Err(why) => {
            run.cannot_hold = true;
            let what = format!(
                "new connections are refused while nothing listens, because they cannot be held: {why}; `hold = \"off\"` says that this is all right"
            );
            run.record.warn(what).await;
        }
    }
}

/// At which ports of the host a container is reached: those that are published, or those that are configured for one on
/// the host's network.
fn ports_of(service: &Service, container: &Container) -> Vec<PublishedPort> {
    if container.network != NetworkMode::Host {
        return container.published.clone();
    }
    let both = |port: &u16| {
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let port = *port;
        any.map(|address| PublishedPort {
            container: port,
            host: Published { address, port },
        })
    };
    service.hold_ports.iter().flat_map(both).collect()
}

async fn served(service: &Service, look: &Look) -> Served {
    let mut served = Served::default();
    for found in &look.old {
        let running = found.container.as_ref().filter(|one| one.state.running);
        let Some(container) = running else { continue };
        let ports = answering(container, &inner_ports(service, container)).await;
        let of_service = served.0.entry(found.replica.service.clone());
        of_service.or_default().extend(ports);
    }
    served
}

/// The new release has failed: what comes waits until the previous one is back.
pub(super) async fn begin_again(run: &mut Run) {
    if let Some(hold) = &mut run.hold {
        if hold.is_open() {
            hold.close();
        }
        return;
    }
    if run.service.hold.is_none() {
        return;
    }
    // A Docker that does not answer cannot be asked which ports there are.
    if let Ok(look) = run.driver.look(run.deployment()).await {
        begin(run, &look).await;
    }
}

fn containers(look: &Look) -> impl Iterator<Item = &Container> {
    let all = look.old.iter().chain(&look.new);
    all.filter_map(|found| found.container.as_ref())
}

/// Gives the requests that are under way a moment to end, before these containers are stopped. Returns those that need no
/// grace then: they do nothing when they are asked to end.
pub(super) async fn let_requests_end(
    run: &Run,
    look: &Look,
    stopped: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut ready = BTreeSet::new();
    if !is_held(run) {
        return ready;
    }
    let of_these = containers(look).filter(|one| stopped.contains(&one.id) && one.state.running);
    let mut tables = Vec::new();
    for one in of_these {
        let ports = ports_of(&run.service, one);
        if ports.is_empty() {
            continue;
        }
        let ports = ports.iter();
        if let Some(process) = ContainerProcess::find(&one.id, one.state.process) {
            tables.push(Drained {
                process: Some(process.number()),
                ports: ports.clone().map(|port| port.container).collect(),
            });
            if !process.hears(one.stop_signal.as_deref().unwrap_or(STOP_SIGNAL)) {
                ready.insert(one.id.clone());
            }
        }
        tables.push(Drained {
            process: None,
            ports: ports.map(|port| port.host.port).collect(),
        });
    }
    drain(&tables, run.service.drain).await;
    ready
}

/// Whether new connections wait.
pub(super) fn is_held(run: &Run) -> bool {
    run.hold.as_ref().is_some_and(|hold| !hold.is_open())
}

/// Lets everything go on, to these containers: when one of them ends, it is held again. Nothing happens where nothing is
/// held.
pub(super) async fn release(run: &mut Run, to: &[Replica]) {
    if !is_held(run) {
        return;
    }
    let ends = ends_of(run, to).await;
    let Some(hold) = &mut run.hold else { return };
    let held = hold.open(ends).await;
    if held.connections > 0 {
        let longest_ms = u64::try_from(held.longest.as_millis()).unwrap_or(u64::MAX);
        let event = Event::Held {
            connections: held.connections,
            longest_ms,
        };
        run.record.anyway(event).await;
    }
}

/// What becomes readable when the process of one of these containers ends to which requests go. Where it cannot be had, the
/// end is seen a little later, by Docker's event.
async fn ends_of(run: &Run, containers: &[Replica]) -> Vec<OwnedFd> {
    let mut ends = Vec::new();
    for replica in containers {
        let found = run.driver.docker().container(&replica.container).await;
        let Ok(Some(found)) = found else { continue };
        if ports_of(&run.service, &found).is_empty() {
            continue;
        }
        let process = ContainerProcess::find(&found.id, found.state.process);
        ends.extend(process.and_then(|process| process.end(&found.id).ok()));
    }
    ends
}

/// The deployment has its end: nothing of the hold is left.
pub(super) async fn end(run: &mut Run) {
    if let Some(hold) = run.hold.take() {
        hold.end().await;
    }
}

/// Waits until somebody answers at each of the published ports that were `served`, at the container itself, or it has
/// ended, at most for `bound`. Where it is not known which were, one that answers is enough. Returns whether it still
/// runs.
pub(super) async fn wait_until_it_answers(run: &Run, replica: &Replica, bound: Duration) -> bool {
    let began = Instant::now();
    let served = run.served.of(&replica.service);
    loop {
        let found = run.driver.docker().container(&replica.container).await;
        let Ok(found) = found else {
            return true;
        };
        let Some(found) = found.filter(|found| found.state.running) else {
            return false;
        };
        if answers(&run.service, &found, served).await || began.elapsed() > bound {
            return true;
        }
        tokio::time::sleep(ASK_PAUSE).await;
    }
}

async fn answers(service: &Service, container: &Container, served: Option<&BTreeSet<u16>>) -> bool {
    let published = inner_ports(service, container);
    if published.is_empty() || container.probe_addresses().is_empty() {
        return true;
    }
    match served {
        None => !answering(container, &published).await.is_empty(),
        Some(served) => {
            let wanted = published.intersection(served).copied().collect();
            answering(container, &wanted).await == wanted
        }
    }
}

/// The container's own ports of those at which it is reached.
fn inner_ports(service: &Service, container: &Container) -> BTreeSet<u16> {
    let ports = ports_of(service, container).into_iter();
    ports.map(|port| port.container).collect()
}

/// Those of these ports at which somebody answers at the container itself.
async fn answering(container: &Container, ports: &BTreeSet<u16>) -> BTreeSet<u16> {
    if container.network == NetworkMode::Host {
        // A connection to it would wait itself.
        return listening(ports);
    }
    let Some(address) = container.probe_addresses().first().copied() else {
        return BTreeSet::new();
    };
    let ask = async |port: u16| {
        let connect = TcpStream::connect(SocketAddr::new(address, port));
        let asked = tokio::time::timeout(ASK_TIMEOUT, connect).await;
        matches!(asked, Ok(Ok(_))).then_some(port)
    };
    let all = join_all(ports.iter().map(|port| ask(*port))).await;
    all.into_iter().flatten().collect()
}

/// On the way back: as soon as every previous container that runs answers, requests go on.
pub(super) async fn release_when_back(run: &mut Run, old: &[Found]) {
    let Some(bound) = run.service.hold.filter(|_| is_held(run)) else {
        return;
    };
    for found in old.iter().filter(|found| found.replica.condition.ran()) {
        wait_until_it_answers(run, &found.replica, bound).await;
    }
    release(run, &[]).await;
}
