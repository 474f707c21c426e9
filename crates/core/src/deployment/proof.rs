//! What was seen of a container before it was trusted: an answer says that and no more.

use std::fmt;
use std::time::Duration;

/// What was seen of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Who said that it is in order.
    pub by: Witness,
    /// For how long at least, in milliseconds.
    pub for_ms: u64,
    /// From the container's start to the moment when it was first seen to be in order, in milliseconds; 0 where nobody
    /// says so, or the previous container ran beside it. Until then the service did not answer.
    pub answered_after_ms: u64,
}

/// Who said that a container is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// Its health check or a probe.
    Check,
    /// Nobody: it has neither, and ran.
    Nobody,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = crate::health::seconds(Duration::from_millis(self.for_ms));
        match (self.by, self.for_ms) {
            (Witness::Check, 0) => f.write_str("healthy"),
            (Witness::Check, _) => write!(f, "healthy for {time}"),
            (Witness::Nobody, _) => write!(f, "ran for {time}; it has no health check"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healthy_is_said_only_where_somebody_said_it() {
        let words = |by, for_ms| {
            let answered_after_ms = 700;
            let proof = Proof {
                by,
                for_ms,
                answered_after_ms,
            };
            proof.to_string()
        };
        assert_eq!(words(Witness::Check, 0), "healthy");
        assert_eq!(words(Witness::Check, 5_000), "healthy for 5 s");
        let ran = "ran for 10 s; it has no health check";
        assert_eq!(words(Witness::Nobody, 10_000), ran);
    }
}
