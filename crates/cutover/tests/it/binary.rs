//! Running the built binary, or the action's script: a clean environment, a bound on its time, everything it
//! printed.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::Server;

/// No command in these tests takes nearly as long.
const BOUND: Duration = Duration::from_secs(60);

/// The script of the action.
const ACTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../action/deploy.sh");

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The exit code is this one.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

/// A command line to be run.
#[derive(Debug)]
pub(crate) struct Cutover(Command);

impl Cutover {
    /// `cutover` with these arguments and an empty environment.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self::of(env!("CARGO_BIN_EXE_cutover"), arguments)
    }

    fn of(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command)
    }

    /// The action instead, as a runner starts it, talking to the server's loopback port. It needs the
    /// programs of the runner.
    pub(crate) fn action(server: &Server) -> Self {
        Self::of("bash", &[ACTION])
            .env("PATH", std::env::var_os("PATH").expect("a path"))
            .env("CUTOVER_URL", server.url())
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REPOSITORY_ID", "1")
            .env("GITHUB_RUN_ID", "2")
            .env("GITHUB_RUN_ATTEMPT", "3")
    }

    /// The same, talking to the server's unix socket.
    pub(crate) fn local(server: &Server, arguments: &[&str]) -> Self {
        let mut this = Self::new(arguments);
        this.0.env("CUTOVER_SOCKET", server.socket());
        this
    }

    /// The same, talking to the server's loopback port.
    pub(crate) fn remote(server: &Server, arguments: &[&str]) -> Self {
        let mut this = Self::new(arguments);
        this.0.env("CUTOVER_URL", server.url());
        this
    }

    /// With an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Running {
        Running(self.0.spawn().expect("the binary starts"))
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        self.start().end()
    }
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Closes the reading end of its stdout.
    pub(crate) fn close_stdout(&mut self) {
        drop(self.0.stdout.take());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let stdout = reader(self.0.stdout.take());
        let stderr = reader(self.0.stderr.take());
        let deadline = Instant::now() + BOUND;
        let status = loop {
            match self.0.try_wait().expect("waited for") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    self.0.kill().ok();
                    let stderr = stderr.join().expect("read");
                    panic!("not ended after {BOUND:?}; stderr:\n{stderr}");
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        Ended {
            code: status.code(),
            stdout: stdout.join().expect("read"),
            stderr: stderr.join().expect("read"),
        }
    }
}

fn reader(source: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            source.read_to_end(&mut bytes).expect("readable");
        }
        String::from_utf8(bytes).expect("UTF-8")
    })
}

/// A file that is removed with the value.
pub(crate) fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content.as_bytes()).expect("written");
    file
}
