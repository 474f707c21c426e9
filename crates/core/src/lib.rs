//! The decisions of cutover, as pure functions.
//!
//! Nothing in this crate reads a clock, a file or a socket, and nothing in it waits: values go in, a
//! decision comes out. The daemon does what is decided here. That is what makes admission, the status
//! of a deployment, health, recovery and retention testable by the thousand.

pub mod names;
pub mod nearest;
pub mod plain;
pub mod duration;
pub mod cause;
pub mod dependency_order;
pub mod deployment;
pub mod admission;
pub mod recovery;
pub mod strategy;
pub mod switch;
pub mod image;
pub mod template;
pub mod unset;
pub mod retention;
pub mod releases;
pub mod compose_version;
pub mod compose_warnings;
pub mod made;
pub mod env_file;
pub mod mask;
pub mod tail;
pub mod health;
pub mod hold;
