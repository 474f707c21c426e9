//! Running other people's programs so that a failure carries what they said.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// How much of a program's output an error repeats. Package tools are verbose; the end is what counts.
const TAIL_BYTES: usize = 4096;

/// Runs the command to its end and returns its standard output.
///
/// # Errors
/// If it cannot be started or does not succeed; the error holds the end of what it printed.
pub fn output_of(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} could not be started"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program} failed ({}):\n{}", output.status, tail(&said));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The end of a log file, for an error message.
pub fn tail_of(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(content) if content.is_empty() => format!("{} is empty", path.display()),
        Ok(content) => format!("the end of {}:\n{}", path.display(), tail(&content)),
        Err(error) => format!("{} cannot be read: {error}", path.display()),
    }
}

fn tail(content: &[u8]) -> String {
    let start = content.len().saturating_sub(TAIL_BYTES);
    String::from_utf8_lossy(&content[start..])
        .trim_end()
        .to_owned()
}
