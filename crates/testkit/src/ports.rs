//! Ports for those who must know theirs before anybody listens on it.
//!
//! The kernel and Docker hand out ports from 32768 on, to whoever takes port 0 and to every connection that
//! goes out. A port from there that is free now may be somebody else's when it is needed; these are from
//! below, and nobody in this process gets the same one twice.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

/// The first of them. What is below is for fixed ports.
const FIRST: u32 = 20_000;
/// How many there are. The last one is below what the kernel hands out.
const COUNT: u32 = 10_000;
/// How far from each other two processes begin whose ids follow each other: a test binary takes fewer ports.
const STRIDE: u32 = 1_009;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A port of the loopback interface that nobody listens on and that no other caller in this process gets.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    (0..COUNT)
        .map(|_| candidate(std::process::id(), TAKEN.fetch_add(1, Ordering::Relaxed)))
        .find(|&port| is_free(port).is_ok())
        .expect("a free port")
}

/// Whether nobody listens on a port. It is not listened on for that: a program that another thread starts at that
/// moment has a copy of the socket for a while, and would keep the port taken.
fn is_free(port: u16) -> rustix::io::Result<()> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// The `number`th port that the process with this id tries.
fn candidate(process: u32, number: u32) -> u16 {
    let offset = (process % COUNT * STRIDE + number % COUNT) % COUNT;
    u16::try_from(FIRST + offset).expect("below 65536")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_process_tries_every_port_once_before_it_tries_one_again() {
        let tried: BTreeSet<u16> = (0..COUNT).map(|number| candidate(4711, number)).collect();
        let all: BTreeSet<u16> = (20_000..30_000).collect();
        assert_eq!(tried, all);
        assert_eq!(candidate(4711, COUNT), candidate(4711, 0));
    }

    #[test]
    fn a_port_is_given_out_once_and_can_be_listened_on() {
        let ports = [free_port(), free_port(), free_port()];
        let listeners = ports.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        assert!(listeners.iter().all(Result::is_ok), "{listeners:?}");
        assert!(ports.iter().all(|&port| is_free(port).is_err()), "taken");
    }
}
