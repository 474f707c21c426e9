//! What is left to try when a deployment has its end: its answer need not wait for that, but nothing is given up.

use super::journey::Journey;

/// What is left to try.
#[derive(Debug)]
pub(super) enum Rest {
    /// The release that should run does not, or not as it should.
    Way(Box<Journey>),
    /// The new container could not be removed before the switch.
    Discard,
}
