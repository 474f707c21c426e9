//! The deployment journal against real files: what is recorded is there afterwards, whatever happens.

mod record;
mod history;
mod open;
mod damage;
mod disk_full;
mod disk_fails;
mod kill;
mod power_cut;
mod replay;
mod versions;
mod sample;
mod world;

#[path = "../../../core/tests/strategy/events.rs"]
mod events;
