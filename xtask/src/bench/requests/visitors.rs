//! Visitors on another machine, from which requests come whether or not the ones before
//! were answered.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use cutover_testkit::engine::remote::Remote;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Clients that keep their connection open.
pub(super) const CLIENTS: u32 = 50;
/// From one request of such a client to its next.
const PACE: Duration = Duration::from_millis(100);
/// How long a client waits, for the connection and the answer together.
const PATIENCE: Duration = Duration::from_secs(35);
/// How often it is looked which requests are due.
const TICK: Duration = Duration::from_millis(1);
/// So many wait at once at most. What comes then has failed: more files may not be open.
const WAITING_MAX: usize = 15_000;
/// More than a connection for each waiting request.
const PORTS: (&str, &str) = ("/proc/sys/net/ipv4/ip_local_port_range", "1024 65000");

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A client that opens a connection for its only request.
    OneConnection,
    /// One of those that keep their connection open.
    KeepAlive,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    /// It failed, and was answered when it was sent once more, on a new connection.
    AnsweredAtRetry,
    Failed,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    /// When it was due.
    pub(super) due: Instant,
    /// From then to its end.
    pub(super) waited: Duration,
    pub(super) outcome: Outcome,
}

/// Which visitors there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd {
    /// Requests per second with a connection each.
    pub(super) rate: u32,
    /// Clients with a connection that stays open.
    pub(super) clients: u32,
}

/// Visitors that ask until they are stopped.
#[derive(Debug)]
pub(super) struct Visitors {
    stop: Arc<AtomicBool>,
    began: Instant,
    thread: JoinHandle<Result<Vec<Asked>>>,
}

impl Visitors {
    /// Lets them ask, from this network namespace.
    pub(super) fn start(from: &Remote, address: SocketAddr, crowd: Crowd) -> Result<Self> {
        // Each waiting request is an open file.
        let most = getrlimit(Resource::Nofile).maximum;
        let files = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(Resource::Nofile, files)?;
        let stop = Arc::new(AtomicBool::new(false));
        let asking = Arc::clone(&stop);
        let thread = from.run(|| thread::spawn(move || ask_until(&asking, address, crowd)))?;
        let began = Instant::now();
        Ok(Self {
            stop,
            began,
            thread,
        })
    }

    /// Stops them, and returns what became of each request, and for how long they came.
    pub(super) fn stop(self) -> Result<(Vec<Asked>, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        let came = self.began.elapsed();
        let joined = self.thread.join();
        let asked = joined.map_err(|_| anyhow!("a visitor panicked"))??;
        Ok((asked, came))
    }
}

fn ask_until(stop: &Arc<AtomicBool>, address: SocketAddr, crowd: Crowd) -> Result<Vec<Asked>> {
    let (path, range) = PORTS;
    fs::write(path, range).with_context(|| format!("{path} cannot be written"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(async {
        let (asked, mut all) = channel(WAITING_MAX);
        for number in 0..crowd.clients {
            let client = keep_asking(number, Arc::clone(stop), address, asked.clone());
            tokio::spawn(client);
        }
        tokio::spawn(come(Arc::clone(stop), address, crowd.rate, asked));
        // It ends with the last request.
        let mut ended = Vec::new();
        while let Some(one) = all.recv().await {
            ended.push(one);
        }
        ended
    }))
}

/// Sends each request when it is due, and waits for none.
async fn come(stop: Arc<AtomicBool>, address: SocketAddr, rate: u32, asked: Sender<Asked>) {
    let request = format!("GET /version HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let request: Arc<str> = request.into();
    let began = Instant::now();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut due = began;
    let places = Arc::new(Semaphore::new(WAITING_MAX));
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        while due <= Instant::now() {
            let (request, asked) = (Arc::clone(&request), asked.clone());
            let place = Arc::clone(&places).try_acquire_owned();
            tokio::spawn(async move {
                let is_good = place.is_ok() && exchange(&mut None, address, &request).await.is_ok();
                let outcome = match is_good {
                    true => Outcome::Answered,
                    false => Outcome::Failed,
                };
                note(&asked, Kind::OneConnection, due, outcome).await;
            });
            due += Duration::from_secs(1) / rate;
        }
    }
}

/// A client with a connection that stays open. One that was closed is replaced, and a request that fails all the same is
/// sent once more.
async fn keep_asking(
    number: u32,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    asked: Sender<Asked>,
) {
    let request = format!("GET /version HTTP/1.1\r\nHost: {address}\r\n\r\n");
    tokio::time::sleep(PACE * number / CLIENTS).await;
    let mut tick = interval(PACE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = None;
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let due = Instant::now();
        open = open.filter(is_open);
        let mut outcome = Outcome::Answered;
        if exchange(&mut open, address, &request).await.is_err() {
            outcome = match exchange(&mut open, address, &request).await {
                Ok(()) => Outcome::AnsweredAtRetry,
                Err(_) => Outcome::Failed,
            };
        }
        note(&asked, Kind::KeepAlive, due, outcome).await;
    }
}

async fn note(asked: &Sender<Asked>, kind: Kind, due: Instant, outcome: Outcome) {
    let one = Asked {
        kind,
        due,
        waited: due.elapsed(),
        outcome,
    };
    // The receiver waits for the last sender.
    drop(asked.send(one).await);
}

/// Whether the other side has not closed the connection.
fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends a request on the open connection, or on a new one, and reads the answer, which must be good. The connection is
/// open afterwards if it stays open.
async fn exchange(
    open: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &str,
) -> io::Result<()> {
    let connection = open.take();
    let work = async {
        let mut stream = match connection {
            Some(stream) => stream,
            None => TcpStream::connect(address).await?,
        };
        stream.write_all(request.as_bytes()).await?;
        let stays_open = read_answer(&mut stream).await?;
        io::Result::Ok(stays_open.then_some(stream))
    };
    *open = timeout(PATIENCE, work).await??;
    Ok(())
}

/// Reads one whole answer and returns whether the connection stays open.
async fn read_answer(stream: &mut TcpStream) -> io::Result<bool> {
    let mut answer = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let field = |name: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
            named.next().map(|(_, value)| value.to_ascii_lowercase())
        };
        let length = field("content-length").and_then(|text| text.parse::<usize>().ok());
        if !head.starts_with("HTTP/1.1 200 ") || length.is_none() {
            return Err(io::Error::other(head.to_owned()));
        }
        if length.is_some_and(|length| body.len() >= length) {
            return Ok(field("connection").as_deref() != Some("close"));
        }
    }
}
