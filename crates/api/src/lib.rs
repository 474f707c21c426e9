//! The wire of cutover: what travels over HTTP between a client and the daemon.
//!
//! Types here mirror `docs/api.md` field by field and know nothing of how a deployment is run.
//! [`signature`] signs and verifies requests, side by side, so that both ends cannot drift apart.

pub mod deploy;
pub mod deployment;
pub mod event;
pub mod health;
pub mod problem;
pub mod service;
pub mod signature;
