//! The connections that wait, in the order in which they came.
//!
//! A client that gets no answer sends its first packet again, after one second, two more, four more. Only the newest
//! copy of a connection goes on: the server would answer an older one as well, and the client would answer that with a
//! reset.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// From where to where a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    from: SocketAddr,
    to: SocketAddr,
}

impl Connection {
    /// Reads it from the beginning of an IP packet that carries TCP; none where that is not what it is.
    #[must_use]
    pub fn of_packet(packet: &[u8]) -> Option<Self> {
        const TCP: u8 = 6;
        let (protocol, addresses, segment) = match packet.first()? >> 4 {
            4 => {
                let header_len = usize::from(packet[0] & 0x0f) * 4;
                let address = |at| -> Option<IpAddr> {
                    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                    Some(Ipv4Addr::from(bytes).into())
                };
                (*packet.get(9)?, [address(12)?, address(16)?], header_len)
            }
            6 => {
                let address = |at| -> Option<IpAddr> {
                    let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(Ipv6Addr::from(bytes).into())
                };
                (*packet.get(6)?, [address(8)?, address(24)?], 40)
            }
            _ => return None,
        };
        if protocol != TCP {
            return None;
        }
        let port = |at: usize| -> Option<u16> {
            let bytes = packet.get(at..at + 2)?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        let [from, to] = addresses;
        Some(Self {
            from: SocketAddr::new(from, port(segment)?),
            to: SocketAddr::new(to, port(segment + 2)?),
        })
    }
}

#[derive(Debug)]
struct Waits {
    /// The kernel's number of its newest packet.
    packet: u32,
    connection: Option<Connection>,
    since: Duration,
}

/// The connections that wait. Times count from any moment, as long as it is the same one.
#[derive(Debug, Default)]
pub struct Waiting {
    /// By the order of arrival.
    all: BTreeMap<u64, Waits>,
    places: HashMap<Connection, u64>,
    arrived: u64,
    longest: Duration,
}

impl Waiting {
    /// A packet came. Returns the number of the older copy that it takes the place of, which is dropped.
    pub fn arrive(
        &mut self,
        packet: u32,
        connection: Option<Connection>,
        now: Duration,
    ) -> Option<u32> {
        let known = connection.and_then(|connection| self.places.get(&connection));
        if let Some(waits) = known.and_then(|place| self.all.get_mut(place)) {
            return Some(std::mem::replace(&mut waits.packet, packet));
        }
        let place = self.arrived;
        self.arrived += 1;
        if let Some(connection) = connection {
            self.places.insert(connection, place);
        }
        let waits = Waits {
            packet,
            connection,
            since: now,
        };
        self.all.insert(place, waits);
        None
    }

    /// Takes the one that came first, for it to go on.
    pub fn next(&mut self, now: Duration) -> Option<u32> {
        let (_, waits) = self.all.pop_first()?;
        if let Some(connection) = waits.connection {
            self.places.remove(&connection);
        }
        self.longest = self.longest.max(now.saturating_sub(waits.since));
        Some(waits.packet)
    }

    /// The same, if it has waited for `bound`.
    pub fn next_overdue(&mut self, now: Duration, bound: Duration) -> Option<u32> {
        let due_at = self.due_at(bound)?;
        (due_at <= now).then(|| self.next(now)).flatten()
    }

    /// When the first one will have waited for `bound`.
    #[must_use]
    pub fn due_at(&self, bound: Duration) -> Option<Duration> {
        let (_, first) = self.all.first_key_value()?;
        Some(first.since + bound)
    }

    /// Whether this connection waits.
    #[must_use]
    pub fn contains(&self, connection: &Connection) -> bool {
        self.places.contains_key(connection)
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many connections have waited, in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.arrived
    }

    /// How long the one waited that waited longest, of those that went on.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn v4(port: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0];
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend(port.to_be_bytes());
        packet.extend([0x1f, 0x90]);
        packet
    }

    #[test]
    fn a_connection_is_read_from_its_first_packet() {
        let found = Connection::of_packet(&v4(40_000)).expect("a connection");
        assert_eq!(found.from, "192.0.2.1:40000".parse().expect("an address"));
        assert_eq!(found.to, "192.0.2.2:8080".parse().expect("an address"));
        // With options behind the fixed part of its header.
        let mut with_options = v4(40_000);
        with_options[0] = 0x46;
        with_options.splice(20..20, [1, 1, 1, 0]);
        assert_eq!(Connection::of_packet(&with_options), Some(found));
        let mut v6 = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        v6.extend(
            "2001:db8::1"
                .parse::<Ipv6Addr>()
                .expect("an address")
                .octets(),
        );
        v6.extend(
            "2001:db8::2"
                .parse::<Ipv6Addr>()
                .expect("an address")
                .octets(),
        );
        v6.extend([0x9c, 0x40, 0x1f, 0x90]);
        let found = Connection::of_packet(&v6).expect("a connection");
        assert_eq!(
            found.from,
            "[2001:db8::1]:40000".parse().expect("an address")
        );
        assert_eq!(found.to, "[2001:db8::2]:8080".parse().expect("an address"));
    }

    #[test]
    fn what_is_no_tcp_packet_is_none() {
        let mut udp = v4(1);
        udp[9] = 17;
        assert_eq!(Connection::of_packet(&udp), None);
        for len in 0..24 {
            assert_eq!(Connection::of_packet(&v4(1)[..len]), None, "{len}");
        }
        assert_eq!(Connection::of_packet(&[0xff; 64]), None);
    }

    #[test]
    fn only_the_newest_copy_of_a_connection_goes_on_in_the_order_of_its_first() {
        let mut waiting = Waiting::default();
        let connection = |port| Connection::of_packet(&v4(port));
        assert_eq!(waiting.arrive(1, connection(1), SECOND), None);
        assert_eq!(waiting.arrive(2, connection(2), SECOND), None);
        assert_eq!(waiting.arrive(3, connection(1), SECOND * 2), Some(1));
        // What cannot be told apart is never taken for a copy.
        assert_eq!(waiting.arrive(4, None, SECOND * 2), None);
        assert_eq!(waiting.arrive(5, None, SECOND * 2), None);
        let all: Vec<u32> = std::iter::from_fn(|| waiting.next(SECOND * 3)).collect();
        assert_eq!(all, [3, 2, 4, 5]);
        assert_eq!((waiting.count(), waiting.longest()), (4, SECOND * 2));
        // One that went on may come again: the server was not there yet.
        assert_eq!(waiting.arrive(6, connection(1), SECOND * 4), None);
        assert!(!waiting.is_empty());
    }

    #[test]
    fn none_waits_for_longer_than_the_bound() {
        let mut waiting = Waiting::default();
        waiting.arrive(1, None, SECOND);
        waiting.arrive(2, None, SECOND * 2);
        assert_eq!(waiting.due_at(SECOND * 30), Some(SECOND * 31));
        assert_eq!(waiting.next_overdue(SECOND * 30, SECOND * 30), None);
        assert_eq!(waiting.next_overdue(SECOND * 31, SECOND * 30), Some(1));
        assert_eq!(waiting.next_overdue(SECOND * 31, SECOND * 30), None);
    }
}
