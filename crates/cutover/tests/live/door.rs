//! A door in front of Docker that holds one call, before Docker gets it or before its answer is passed on, while
//! the test does something: kills Docker, cuts the power, types a command.
//!
//! It moves bytes and reads the first line of each request, up to the first one of a connection that has a body:
//! only requests without one share a connection.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use cutover_testkit::scene::PATIENCE;

/// The longest head of a request that is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// When a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Docker has not got it yet.
    Before,
    /// Docker has done it, and its answer is not passed on yet.
    After,
}

/// What becomes of a call that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It goes on.
    Passes,
    /// The connection breaks.
    Breaks,
}

type Matches = Box<dyn FnMut(&str) -> bool + Send>;

struct Armed {
    matches: Matches,
    moment: Moment,
    held: SyncSender<Held>,
}

/// The door.
pub(crate) struct Door {
    socket: PathBuf,
    armed: Arc<Mutex<Option<Armed>>>,
    _directory: tempfile::TempDir,
}

/// Waits for the call that was asked for.
pub(crate) struct Expected(Receiver<Held>);

/// A call that waits. Dropping it breaks its connection.
pub(crate) struct Held {
    /// `METHOD path?query`.
    pub(crate) call: String,
    decision: SyncSender<End>,
}

impl Door {
    /// Opens a door in front of the Docker at `docker`.
    pub(crate) fn open(docker: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("cut").tempdir_in("/tmp");
        let directory = directory.expect("a directory");
        let socket = directory.path().join("door.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let armed: Arc<Mutex<Option<Armed>>> = Arc::default();
        let (shared, docker) = (Arc::clone(&armed), docker.to_owned());
        // It ends with the process of the test, as its connections do when both sides have closed them.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (armed, docker) = (Arc::clone(&shared), docker.clone());
                thread::spawn(move || answer(client, &armed, &docker));
            }
        });
        Self {
            socket,
            armed,
            _directory: directory,
        }
    }

    /// Where Docker is to be found behind the door.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Holds the first call that `matches`, written as `METHOD path?query`. It is asked about every call, in order.
    pub(crate) fn hold(
        &self,
        moment: Moment,
        matches: impl FnMut(&str) -> bool + Send + 'static,
    ) -> Expected {
        let (held, expected) = sync_channel(1);
        *lock(&self.armed) = Some(Armed {
            matches: Box::new(matches),
            moment,
            held,
        });
        Expected(expected)
    }
}

impl Expected {
    /// The call, once it is held.
    #[track_caller]
    pub(crate) fn wait(self) -> Held {
        let held = self.0.recv_timeout(PATIENCE);
        held.expect("the call is made")
    }
}

impl Held {
    /// Lets it go on to Docker, or its answer to whoever called.
    pub(crate) fn pass(self) {
        let _ = self.decision.send(End::Passes);
    }

    /// Breaks its connection.
    pub(crate) fn break_off(self) {
        let _ = self.decision.send(End::Breaks);
    }
}

/// Whether the call changes something.
pub(crate) fn is_change(call: &str) -> bool {
    !call.starts_with("GET ") && !call.starts_with("HEAD ")
}

/// The path of a call ends with this, whatever its query is.
pub(crate) fn path_ends_with(call: &str, end: &str) -> bool {
    let path = call.split('?').next().unwrap_or_default();
    path.ends_with(end)
}

/// Matches the changing call with this number (from 0) among those that come after the first start of a container.
pub(crate) fn after_the_start(number: usize) -> impl FnMut(&str) -> bool + Send + 'static {
    let mut started = false;
    let mut seen = 0;
    move |call| {
        if !is_change(call) {
            return false;
        }
        let counts = started;
        started |= path_ends_with(call, "/start");
        seen += usize::from(counts);
        counts && seen == number + 1
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut client: UnixStream, armed: &Mutex<Option<Armed>>, docker: &Path) {
    let mut connection: Option<(UnixStream, Arc<Gate>)> = None;
    while let Some((head, call)) = read_head(&mut client) {
        let mine = {
            let mut armed = lock(armed);
            let is_it = armed.as_mut().is_some_and(|one| (one.matches)(&call));
            if is_it { armed.take() } else { None }
        };
        let holds = |moment| mine.as_ref().filter(|one| one.moment == moment);
        if let Some(armed) = holds(Moment::Before)
            && hold(armed, &call) == End::Breaks
        {
            drop(client.shutdown(Shutdown::Both));
            return;
        }
        if connection.is_none() {
            connection = connect(&client, docker);
        }
        let Some((docker, gate)) = &mut connection else {
            return;
        };
        if holds(Moment::After).is_some() {
            gate.close();
        }
        if docker.write_all(&head).is_err() {
            return;
        }
        if let Some(armed) = holds(Moment::After) {
            gate.wait_for_answer();
            if hold(armed, &call) == End::Breaks {
                drop(client.shutdown(Shutdown::Both));
                drop(docker.shutdown(Shutdown::Both));
            }
            gate.open();
        }
        let has_body = !["GET ", "HEAD ", "DELETE "]
            .iter()
            .any(|method| call.starts_with(method));
        if has_body {
            let Ok(to_docker) = docker.try_clone() else {
                return;
            };
            return pour(client, to_docker);
        }
    }
    if let Some((docker, _)) = connection {
        drop(docker.shutdown(Shutdown::Write));
    }
}

/// A connection to Docker, whose answers go to `client` through a gate.
fn connect(client: &UnixStream, docker: &Path) -> Option<(UnixStream, Arc<Gate>)> {
    let docker = UnixStream::connect(docker).ok()?;
    let (mut from, mut to) = (docker.try_clone().ok()?, client.try_clone().ok()?);
    let gate = Arc::new(Gate::default());
    let shared = Arc::clone(&gate);
    thread::spawn(move || {
        let mut chunk = vec![0; MAX_HEAD_BYTES];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            shared.pass();
            if to.write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        shared.pass();
        drop(to.shutdown(Shutdown::Write));
    });
    Some((docker, gate))
}

/// What answers go through; it can be closed.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    arrived: bool,
}

impl Gate {
    fn close(&self) {
        *lock(&self.state) = GateState {
            closed: true,
            arrived: false,
        };
    }

    fn open(&self) {
        lock(&self.state).closed = false;
        self.changed.notify_all();
    }

    /// Waits until an answer, or the end of the connection, has arrived at the closed gate.
    fn wait_for_answer(&self) {
        let mut state = lock(&self.state);
        while !state.arrived {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the gate is open.
    fn pass(&self) {
        let mut state = lock(&self.state);
        state.arrived = true;
        self.changed.notify_all();
        while state.closed {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells the test, and waits for its word.
fn hold(armed: &Armed, call: &str) -> End {
    let (decision, decided) = sync_channel(1);
    let held = Held {
        call: call.to_owned(),
        decision,
    };
    if armed.held.send(held).is_err() {
        return End::Breaks;
    }
    decided.recv().unwrap_or(End::Breaks)
}

/// Everything up to the end of the first head, and its call.
fn read_head(client: &mut UnixStream) -> Option<(Vec<u8>, String)> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = client.read(&mut chunk).ok()?;
        if count == 0 || head.len() > MAX_HEAD_BYTES {
            return None;
        }
        head.extend_from_slice(&chunk[..count]);
    }
    let line = String::from_utf8_lossy(&head);
    let mut words = line.lines().next()?.split(' ');
    let call = format!("{} {}", words.next()?, words.next()?);
    Some((head, call))
}

/// Moves bytes until there are no more, and closes both ends then.
fn pour(mut from: UnixStream, mut to: UnixStream) {
    let end = match std::io::copy(&mut from, &mut to) {
        Ok(_) => Shutdown::Write,
        Err(_) => Shutdown::Both,
    };
    drop(to.shutdown(end));
}
