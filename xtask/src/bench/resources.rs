//! What a process uses, and what machine this is, as Linux tells it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Everything of it that is in memory (RSS).
    pub(crate) resident: f64,
    /// The same, with what it shares with other processes divided among them (PSS).
    pub(super) proportional: f64,
}

/// The memory of a process now.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let field = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib: f64 = line
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .with_context(|| format!("{path} has no {name}"))?
            .trim()
            .parse()?;
        Ok(kib * 1024.0)
    };
    Ok(Memory {
        resident: field("Rss:")?,
        proportional: field("Pss:")?,
    })
}

/// The processor time that a process has used so far, in itself and in the kernel.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    ticks(pid, 11)
}

/// The same for all of a process's children that have ended.
pub(super) fn processor_time_of_ended_children(pid: u32) -> Result<Duration> {
    ticks(pid, 13)
}

/// The sum of two neighboring numbers of the kernel's account of a process, of which the first is this
/// far behind the process's name.
fn ticks(pid: u32, first: usize) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    // The name in parentheses may hold anything; what follows it are numbers.
    let (_, fields) = text.rsplit_once(')').context("an unexpected form")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(first)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}

/// One line about the machine, because every number depends on it.
pub(crate) fn machine() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let count = std::thread::available_parallelism()?;
    Ok(format!(
        "{count} x {model}, Linux {}, load average {load} at the start",
        kernel.trim()
    ))
}
