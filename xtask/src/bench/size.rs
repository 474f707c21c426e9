//! What the binary weighs, and how fast it starts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::report::{Report, Table};
use super::statistics::{Summary, millis};
use super::target::Target;
use crate::dist;

/// How often the help is asked for.
const RUNS: u32 = 20;

/// Measures.
pub(super) fn run(cutover: &Path, report: &mut Report) -> Result<()> {
    let binary = dist::inspect(cutover)?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        let status = Command::new(cutover)
            .arg("--help")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        times.push(millis(began.elapsed()));
        ensure!(status.success(), "cutover --help ends with {status}");
    }
    let help = Summary::of(times).context("nothing was measured")?;
    let megabytes = binary.bytes as f64 / 1e6;
    let mut table = Table::new(&["binary", "", "min", "max"]);
    table.row(
        "size, MB (linked statically)",
        vec![format!("{megabytes:.1}")],
    );
    table.row(
        "cutover --help, ms",
        [help.median, help.min, help.max]
            .map(|ms| format!("{ms:.1}"))
            .to_vec(),
    );
    report.say(&table.to_string());
    report.judge(Target::at_most("release binary", 25.0, "MB", megabytes));
    report.judge(Target::at_most(
        "cutover --help, median",
        10.0,
        "ms",
        help.median,
    ));
    Ok(())
}
