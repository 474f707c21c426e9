//! `shopd forward PORT`: a proxy. Each request goes to the next one of the backends, on a connection of its own. Which
//! there are comes on standard input: a line with all addresses, each time that they change. It ends with the input.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::{READ_TIMEOUT, read_request};

/// What a client gets where no backend answers.
const BAD_GATEWAY: &str =
    "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Where requests go, in turn.
#[derive(Default)]
struct Backends {
    all: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
}

impl Backends {
    fn set(&self, line: &str) {
        let all = line.split_whitespace().flat_map(str::parse).collect();
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn next(&self) -> Option<SocketAddr> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        all.get(turn.checked_rem(all.len())?).copied()
    }
}

/// Forwards until the input ends.
pub(crate) fn forward(port: u16) -> ExitCode {
    let backends = Arc::<Backends>::default();
    let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("shopd: cannot listen on port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let listening = Arc::clone(&backends);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let backends = Arc::clone(&listening);
            thread::spawn(move || serve(stream, &backends));
        }
    });
    for line in std::io::stdin().lines().map_while(Result::ok) {
        backends.set(&line);
    }
    ExitCode::SUCCESS
}

/// Answers the requests of one client.
fn serve(mut client: TcpStream, backends: &Backends) {
    if client.set_read_timeout(Some(READ_TIMEOUT)).is_err() {
        return;
    }
    while let Some((target, is_last)) = read_request(&mut client) {
        let backend = backends.next();
        let answer = backend.and_then(|backend| ask(backend, &target));
        let is_last = is_last || answer.is_none();
        let answer = answer.unwrap_or_else(|| BAD_GATEWAY.to_owned());
        let answer = match is_last {
            true => answer,
            false => answer.replacen("Connection: close", "Connection: keep-alive", 1),
        };
        // A client that went away is its own affair: there is nobody to tell.
        if client.write_all(answer.as_bytes()).is_err() || is_last {
            return;
        }
    }
}

/// The whole answer of a backend, if it gives one.
fn ask(backend: SocketAddr, target: &str) -> Option<String> {
    let mut stream = TcpStream::connect(backend).ok()?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {backend}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains("\r\n\r\n").then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_get_requests_in_turn() {
        let backends = Backends::default();
        assert_eq!(backends.next(), None);
        backends.set("172.18.0.2:8080 172.18.0.3:8080");
        let first = backends.next();
        let second = backends.next();
        assert!(first.is_some() && second.is_some() && first != second);
        assert_eq!(backends.next(), first);
        backends.set("");
        assert_eq!(backends.next(), None);
    }
}
