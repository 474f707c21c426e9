//! The cutover daemon.
//!
//! Data flows one way: `http` asks the `deployer`, which owns every deployment and drives the `driver`
//! and the `probe`s, and records each step in the `journal` before it is taken. Nobody reaches back up.

pub mod settings;
pub mod labels;
pub mod program;
pub mod docker;
pub mod journal;
pub mod probe;
pub mod driver;
pub mod registry;
pub mod hold;
pub mod way_back;
pub mod deployer;
pub mod metrics;
pub mod http;
pub mod plan;
pub mod check;
pub mod run;
mod files;
mod systemd;

pub use files::outside::change as change_file;
