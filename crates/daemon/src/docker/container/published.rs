//! At which ports of the host a container is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use bollard::models::{HostConfig, PortBinding};
use cutover_core::hold::Published;

/// More ports than a range has from which the replicas of a service take theirs.
const RANGE_MAX: u16 = 128;

/// A TCP port of a container, and where the host has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    /// The port of the container.
    pub container: u16,
    /// Where the host has it.
    pub host: Published,
}

/// The published TCP ports that are the same at every start.
pub(super) fn published(host: &HostConfig) -> Vec<PublishedPort> {
    let bindings = host.port_bindings.iter().flatten();
    let tcp = bindings.filter_map(|(port, bindings)| {
        let container: u16 = port.strip_suffix("/tcp")?.parse().ok()?;
        Some((container, bindings.as_ref()?))
    });
    let mut all: Vec<PublishedPort> = tcp
        .flat_map(|(container, bindings)| {
            let hosts = bindings.iter().flat_map(of_binding);
            hosts.map(move |host| PublishedPort { container, host })
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// None where Docker chooses any port at the start: then it is another one afterwards, and nobody waits for it. Of a range,
/// which the replicas of a service share, all.
fn of_binding(binding: &PortBinding) -> Vec<Published> {
    let ports = binding.host_port.as_deref().and_then(ports);
    let Some(ports) = ports else {
        return Vec::new();
    };
    let addresses: Vec<IpAddr> = match binding.host_ip.as_deref().unwrap_or_default() {
        "" => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        address => address.parse().into_iter().collect(),
    };
    let published = addresses
        .into_iter()
        .flat_map(|address| ports.clone().map(move |port| Published { address, port }));
    published.collect()
}

/// The port, or the ports of a range `8000-8010`.
fn ports(written: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = written.split_once('-').unwrap_or((written, written));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    let is_usable = first > 0 && first <= last && last - first < RANGE_MAX;
    is_usable.then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(port: &str, binding: (&str, &str)) -> Vec<String> {
        let binding = PortBinding {
            host_ip: Some(binding.0.to_owned()),
            host_port: Some(binding.1.to_owned()),
        };
        let bindings = [(port.to_owned(), Some(vec![binding]))];
        let host = HostConfig {
            port_bindings: Some(bindings.into()),
            ..HostConfig::default()
        };
        let all = published(&host).into_iter();
        all.map(|one| format!("{} {} {}", one.container, one.host.address, one.host.port))
            .collect()
    }

    #[test]
    fn a_port_is_published_on_one_address_or_on_all() {
        assert_eq!(
            found("8080/tcp", ("", "80")),
            ["8080 0.0.0.0 80", "8080 :: 80"]
        );
        assert_eq!(
            found("8080/tcp", ("127.0.0.1", "8000")),
            ["8080 127.0.0.1 8000"]
        );
        assert_eq!(found("8080/tcp", ("::1", "8000")), ["8080 ::1 8000"]);
        assert_eq!(
            found("8080/tcp", ("::1", "8000-8001")),
            ["8080 ::1 8000", "8080 ::1 8001"]
        );
    }

    #[test]
    fn what_nobody_can_wait_for_is_left_out() {
        for (port, binding) in [
            ("8080/udp", ("", "80")),
            ("8080/tcp", ("", "")),
            ("8080/tcp", ("", "0")),
            ("8080/tcp", ("", "8010-8000")),
            ("8080/tcp", ("", "1-65535")),
            ("8080/tcp", ("rubbish", "80")),
        ] {
            assert_eq!(
                found(port, binding),
                [] as [String; 0],
                "{port} {binding:?}"
            );
        }
        let exposed = HostConfig {
            port_bindings: Some([("8080/tcp".to_owned(), None)].into()),
            ..HostConfig::default()
        };
        assert_eq!(published(&exposed), []);
    }
}
