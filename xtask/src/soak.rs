//! `cargo xtask soak`: many deployments in a row on one daemon, and nothing may grow but the journal.
//!
//! ```text
//! cargo xtask soak ─ builds the binary
//!   └─ test world
//!        └─ xtask soak --inside ─ a scene: deploy, deploy, …, and a look after each hundred
//! ```

mod growth;
mod look;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};

use crate::bench::resources;
use crate::bench::statistics::millis;
use crate::world;
use growth::growth;
use look::{Look, table};

/// Between two looks.
const LOOK_EVERY: u32 = 100;

/// Every so manieth deployment fails, and is rolled back.
const FAIL_EVERY: u32 = 10;

/// How many releases take turns. [`LOOK_EVERY`] ends with the same one each time, and one more is on the machine than
/// [`SETTINGS`] keeps, so that an image is removed and pulled again by most deployments.
const VERSIONS: [&str; 3] = ["one", "two", "three"];

/// A named volume and an anonymous one, each of which a leak would multiply.
const COMPOSE: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    stop_grace_period: 5s
    ports: [\"127.0.0.1:{port}:8080\"]
    volumes: [\"named:/named\", \"/anonymous\"]
volumes:
  named:
";

const SETTINGS: &str = "\
health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }
healthy_deadline = \"30s\"
min_healthy_time = \"100ms\"
keep_releases = 2
";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many deployments; nothing is compared below two hundred
    #[arg(long, default_value_t = 1000)]
    deployments: u32,
    /// The binary to soak, from inside a test world
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// Builds outside, and deploys inside.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(cutover) = &arguments.inside {
        return soak(arguments, &cutover.display().to_string());
    }
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "cutover"])
        .current_dir(world::workspace_dir())
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "cutover could not be built ({status})");
    let binary = world::target_dir().join("debug/cutover");
    let mut command: Vec<OsString> = vec![env::current_exe()?.into(), "soak".into()];
    command.extend(env::args_os().skip(2));
    command.extend(["--inside".into(), binary.into()]);
    world::run(&command)
}

fn soak(arguments: &Arguments, cutover: &str) -> Result<ExitCode> {
    println!("{}\n", resources::machine()?);
    let wishes = Wishes {
        compose: COMPOSE,
        service: SETTINGS,
        ..Wishes::default()
    };
    let mut scene = Scene::new(cutover, &wishes);
    let good = VERSIONS.map(|version| scene.push(&ImageSpec::new(version)));
    let failing = scene.push(&ImageSpec::new("exits").env("EXIT_AT_ONCE", "1"));
    let mut looks: Vec<Look> = Vec::new();
    let mut times_ms = Vec::new();
    let mut turn = (0..VERSIONS.len()).cycle();
    let mut serving = 0;
    for number in 1..=arguments.deployments {
        let fails = number % FAIL_EVERY == 0;
        if !fails {
            serving = turn.next().unwrap_or_default();
        }
        let (tag, outcome) = if fails {
            (&failing, "rolled_back")
        } else {
            (&good[serving], "succeeded")
        };
        let began = Instant::now();
        let ended = scene.deploy(tag);
        times_ms.push(millis(began.elapsed()));
        ensure!(
            ended.outcome() == outcome,
            "deployment {number} should have {outcome}: {ended:#?}"
        );
        let serves = scene.serves();
        ensure!(
            serves == VERSIONS[serving],
            "after deployment {number} {serves:?} serves"
        );
        if number % LOOK_EVERY == 0 || number == arguments.deployments {
            let look = Look::at(&scene, number, std::mem::take(&mut times_ms))?;
            println!("{}", look.line());
            looks.push(look);
        }
    }
    println!("\n{}", table(&looks));
    let grown = growth(&looks);
    for line in &grown {
        println!("GROWN  {line}");
    }
    if grown.is_empty() {
        println!("nothing has grown but the journal");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
