//! Clients that ask a service all the time, each with one connection for each request, and that wait for an answer as
//! long as people do.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::names::addresses;

/// How many clients there are, beside each other.
pub const CLIENTS: usize = 8;

/// From the start of one request of a client to the start of its next, if the answer came in time.
const PACE: Duration = Duration::from_millis(10);

/// For so long a client waits for a connection, and for an answer: longer than any hold.
const PATIENCE: Duration = Duration::from_secs(110);

/// For so long it waits for a connection to one of several addresses. The packets to a container that is gone get no
/// answer, as long as the client's machine believes to know where it is.
const PATIENCE_OF_ONE: Duration = Duration::from_secs(3);

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When it began, to find it beside what a daemon recorded.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What the service answered, or what went wrong.
    pub outcome: Result<String, String>,
}

/// The clients. Dropping it ends them.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Asked>>>,
}

impl Load {
    /// Starts to ask `http://ADDRESS/version`, in the calling thread's network namespace.
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        Self::start_asking(address, "/version", CLIENTS)
    }

    /// The same with so many clients, which ask for `path`.
    #[must_use]
    pub fn start_asking(address: SocketAddr, path: &'static str, clients: usize) -> Self {
        Self::asking(clients, move || ask(address, path))
    }

    /// Starts to ask `http://NAME:PORT/version`, in the network namespace of the calling thread, which is that of a
    /// container. Each request asks what the name stands for; where one address does not answer, it takes the next one.
    #[must_use]
    pub fn by_name(name: &'static str, port: u16) -> Self {
        Self::asking(CLIENTS, move || {
            let addresses = addresses(name)?.into_iter();
            let all: Vec<_> = addresses.map(|one| SocketAddr::new(one, port)).collect();
            ask_first(&all)
        })
    }

    fn asking(
        clients: usize,
        ask: impl Fn() -> io::Result<String> + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let (stop, ask) = (Arc::clone(&stop), ask.clone());
            thread::spawn(move || ask_until(&ask, &stop))
        };
        Self {
            clients: (0..clients).map(client).collect(),
            stop,
        }
    }

    /// Ends the clients; returns all that they asked.
    ///
    /// # Panics
    /// If a client panicked.
    #[must_use]
    pub fn stop(mut self) -> Vec<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        let clients = std::mem::take(&mut self.clients).into_iter();
        let all = clients.map(|client| client.join().expect("a client does not panic"));
        all.flatten().collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask_until(ask: &impl Fn() -> io::Result<String>, stop: &AtomicBool) -> Vec<Asked> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let (began, clock) = (SystemTime::now(), Instant::now());
        let outcome = ask().map_err(|error| error.to_string());
        let took = clock.elapsed();
        all.push(Asked {
            began,
            took,
            outcome,
        });
        thread::sleep(PACE.saturating_sub(took));
    }
    all
}

/// As nginx does it: where one address refuses the request or cuts it, the next one gets it.
fn ask_first(addresses: &[SocketAddr]) -> io::Result<String> {
    let mut outcome = Err(io::Error::other("nobody has the name"));
    for address in addresses {
        outcome = ask_with(*address, "/version", PATIENCE_OF_ONE);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Asks for `path` once, with the patience of a client; returns what it answered.
///
/// # Errors
/// If there is no answer, or one that says that something is wrong.
pub fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    ask_with(address, path, PATIENCE)
}

fn ask_with(address: SocketAddr, path: &str, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n");
    let is_good = answer.starts_with("HTTP/1.1 200 ");
    match body.filter(|_| is_good) {
        Some((_, body)) => Ok(body.trim().to_owned()),
        None => Err(io::Error::other(format!("it answered {answer:?}"))),
    }
}
