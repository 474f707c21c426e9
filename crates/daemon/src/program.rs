//! Runs a program that is not ours: no shell, a fixed argument vector, a process group of its own, and a
//! bound on time, output and what is kept of its messages.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use cutover_core::mask::beginning;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// What a program may print before the rest is thrown away: a rendered project of a thousand services.
const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// What is kept of its last lines, in characters: they travel in the journal and in answers.
const WORDS_MAX: usize = 4000;

/// What is kept of each of them, so that one that quotes a file does not take the place of all others.
const LINE_MAX: usize = 1000;

/// How long it may take to end after SIGTERM before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A program could not be run, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is none on this machine.
    #[error("{advice}")]
    NotFound {
        /// What is missing, and what to install.
        advice: &'static str,
    },
    /// It could not be started.
    #[error("could not start {}: {source}", program.display())]
    Start {
        /// What was started.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ran into its bound on time and was killed.
    #[error("`{what}` did not end within {} s and was killed", bound.as_secs())]
    TimedOut {
        /// The command.
        what: String,
        /// The bound.
        bound: Duration,
    },
    /// It ended with a failure.
    #[error("`{what}` failed: {message}")]
    Failed {
        /// The command.
        what: String,
        /// Its exit code, unless a signal ended it.
        code: Option<i32>,
        /// The end of what it wrote to stderr.
        message: String,
    },
}

/// The first executable file among: the configured path, `name` in these directories, `name` in `PATH`.
pub(crate) fn find_executable(
    name: &str,
    configured: Option<&Path>,
    directories: impl Iterator<Item = PathBuf>,
) -> Option<PathBuf> {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&in_path).collect();
    configured
        .map(Path::to_owned)
        .into_iter()
        .chain(
            directories
                .chain(in_path)
                .map(|directory| directory.join(name)),
        )
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What a program that succeeded has printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that has been started. Dropping it kills its whole process group.
#[derive(Debug)]
pub(crate) struct Running {
    what: String,
    child: Child,
    group: Option<Pid>,
    stdout: Pipe,
    stderr: Pipe,
}

impl Running {
    /// Starts it; `what` is what messages call it.
    pub(crate) fn start(command: Command, what: &str) -> Result<Self, ProgramError> {
        Self::start_with_input(command, what, Stdio::null())
    }

    /// As [`Self::start`], with what it reads from stdin.
    pub(crate) fn start_with_input(
        mut command: Command,
        what: &str,
        input: Stdio,
    ) -> Result<Self, ProgramError> {
        let program = PathBuf::from(command.as_std().get_program());
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|source| ProgramError::Start { program, source })?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let stdout = Pipe::new(child.stdout.take());
        let stderr = Pipe::new(child.stderr.take());
        Ok(Self {
            what: what.to_owned(),
            child,
            group,
            stdout,
            stderr,
        })
    }

    /// Waits for the end, at most `bound`; returns what was printed to stdout. The end is that of the output as
    /// well: whoever inherited the pipes may write for as long as it holds them.
    pub(crate) async fn output(self, bound: Duration) -> Result<String, ProgramError> {
        Ok(self.printed(bound).await?.stdout)
    }

    /// As [`Self::output`], with what was printed to stderr.
    pub(crate) async fn printed(mut self, bound: Duration) -> Result<Printed, ProgramError> {
        let Ok(status) = tokio::time::timeout(bound, self.ended()).await else {
            self.stop().await;
            return Err(ProgramError::TimedOut {
                what: self.what.clone(),
                bound,
            });
        };
        let succeeded = status.as_ref().is_ok_and(ExitStatus::success);
        if succeeded {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok(Printed {
                stdout: text(self.stdout.read().await),
                stderr: text(self.stderr.read().await),
            })
        } else {
            Err(ProgramError::Failed {
                what: self.what.clone(),
                code: status.ok().and_then(|status| status.code()),
                message: last_words(self.stderr.read().await),
            })
        }
    }

    /// Waits until nobody holds the pipes and the command has ended. It is reaped last: until then nobody else
    /// can be given the group's id. Cancel safe.
    async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.stdout.read().await;
        self.stderr.read().await;
        let status = self.child.wait().await;
        self.group = None;
        status
    }

    /// Waits until the command has ended; safe to be dropped and called again.
    pub(crate) async fn wait(&mut self) {
        // An error here means that there is nothing left to wait for.
        drop(self.child.wait().await);
        self.group = None;
    }

    /// Ends the command and everything that it started, and waits until it is gone.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(STOP_GRACE, self.ended())
            .await
            .is_err()
        {
            self.signal(Signal::KILL);
            drop(self.child.wait().await);
        }
        self.group = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!(%error, "the process group is gone");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Reads one of its pipes from the start on, so that it never stalls.
#[derive(Debug)]
struct Pipe {
    reader: JoinHandle<Vec<u8>>,
    kept: Option<Vec<u8>>,
}

impl Pipe {
    fn new(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        Self {
            reader: tokio::spawn(read_bounded(pipe)),
            kept: None,
        }
    }

    /// What was written, once the pipe is closed. Cancel safe.
    async fn read(&mut self) -> &[u8] {
        if self.kept.is_none() {
            self.kept = Some((&mut self.reader).await.unwrap_or_default());
        }
        self.kept.as_deref().unwrap_or_default()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_bounded(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return kept };
    let mut buffer = [0; 8192];
    // What is beyond the bound is read and dropped, so that the writer does not stall.
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    kept
}

/// The lines of stderr that tell the error: the last ones, without Compose's progress. Of each the beginning,
/// which says what is wrong, and how what it quotes is to be taken.
fn last_words(stderr: &[u8]) -> String {
    const LINES: usize = 10;
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let telling: Vec<_> = lines
        .iter()
        .filter(|line| !is_progress(line))
        .copied()
        .collect();
    let chosen = if telling.is_empty() { &lines } else { &telling };
    let mut kept: Vec<String> = Vec::new();
    let mut room = WORDS_MAX;
    for line in chosen.iter().rev().take(LINES) {
        let line = beginning(line, LINE_MAX);
        let len = line.chars().count();
        if len > room {
            break;
        }
        room -= len;
        kept.push(line);
    }
    kept.reverse();
    kept.join("; ")
}

/// `Container shop-app-1  Created` and the like.
fn is_progress(line: &str) -> bool {
    ["Container ", "Network ", "Volume ", "Image "]
        .iter()
        .any(|noun| line.starts_with(noun))
        && !line.contains("Error")
        && !line.contains("error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_leave_progress_out() {
        let stderr = b" Container a-app-1  Recreate\n Container a-app-1  Error\nError response from daemon: no such image\n";
        assert_eq!(
            last_words(stderr),
            "Container a-app-1  Error; Error response from daemon: no such image"
        );
        assert_eq!(
            last_words(b" Container x  Created\n"),
            "Container x  Created"
        );
    }

    #[test]
    fn last_words_are_bounded_and_every_line_keeps_its_beginning() {
        let long = last_words(format!("failed: {}", "ä".repeat(1 << 20)).as_bytes());
        assert!(
            long.starts_with("failed: ä") && long.ends_with("ä…"),
            "{long}"
        );
        assert_eq!(long.chars().count(), LINE_MAX + 1);
        let many = last_words(
            format!("failed: {}\n", "ä".repeat(900))
                .repeat(9)
                .as_bytes(),
        );
        assert_eq!(many.matches("failed: ").count(), 4);
        assert!(many.chars().count() <= WORDS_MAX + 3 * 2);
    }

    /// A program that leaves a child behind which holds its pipes.
    fn leaving(script: &str) -> Running {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Running::start(command, "a script").expect("a shell")
    }

    #[tokio::test]
    async fn a_child_that_keeps_the_pipes_open_does_not_outlast_the_bound() {
        let running = leaving("sleep 600 & exit 3");
        let began = std::time::Instant::now();
        let output = running.output(Duration::from_millis(300));
        let ended = tokio::time::timeout(Duration::from_secs(60), output).await;
        let ended = ended.expect("bounded");
        assert!(
            matches!(ended, Err(ProgramError::TimedOut { .. })),
            "{ended:?}"
        );
        assert!(began.elapsed() < STOP_GRACE, "the child was ended, too");

        // One that ends with the program is no reason to wait.
        let running = leaving("echo sorry >&2 & wait; exit 3");
        let ended = running.output(Duration::from_secs(60)).await;
        let Err(ProgramError::Failed { code, message, .. }) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!((code, message.as_str()), (Some(3), "sorry"));
    }
}
