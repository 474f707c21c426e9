//! `cargo xtask bench`: what cutover promises about speed and size, measured on this machine beside
//! what else one would use.
//!
//! ```text
//! cargo xtask bench ─ builds the binary, fetches what it is compared with
//!   └─ test world (private Docker, network of its own)
//!        └─ xtask bench --inside ─ measures, writes CSV and SVG
//! ```
//!
//! A benchmark reports. It fails only when it could not measure, or with `--check`.

mod chart;
mod endpoint;
mod http;
mod observe;
mod recovery;
mod report;
mod requests;
pub(crate) mod resources;
mod rollback;
mod several;
mod size;
mod stage;
pub(crate) mod statistics;
mod steps;
mod switch;
mod target;
mod webhook;
mod wrk;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{dist, world};
use report::Report;

/// As the command `nice` takes it; the least is -20.
const PRIORITY: i32 = -15;
/// The priority of this process's session.
const SESSION: &str = "/proc/self/autogroup";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to measure; everything unless given
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// How often each contestant has its turn
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where the CSV files and the charts go
    #[arg(long, default_value_os_t = world::workspace_dir().join("docs/bench"))]
    out: PathBuf,
    /// Measure this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
    /// How often each contestant deploys while visitors ask
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    deployments: u32,
    /// How many requests per second then come with a connection each
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Fail if a target is missed
    #[arg(long)]
    check: bool,
    /// The binary to measure, from inside a test world
    #[arg(long, hide = true, requires_all = ["caddy", "webhook", "wrk"])]
    inside: Option<PathBuf>,
    /// The program of Caddy, from inside a test world
    #[arg(long, hide = true)]
    caddy: Option<PathBuf>,
    /// The program of adnanh/webhook, from inside a test world
    #[arg(long, hide = true)]
    webhook: Option<PathBuf>,
    /// The directory that wrk is in, from inside a test world
    #[arg(long, hide = true)]
    wrk: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests that fail in deployments in a row: cutover, Compose, docker-rollout, Caddy
    Requests,
    /// Switching the release: cutover, Compose and the floor
    Switch,
    /// A release of three services: cutover beside itself with one, and Compose
    Several,
    /// A release that exits at once, and is rolled back
    Rollback,
    /// The daemon is killed in the switch and started again, beside Docker's own start
    Recovery,
    /// Requests per second and memory, beside adnanh/webhook
    Endpoint,
    /// The binary's size, linkage and start
    Size,
}

impl Part {
    const ALL: [Self; 7] = [
        Self::Requests,
        Self::Switch,
        Self::Several,
        Self::Rollback,
        Self::Recovery,
        Self::Endpoint,
        Self::Size,
    ];
}

/// Prepares outside, where there is a network, and measures inside.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let (Some(cutover), Some(caddy), Some(webhook), Some(wrk)) = (
        &arguments.inside,
        &arguments.caddy,
        &arguments.webhook,
        &arguments.wrk,
    ) {
        return measure(arguments, cutover, caddy, webhook, wrk);
    }
    let binary = match &arguments.binary {
        Some(path) => path.canonicalize()?,
        None => dist::build()?.path,
    };
    let fetched = world::target_dir().join("bench");
    let caddy = requests::fetch(&fetched)?;
    let webhook = webhook::fetch(&fetched)?;
    let wrk = wrk::fetch(&fetched)?;
    raise_priority();
    let mut command: Vec<OsString> = vec![env::current_exe()?.into(), "bench".into()];
    command.extend(env::args_os().skip(2));
    command.extend(["--inside".into(), binary.into()]);
    command.extend(["--caddy".into(), caddy.into()]);
    command.extend(["--webhook".into(), webhook.into()]);
    command.extend(["--wrk".into(), wrk.into()]);
    let ended = world::run(&command);
    prefer_session(0)?;
    ended
}

/// Docker, the services and all contestants inherit this: so whatever else the machine does disturbs
/// them less, and each of them alike.
fn raise_priority() {
    let raised = rustix::process::nice(PRIORITY).map_err(Into::into);
    if let Err(error) = raised.and_then(|_| prefer_session(PRIORITY)) {
        eprintln!(
            "the priority could not be raised ({error}); other work disturbs the measurements"
        );
    }
}

/// Where the kernel divides the processors among sessions first, the priority of a process counts only within its own.
fn prefer_session(priority: i32) -> io::Result<()> {
    match Path::new(SESSION).exists() {
        true => fs::write(SESSION, priority.to_string()),
        false => Ok(()),
    }
}

fn measure(
    arguments: &Arguments,
    cutover: &Path,
    caddy: &Path,
    webhook: &Path,
    wrk: &Path,
) -> Result<ExitCode> {
    let parts = match arguments.parts.as_slice() {
        [] => &Part::ALL,
        parts => parts,
    };
    let mut report = Report::new(&arguments.out)?;
    report.say(&format!("{}\n", resources::machine()?));
    for part in parts {
        match part {
            Part::Requests => requests::run(cutover, caddy, arguments, &mut report)?,
            Part::Switch => switch::run(cutover, arguments.rounds, &mut report)?,
            Part::Several => several::run(cutover, arguments.rounds, &mut report)?,
            Part::Rollback => rollback::run(cutover, arguments.rounds, &mut report)?,
            Part::Recovery => recovery::run(cutover, arguments.rounds, &mut report)?,
            Part::Endpoint => {
                endpoint::run(cutover, webhook, wrk, arguments.rounds, &mut report)?;
            }
            Part::Size => size::run(cutover, &mut report)?,
        }
    }
    let missed = report.verdict();
    if arguments.parts.is_empty() {
        report.write_summary("summary.txt")?;
    }
    if arguments.check && missed > 0 {
        eprintln!("error: {missed} targets are missed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
