//! Faults at a random moment or at a chosen call of a deployment, and the verdict on what came of it.
//! `cargo xtask torture` and the sweeps among the live tests only call this.
//!
//! ```text
//! Ground    an engine, a scene and a small disk of one worker, in a network of its own
//! Fault     what happens: a process dies, the power goes, a hand acts, a disk is full
//! Case      what was there before, what was asked for, what happened and when
//! Sight     everything that can be seen afterwards: containers, record, client, env file
//! Verdict   old, new, needs attention with something running; or third, with every reason
//! ```
//!
//! # The verdict
//! A case is judged when everything is at rest: the client and the record have ended, the daemon is ready, and
//! containers stay as they are. It is `old` or `new` by the outcome that was recorded, and then exactly one container
//! of the service is there, it runs, it answers with that release's version, under the service's own name and
//! restart policy, `.env` names that release, and `docker compose up -d` by hand changes nothing. For `old` it is
//! the very container that was there before. It is `needs attention` if the record asks for an operator,
//! one container runs, and the record names that one. Everything else is `third`, and a defect.
//!
//! # What the restart policy allows
//! Docker does not start a container with `no` or `on-failure` when it comes up; and a Docker that was killed, rather
//! than stopped, does not start one with `unless-stopped` either: the next one ends what still runs and takes that
//! for a stop by hand (measured, Engine 28.5 without live-restore). If Docker died while cutover had not begun to
//! switch, or after the record had ended, the service is down by Docker's rules, and that is `old` or `new`; the
//! table counts it in a column of its own. In between, cutover has stopped what ran, and something must run.
//!
//! # What a hand may do
//! `docker compose` and `docker` by hand are a person's decision, and cutover does not fight it.
//! - The container of the old release may be another than before: the hand made it.
//! - Nothing may run only after `down` and `rm -f`, and only if the hand took away what ran while cutover
//!   had not begun to switch, or if it was still at it when the record ended, or acted later. A hand in the
//!   midst of the switch takes away what cutover answers for: then something must run in the end.
//! - `up` that was still at it when the record ended may have brought back the release that `.env` named when it began,
//!   as a container of its own making. That counts as `old`, although the record says `succeeded`.
//! - `up --force-recreate` that Docker refused may leave the container that it created and never started.
//! - A container that the hand made may run when the record asks for an operator, if the record names it.

pub mod case;
pub mod chain;
pub mod ending;
pub mod fault;
pub mod ground;
pub mod random;
pub mod record;
pub mod release;
pub mod round;
pub mod sight;
pub mod sweep;
pub mod verdict;

mod dossier;
mod rendezvous;
