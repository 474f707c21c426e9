//! A TCP connection to the container that is closed again at once.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use super::{ProbeFailure, Seconds, words};

/// Connects to `port` at `address` within `timeout`.
///
/// # Errors
/// Why no connection came about, in words.
pub async fn tcp(address: IpAddr, port: u16, timeout: Duration) -> Result<(), ProbeFailure> {
    let target = SocketAddr::new(address, port);
    match tokio::time::timeout(timeout, TcpStream::connect(target)).await {
        Ok(Ok(_connection)) => Ok(()),
        Ok(Err(error)) => Err(ProbeFailure::new(format!("{target}: {}", words(&error)))),
        Err(_elapsed) => Err(ProbeFailure::new(format!(
            "{target}: no connection within {}",
            Seconds(timeout)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_open_port_passes_and_a_closed_one_does_not() {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(tcp(LOOPBACK, port, TIMEOUT).await, Ok(()));
        // Held and not listened on, so that it refuses and nobody else takes it.
        let closed = TcpSocket::new_v4().expect("a socket");
        closed.bind((LOOPBACK, 0).into()).expect("a port");
        let port = closed.local_addr().expect("bound").port();
        let failure = tcp(LOOPBACK, port, TIMEOUT).await.expect_err("closed");
        assert_eq!(failure.why, format!("127.0.0.1:{port}: connection refused"));
    }
}
