//! How many connections a listener holds at once, and who gives way.
//!
//! A connection is *proven* once a request on it came from an operator, or was a deployment with a valid
//! signature that may be asked for now. A watch token proves nothing, because it may be in the log of a
//! CI run; nor does a signed body of the past, because it may be copied. When every seat is taken, a new connection takes that of one that is not proven; it never has to wait for a
//! stranger's timeout. Only when all are proven is the new one turned away.
//!
//! Of the sites, the one with the most unproven seats gives way: there the origin with the most of them, with its
//! oldest. So whoever floods a listener from one host, or from all networks of one site, pushes out itself, and not the
//! honest client that was there before.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How much of an IPv6 address names a host: anybody who has one address has the others of its /64.
const V6_HOST_BITS: u32 = 64;

/// How much of an IPv6 address names a site: a /48 is what one customer is given, with its 65,536 networks.
const V6_SITE_BITS: u32 = 48;

/// Where a connection comes from, as far as seats are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Origin(Option<IpAddr>);

impl Origin {
    /// The origin of what has this address; none has what comes over the unix socket.
    fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| beginning(address, V6_HOST_BITS)))
    }

    /// The site that it is part of; of IPv4, itself.
    fn site(self) -> Self {
        Self(self.0.map(|address| beginning(address, V6_SITE_BITS)))
    }
}

/// So many bits of an IPv6 address; all of one of IPv4.
fn beginning(address: IpAddr, bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let rest = u128::MAX >> bits;
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !rest))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The seats of one listener.
#[derive(Debug, Clone)]
pub(super) struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    max: usize,
    next: u64,
    /// The evictable seats of each origin that has any, oldest first.
    unproven: BTreeMap<Origin, BTreeMap<u64, CancellationToken>>,
    /// How many those are.
    unproven_len: usize,
    proven: usize,
    metrics: Metrics,
}

/// A seat, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    place: Place,
    evicted: CancellationToken,
    seats: Seats,
    proof: Arc<Mutex<Proof>>,
}

/// Which seat it is.
#[derive(Debug, Clone, Copy)]
struct Place {
    origin: Origin,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Missing,
    Given,
    /// The seat is somebody else's by now.
    TooLate,
}

/// Lets whoever authenticates a request mark its connection as proven.
#[derive(Debug, Clone)]
pub(super) struct Prover {
    place: Place,
    seats: Seats,
    proof: Arc<Mutex<Proof>>,
}

impl Seats {
    /// As many seats as `max`; who gives way is counted in `metrics`.
    pub(super) fn new(max: usize, metrics: Metrics) -> Self {
        Self(Arc::new(Mutex::new(Taken {
            max,
            next: 0,
            unproven: BTreeMap::new(),
            unproven_len: 0,
            proven: 0,
            metrics,
        })))
    }

    /// A seat for a connection from `address`, perhaps that of an unproven one; none if all are proven.
    pub(super) fn take(&self, address: Option<IpAddr>) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.unproven_len + taken.proven >= taken.max {
            taken.evict()?;
        }
        let place = Place {
            origin: Origin::of(address),
            number: taken.next,
        };
        taken.next += 1;
        let evicted = CancellationToken::new();
        taken.add_unproven(place, evicted.clone());
        Some(Seat {
            place,
            evicted,
            seats: self.clone(),
            proof: Arc::new(Mutex::new(Proof::Missing)),
        })
    }

    /// Ends an unproven connection, where something else than seats has run out.
    pub(super) fn evict(&self) {
        self.lock().evict();
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics halfway, so what a poisoned lock holds is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes the oldest seat of the origin with the most of them, in the site with the most of them; where several
    /// have as many, of the one that is there for longest.
    fn evict(&mut self) -> Option<()> {
        let oldest_of =
            |seats: &BTreeMap<u64, _>| seats.first_key_value().map(|(number, _)| *number);
        let mut sites: BTreeMap<Origin, (usize, Reverse<Option<u64>>)> = BTreeMap::new();
        for (origin, seats) in &self.unproven {
            let oldest = oldest_of(seats);
            let site = sites.entry(origin.site()).or_insert((0, Reverse(oldest)));
            site.0 += seats.len();
            site.1 = site.1.max(Reverse(oldest));
        }
        let (&fullest, _) = sites.iter().max_by_key(|(_, seats)| **seats)?;
        let of_site = self
            .unproven
            .iter()
            .filter(|(origin, _)| origin.site() == fullest);
        let most = of_site.max_by_key(|(_, seats)| (seats.len(), Reverse(oldest_of(seats))));
        let (&origin, seats) = most?;
        let (&number, _) = seats.first_key_value()?;
        // Before the connection ends, so that whoever sees it end finds it counted.
        self.metrics.connection_evicted();
        self.remove_unproven(Place { origin, number })?.cancel();
        Some(())
    }

    fn add_unproven(&mut self, place: Place, evicted: CancellationToken) {
        let seats = self.unproven.entry(place.origin).or_default();
        seats.insert(place.number, evicted);
        self.unproven_len += 1;
    }

    fn remove_unproven(&mut self, place: Place) -> Option<CancellationToken> {
        let seats = self.unproven.get_mut(&place.origin)?;
        let removed = seats.remove(&place.number)?;
        if seats.is_empty() {
            self.unproven.remove(&place.origin);
        }
        self.unproven_len -= 1;
        Some(removed)
    }
}

impl Seat {
    /// Ends when this seat was given to somebody else.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// The handle that marks this seat's connection as proven.
    pub(super) fn prover(&self) -> Prover {
        Prover {
            place: self.place,
            seats: self.seats.clone(),
            proof: Arc::clone(&self.proof),
        }
    }
}

impl Prover {
    /// The connection's peer has shown who it is: it keeps its seat.
    pub(super) fn prove(&self) {
        let mut taken = self.seats.lock();
        let mut proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        if *proof != Proof::Missing {
            return;
        }
        *proof = match taken.remove_unproven(self.place) {
            Some(_) => {
                taken.proven += 1;
                Proof::Given
            }
            None => Proof::TooLate,
        };
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        let mut proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        match *proof {
            Proof::Given => taken.proven = taken.proven.saturating_sub(1),
            Proof::Missing | Proof::TooLate => {
                taken.remove_unproven(self.place);
            }
        }
        // A request may outlive its connection by a moment and prove too late.
        *proof = Proof::TooLate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(max: usize) -> Seats {
        Seats::new(max, Metrics::new())
    }

    fn take(seats: &Seats, address: &str) -> Option<Seat> {
        seats.take(Some(address.parse().expect("an address")))
    }

    #[test]
    fn a_new_connection_takes_the_seat_of_the_oldest_stranger() {
        let seats = seats(2);
        let first = seats.take(None).expect("a free seat");
        let second = seats.take(None).expect("a free seat");
        first.prover().prove();
        let third = seats.take(None).expect("the second one's seat");
        assert!(!first.evicted.is_cancelled());
        assert!(second.evicted.is_cancelled());
        assert!(!third.evicted.is_cancelled());
    }

    #[test]
    fn a_flood_from_one_origin_takes_its_own_seats() {
        let metrics = Metrics::new();
        let seats = Seats::new(4, metrics.clone());
        let honest = [
            take(&seats, "192.0.2.1").expect("a free seat"),
            seats.take(None).expect("a free seat"),
        ];
        let flood: Vec<Seat> = (0..9).filter_map(|_| take(&seats, "192.0.2.2")).collect();
        let late = take(&seats, "192.0.2.3").expect("one of the flood's seats");
        assert!(honest.iter().all(|seat| !seat.evicted.is_cancelled()));
        assert!(!late.evicted.is_cancelled());
        let evicted: Vec<bool> = flood.iter().map(|s| s.evicted.is_cancelled()).collect();
        assert_eq!(evicted, [[true; 8].as_slice(), &[false]].concat());
        let counted = metrics.encode(&[]).expect("text");
        assert!(
            counted.contains("cutover_connections_evicted_total 8"),
            "{counted}"
        );
    }

    #[test]
    fn a_flood_from_all_networks_of_one_site_takes_its_own_seats() {
        let seats = seats(4);
        let honest = [
            take(&seats, "192.0.2.1").expect("a free seat"),
            take(&seats, "2001:db8:1::1").expect("a free seat"),
        ];
        let flood = (0..9).filter_map(|network| take(&seats, &format!("2001:db8:2:{network}::1")));
        let flood: Vec<Seat> = flood.collect();
        assert!(honest.iter().all(|seat| !seat.evicted.is_cancelled()));
        let left = flood.iter().filter(|seat| !seat.evicted.is_cancelled());
        assert_eq!(left.count(), 2);
    }

    #[test]
    fn of_origins_with_as_many_seats_the_oldest_gives_way() {
        let seats = seats(3);
        let addresses = ["192.0.2.3", "192.0.2.1", "192.0.2.2"];
        let held = addresses.map(|address| take(&seats, address).expect("a free seat"));
        let _newer = take(&seats, "192.0.2.0").expect("the first one's seat");
        let evicted = held.each_ref().map(|seat| seat.evicted.is_cancelled());
        assert_eq!(evicted, [true, false, false]);
    }

    #[test]
    fn an_origin_is_an_address_or_a_network_of_ipv6() {
        let of = |address: &str| Origin::of(Some(address.parse().expect("an address")));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn nobody_who_is_proven_gives_way() {
        let seats = seats(2);
        let held: Vec<Seat> = (0..2).filter_map(|_| seats.take(None)).collect();
        for seat in &held {
            seat.prover().prove();
            seat.prover().prove();
        }
        assert!(seats.take(None).is_none());
        drop(held);
        let again: Vec<Seat> = (0..2).filter_map(|_| seats.take(None)).collect();
        assert_eq!(again.len(), 2);
    }

    #[test]
    fn seats_are_counted_right_when_a_proof_comes_too_late() {
        let seats = seats(1);
        let evicted = seats.take(None).expect("a free seat");
        let prover = evicted.prover();
        let newer = seats.take(None).expect("the other one's seat");
        prover.prove();
        drop(evicted);
        prover.prove();
        drop(newer);
        let taken = seats.lock();
        assert_eq!((taken.proven, taken.unproven_len), (0, 0));
        assert!(taken.unproven.is_empty(), "no origin is kept in vain");
    }
}
