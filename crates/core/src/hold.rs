//! The hold: new connections to a published port wait in the kernel while a release is switched, and go on when the new
//! container is proven, or when the old one is back.
//!
//! Decided here are the rules of the packet filter that send the first packet of each new connection to a queue
//! ([`rules`]), which rules an earlier hold has left behind ([`left_over`]), and which of the queued packets goes on
//! when ([`Waiting`]); and which connections are still open ([`open_connections`]), and which
//! processes need no grace when they are stopped ([`handles`]).

mod rules;
mod signals;
mod sockets;
mod waiting;

pub use rules::{Chain, Family, Published, Rule, left_over, rules};
pub use signals::handles;
pub use sockets::{listening_ports, open_connections};
pub use waiting::{Connection, Waiting};
