//! Finding, signalling and muting child processes.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The only child of a process, such as what `unshare --fork` runs; none if it has none yet.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn child_of(parent: u32) -> Result<Option<Pid>> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(number) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // `pid (name) state parent …`, and the name may hold anything.
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        if after_name.split(' ').nth(1) == Some(parent.to_string().as_str()) {
            return Ok(Pid::from_raw(number));
        }
    }
    Ok(None)
}

/// Sends a signal. That the process is gone already is no error.
pub fn signal(pid: Pid, signal: Signal) {
    let _gone = kill_process(pid, signal);
}

/// Lets a command that stays in the background write to a log file only, and makes it deaf to the
/// terminal's Ctrl-C: its owner ends it in order.
///
/// # Errors
/// If the log file cannot be opened.
pub fn log_to(command: &mut Command, log: &Path) -> Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("{} cannot be opened", log.display()))?;
    command
        .stdin(Stdio::null())
        .stderr(file.try_clone()?)
        .stdout(file)
        .process_group(0);
    Ok(())
}
