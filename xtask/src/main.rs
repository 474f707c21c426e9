//! Development tasks of cutover. Each is a module with its own arguments; `cargo xtask help` lists them.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command line program talks to whoever runs it"
)]

mod bench;
mod debian;
mod demo;
mod dist;
mod engine;
mod lint;
mod mistakes;
mod schemathesis;
mod soak;
mod test;
mod torture;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks of cutover
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure speed and size, beside what else there is
    Bench(bench::Arguments),
    /// A small shop deployed by the real program, act by act: a tour, and a check of the promises
    Demo(demo::Arguments),
    /// Build the static binary that is given to users
    Dist,
    /// A private Docker Engine, beside whatever the machine has
    Engine(engine::Arguments),
    /// Look through the shell scripts, the GitHub action and the workflows
    Lint,
    /// Put known mistakes into a copy of the code and see that a test notices each
    Mistakes(mistakes::Arguments),
    /// Deploy a thousand times and see that nothing grows
    Soak(soak::Arguments),
    /// Everything that must hold: formatting, lints, documentation, dependency rules, all tests
    Test(test::Arguments),
    /// Strike deployments at random moments or at each call, and see that nothing is lost
    Torture(torture::Arguments),
    /// What runs inside the namespaces of a test world
    #[command(hide = true)]
    World(world::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Dist => dist::run(),
        Command::Engine(arguments) => engine::run(arguments),
        Command::Lint => lint::lint().map(|()| ExitCode::SUCCESS),
        Command::Mistakes(arguments) => mistakes::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Torture(arguments) => torture::run(&arguments),
        Command::World(arguments) => world::run_inside(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
