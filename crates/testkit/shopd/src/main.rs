//! The example service that tests and the demo deploy: a tiny HTTP server which behaves, or
//! misbehaves, as the environment of its image says. See [`behavior`] for the variables and
//! [`routes`] for what it answers.
//!
//! It stands alone in an image `FROM scratch`: one static binary which is also its own health check. Called by another
//! name, it stands for that program: `curl`, `pg_isready` and the like, also within `sh -c`, are a health check,
//! everything else is the service.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a containerized service logs to its standard streams"
)]

mod behavior;
mod drain;
mod forward;
mod routes;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use behavior::{AfterStart, Behavior, OnTerminate};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A request that takes longer to arrive than this is dropped, so that no thread waits for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest request head that is read. Requests of tests are far shorter.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What a health check is made of, in the manner of real Compose files.
const CHECKS: [&str; 7] = [
    "curl",
    "wget",
    "pg_isready",
    "redis-cli",
    "mysqladmin",
    "ping",
    "healthcheck",
];

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().collect();
    if let Some(program) = all.first().filter(|name| !name.ends_with("shopd")) {
        let is_check = |word: &str| CHECKS.contains(&word);
        let mut words = all.iter().flat_map(|one| one.split_whitespace());
        let path = Path::new(program)
            .file_name()
            .and_then(|name| name.to_str());
        return match path.is_some_and(is_check) || words.any(is_check) {
            true => health_check(Behavior::from_environment().port),
            false => serve(Behavior::from_environment()),
        };
    }
    let words: Vec<&str> = all.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        [] | ["serve"] => serve(Behavior::from_environment()),
        ["as", role] => serve_as(role),
        ["forward", port] => match port.parse() {
            Ok(port) => forward::forward(port),
            Err(_) => usage(),
        },
        ["healthcheck"] => health_check(Behavior::from_environment().port),
        ["healthcheck", port] => match port.parse() {
            Ok(port) => health_check(port),
            Err(_) => usage(),
        },
        ["cat", path] => match std::fs::read(path) {
            Ok(content) => match std::io::stdout().write_all(&content) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            },
            Err(error) => {
                eprintln!("shopd: {path}: {error}");
                ExitCode::FAILURE
            }
        },
        ["note", path] => match note(path) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("shopd: {path}: {error}");
                ExitCode::FAILURE
            }
        },
        _ => usage(),
    }
}

/// Adds a line to a file: the version, `NOTE`, the directory and the user that it runs as. Says the same, with its secret.
fn note(path: &str) -> std::io::Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (version, note) = (variable("VERSION"), variable("NOTE"));
    let directory = std::env::current_dir()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let user = user.and_then(|ids| ids.split_whitespace().next());
    let line = format!(
        "{version} {note} {} {}",
        directory.display(),
        user.unwrap_or("?")
    );
    println!(
        "shopd {version}: noting {note} with token {}",
        variable("SECRET_TOKEN")
    );
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    writeln!(file, "{line}")
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: shopd [serve | as ROLE | forward PORT | healthcheck [PORT] | cat FILE | note FILE]"
    );
    ExitCode::from(2)
}

/// The same program in another role, whatever `ROLE` says.
fn serve_as(role: &str) -> ExitCode {
    let error = Command::new("/proc/self/exe").env("ROLE", role).exec();
    eprintln!("shopd: cannot start again: {error}");
    ExitCode::FAILURE
}

/// Serves until a signal or the configured misfortune ends the process.
fn serve(behavior: Behavior) -> ExitCode {
    let started = Instant::now();
    eprintln!("shopd {}: starting", behavior.version);
    watch_signals(behavior.on_terminate);
    if let Some(code) = behavior.exit_at_once {
        if code == 0 {
            eprintln!("shopd {}: the work is done", behavior.version);
            return ExitCode::SUCCESS;
        }
        eprintln!("shopd {}: reading the configuration", behavior.version);
        if let Ok(token) = std::env::var("SECRET_TOKEN") {
            eprintln!("shopd {}: connecting with token {token}", behavior.version);
        }
        eprintln!(
            "shopd {}: fatal: cannot connect to the database",
            behavior.version
        );
        return ExitCode::from(code);
    }
    if behavior.runs_once && std::fs::create_dir("/tmp/has-run").is_err() {
        eprintln!("shopd {}: fatal: it has run before", behavior.version);
        return ExitCode::FAILURE;
    }
    thread::sleep(behavior.start_delay);
    if let AfterStart::Exit { after, code } = behavior.after_start {
        let version = behavior.version.clone();
        thread::spawn(move || {
            thread::sleep(after);
            eprintln!("shopd {version}: fatal: out of luck");
            std::process::exit(i32::from(code));
        });
    }
    let behavior = Arc::new(behavior);
    if let Some(port) = behavior.second_port {
        let behavior = Arc::clone(&behavior);
        thread::spawn(move || listen(port, &behavior, started));
    }
    listen(behavior.port, &behavior, started)
}

/// Answers at this port for as long as the process lives.
fn listen(port: u16, behavior: &Arc<Behavior>, started: Instant) -> ExitCode {
    let version = &behavior.version;
    let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("shopd {version}: cannot listen on port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!("shopd {version}: listening on port {port}");
    for stream in listener.incoming().flatten() {
        let behavior = Arc::clone(behavior);
        thread::spawn(move || answer(stream, &behavior, started));
    }
    ExitCode::FAILURE
}

/// Ends the process at SIGTERM, as a well-behaved service does, unless told not to.
fn watch_signals(on_terminate: OnTerminate) {
    if matches!(on_terminate, OnTerminate::Nothing) {
        return;
    }
    let mut signals = match Signals::new([SIGTERM, SIGINT]) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("shopd: cannot watch signals: {error}");
            return;
        }
    };
    thread::spawn(move || {
        for signal in signals.forever() {
            match on_terminate {
                OnTerminate::Nothing => {}
                OnTerminate::Ignore => eprintln!("shopd: ignoring signal {signal}"),
                OnTerminate::Drain => {
                    eprintln!("shopd: ending at signal {signal}, when nobody asks any more");
                    drain::drain();
                    std::process::exit(0);
                }
                OnTerminate::ExitAfter(delay) => {
                    eprintln!("shopd: stopping at signal {signal}");
                    thread::sleep(delay);
                    std::process::exit(0);
                }
            }
        }
    });
}

/// Answers one request, or as many as come where connections stay open.
fn answer(mut stream: TcpStream, behavior: &Behavior, started: Instant) {
    if stream.set_read_timeout(Some(READ_TIMEOUT)).is_err() {
        return;
    }
    while let Some((target, is_last)) = read_request(&mut stream) {
        let (status, body) = routes::answer(&target, behavior, started.elapsed());
        let stays_open = behavior.keeps_alive && !is_last;
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n",
            routes::reason(status),
            body.len(),
            if stays_open { "keep-alive" } else { "close" },
        );
        // A client that went away is its own affair: there is nobody to tell.
        let sent = stream.write_all(&[head.as_bytes(), &body].concat());
        if sent.is_err() || !stays_open {
            return;
        }
    }
}

/// The target of a `GET target HTTP/1.x` request and whether the client sends no more on this connection, or nothing if
/// no such request arrived.
fn read_request(stream: &mut TcpStream) -> Option<(String, bool)> {
    let mut head = Vec::new();
    let mut chunk = [0_u8; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut chunk).ok()?;
        if count == 0 || head.len() > MAX_HEAD_BYTES {
            return None;
        }
        head.extend_from_slice(&chunk[..count]);
    }
    let head = String::from_utf8_lossy(&head);
    let fields = head.to_ascii_lowercase();
    let is_last = !fields.contains(" http/1.1\r\n") || fields.contains("\r\nconnection: close\r\n");
    let mut words = head.lines().next()?.split(' ');
    match (words.next(), words.next()) {
        (Some("GET" | "HEAD"), Some(target)) => Some((target.to_owned(), is_last)),
        _ => None,
    }
}

/// Asks the server in the same container for its health, as Docker's `HEALTHCHECK`.
fn health_check(port: u16) -> ExitCode {
    match ask_health(port) {
        Ok(status) if status.starts_with("HTTP/1.1 200 ") => {
            println!("healthy");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            println!("unhealthy: {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("unhealthy: no answer on port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The status line that `/healthz` answers.
fn ask_health(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
