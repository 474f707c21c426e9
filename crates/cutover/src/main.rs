//! `cutover`: the daemon and its client in one binary.
//!
//! ```text
//! arguments  what can be typed
//! commands   one file per command; what it does, in order
//! client     the conversation with the daemon: sending, re-sending, following
//! render     everything that a person, a pipe or a CI log gets to see
//! exit       the exit codes
//! ```
//!
//! The client commands know the daemon only through HTTP and the wire types; they never import it.
//! Parsing comes before anything costly, so that `--help` answers at once.

use std::process::ExitCode;

use clap::Parser;

mod arguments;
mod commands;
mod client;
mod render;
mod exit;

fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("no other provider is installed before the first line of main");
    let cli = arguments::Cli::parse();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) => render::failure::report(&error).into(),
    }
}
