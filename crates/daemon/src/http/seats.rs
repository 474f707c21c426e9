//! How many connections a listener holds at once, and who gives way.
//!
//! A connection is *proven* once a request on it has shown a valid signature or token. When every seat
//! is taken, a new connection takes that of the oldest one that is not proven; it never has to wait
//! for a stranger's timeout. Only when all are proven is the new one turned away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The seats of one listener.
#[derive(Debug, Clone)]
pub(super) struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    max: usize,
    next: u64,
    /// The evictable seats, oldest first.
    unproven: BTreeMap<u64, CancellationToken>,
    proven: usize,
}

/// A seat, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    evicted: CancellationToken,
    seats: Seats,
    proof: Arc<Mutex<Proof>>,
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
    number: u64,
    seats: Seats,
    proof: Arc<Mutex<Proof>>,
}

impl Seats {
    /// As many seats as `max`.
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken {
            max,
            next: 0,
            unproven: BTreeMap::new(),
            proven: 0,
        })))
    }

    /// A seat, perhaps that of the oldest unproven connection; none if all are proven.
    pub(super) fn take(&self) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.unproven.len() + taken.proven >= taken.max {
            taken.evict_oldest()?;
        }
        let number = taken.next;
        taken.next += 1;
        let evicted = CancellationToken::new();
        taken.unproven.insert(number, evicted.clone());
        Some(Seat {
            number,
            evicted,
            seats: self.clone(),
            proof: Arc::new(Mutex::new(Proof::Missing)),
        })
    }

    /// Ends the oldest unproven connection, where something else than seats has run out.
    pub(super) fn evict_oldest(&self) {
        self.lock().evict_oldest();
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics halfway, so what a poisoned lock holds is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn evict_oldest(&mut self) -> Option<()> {
        let (_, evicted) = self.unproven.pop_first()?;
        evicted.cancel();
        Some(())
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
            number: self.number,
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
        *proof = match taken.unproven.remove(&self.number) {
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
                taken.unproven.remove(&self.number);
            }
        }
        // A request may outlive its connection by a moment and prove too late.
        *proof = Proof::TooLate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_takes_the_seat_of_the_oldest_stranger() {
        let seats = Seats::new(2);
        let first = seats.take().expect("a free seat");
        let second = seats.take().expect("a free seat");
        first.prover().prove();
        let third = seats.take().expect("the second one's seat");
        assert!(!first.evicted.is_cancelled());
        assert!(second.evicted.is_cancelled());
        assert!(!third.evicted.is_cancelled());
    }

    #[test]
    fn nobody_who_is_proven_gives_way() {
        let seats = Seats::new(2);
        let held: Vec<Seat> = (0..2).filter_map(|_| seats.take()).collect();
        for seat in &held {
            seat.prover().prove();
            seat.prover().prove();
        }
        assert!(seats.take().is_none());
        drop(held);
        let again: Vec<Seat> = (0..2).filter_map(|_| seats.take()).collect();
        assert_eq!(again.len(), 2);
    }

    #[test]
    fn seats_are_counted_right_when_a_proof_comes_too_late() {
        let seats = Seats::new(1);
        let evicted = seats.take().expect("a free seat");
        let prover = evicted.prover();
        let newer = seats.take().expect("the other one's seat");
        prover.prove();
        drop(evicted);
        prover.prove();
        drop(newer);
        let taken = seats.lock();
        assert_eq!((taken.proven, taken.unproven.len()), (0, 0));
    }
}
