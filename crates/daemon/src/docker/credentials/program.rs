//! Asks a credential helper: a program beside Docker's client that keeps its secrets.
//!
//! Its protocol: `docker-credential-NAME get` reads the registry from standard input and writes a JSON
//! object, or a message and a non-zero exit code. It is run with these arguments only, for a bounded time,
//! in a process group of its own that is killed as a whole.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::{Credentials, CredentialsError, Login};

/// Helpers of cloud vendors ask a service of their own, which takes a second or two.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is read; tokens of cloud vendors are some kilobytes long.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// What is kept of a helper's message.
const MESSAGE_LEN_MAX: usize = 300;

/// How every helper says that it knows nothing about a registry.
const NOT_FOUND: &str = "credentials not found";

/// The user name by which a helper says that its secret is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default, deserialize_with = "super::secret")]
    secret: Zeroizing<String>,
}

/// What the helper `name` knows about `server`; none if it knows nothing. It is killed after `timeout`.
pub(super) async fn get(
    name: &str,
    server: &str,
    directory: &Path,
    search_path: &OsStr,
    timeout: Duration,
) -> Result<Option<Credentials>, CredentialsError> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| CredentialsError::Program {
        program: program.clone(),
        server: server.to_owned(),
        why,
    };
    if !is_program_name(name) {
        return Err(failed(
            "its name in docker's configuration has other characters than `A-Za-z0-9._-`"
                .to_owned(),
        ));
    }
    let Some(path) = find(&program, search_path) else {
        return Err(failed("there is no such program in PATH".to_owned()));
    };
    let child = Command::new(path)
        .arg("get")
        .env("PATH", search_path)
        .env("DOCKER_CONFIG", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let group = Group(child.id());
    let ended = tokio::time::timeout(timeout, converse(child, server)).await;
    drop(group);
    let (success, output) = match ended {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_elapsed) => {
            let why = format!("it did not answer within {} s", timeout.as_secs_f64());
            return Err(failed(why));
        }
    };
    if output.len() > ANSWER_LEN_MAX {
        return Err(failed("its answer is longer than 64 KiB".to_owned()));
    }
    if !success {
        let message = String::from_utf8_lossy(&output);
        let message: String = message.trim().chars().take(MESSAGE_LEN_MAX).collect();
        return if message.contains(NOT_FOUND) {
            Ok(None)
        } else {
            Err(failed(format!("it says: {message}")))
        };
    }
    let Answer { username, secret } = serde_json::from_slice(&output)
        .map_err(|_| failed("its answer is not what credential helpers answer".to_owned()))?;
    if username.is_empty() && secret.is_empty() {
        return Ok(None);
    }
    let login = if username == TOKEN_USER {
        Login::IdentityToken(secret)
    } else {
        Login::Password {
            username,
            password: secret,
        }
    };
    Ok(Some(Credentials {
        server: server.to_owned(),
        login,
    }))
}

/// Whether it succeeded, and what it wrote: one byte more than allowed at most.
async fn converse(mut child: Child, server: &str) -> std::io::Result<(bool, Zeroizing<Vec<u8>>)> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input may answer all the same.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    // Room for everything from the start, so that growing leaves no copy of a secret behind.
    let mut output = Zeroizing::new(Vec::with_capacity(ANSWER_LEN_MAX + 1));
    if let Some(stdout) = child.stdout.take() {
        let limit = u64::try_from(ANSWER_LEN_MAX + 1).unwrap_or(u64::MAX);
        stdout.take(limit).read_to_end(&mut output).await?;
    }
    if output.len() > ANSWER_LEN_MAX {
        return Ok((false, output));
    }
    Ok((child.wait().await?.success(), output))
}

/// Kills a helper with all that it has started.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self
            .0
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Usually it has ended, and with it the group.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn is_program_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn find(program: &str, search_path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(search_path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}
