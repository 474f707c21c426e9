//! Real parts for the tests of cutover: a private Docker Engine, a registry, images of an example
//! service, a server with systemd, a disk that loses power, and a prober that measures what clients of a
//! service see.
//!
//! Tests that need them run inside a world that `cargo xtask test` prepares; see [`world`].

pub mod engine;
pub mod images;
pub mod label_proxy;
pub mod load;
pub mod ports;
pub mod prober;
pub mod registry;
pub mod signer;
pub mod faults;
pub mod disk;
pub mod names;
pub mod nginx;
pub mod scene;
pub mod torture;
pub mod server;

use std::sync::OnceLock;

use engine::world::World;

/// The world that this test runs in.
///
/// # Panics
/// If the test was not started through `cargo xtask`; the message says how to do that.
#[must_use]
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| match World::from_environment() {
        Ok(world) => world,
        Err(error) => panic!("{error:#}"),
    })
}
