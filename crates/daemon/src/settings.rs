//! What the operator wants, in two stages.
//!
//! The *file* is TOML as written. It is walked once, by typed readers that note a mistake and go on
//! instead of stopping at the first one, so that [`load`] reports all of them together, each with its
//! line. What comes out are the *settings*: validated values that the rest of the daemon relies upon and
//! never checks again. Each section has a file of its own with its type, its defaults and the reasons
//! for them.
//!
//! Only what can be known from the file and the files that it names is checked here. Whether Docker
//! answers, whether a port is free and what a Compose file means is found out by `cutover check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cutover_core::names::ServiceName;

mod server;
mod auth;
mod docker;
mod service;
mod project;
mod variables;
mod health;
mod image;
mod signature;
mod choices;
mod compose_files;
mod secret;
mod surroundings;
mod keys;
mod table;
mod times;
mod value;
mod files;
mod source;
mod mistakes;
#[cfg(test)]
mod tests;

pub use auth::{Freshness, HmacKey, OperatorToken};
pub use choices::{
    Aliases, JobReruns, Order, Output, SharedVolumes, Switch, UnsetVariables, WayBack,
};
pub use compose_files::{NoComposeFiles, find_compose_files};
pub use docker::DockerSettings;
pub use health::{CommandProbe, Health, HttpProbe, HttpTls, TcpProbe, UrlProbe};
pub use image::{ImagePolicy, RevisionLabel};
pub use keys::known_keys;
pub use mistakes::{Ink, Mistake, Mistakes};
pub use secret::Secret;
pub use server::{Server, TlsFiles};
pub use service::Service;
pub use signature::{SignaturePolicy, Signer, TransparencyLog};

use surroundings::Surroundings;
use table::{Found, Table};

/// Where the configuration is unless a command is told otherwise.
pub const DEFAULT_PATH: &str = "/etc/cutover/cutover.toml";

/// Everything that the daemon was told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file that was read.
    pub path: PathBuf,
    /// Where the daemon listens and keeps its state.
    pub server: Server,
    /// The keys that sign requests, in the order of their names.
    pub keys: Vec<HmacKey>,
    /// The tokens that give the rights of an operator over the network.
    pub operator_tokens: Vec<OperatorToken>,
    /// How Docker and Compose are reached.
    pub docker: DockerSettings,
    /// What may be deployed; never empty.
    pub services: BTreeMap<ServiceName, Service>,
}

/// Reads the file at `path`, and the secrets that it names.
///
/// # Errors
/// Every mistake in the file and in the files that it names, at once.
pub fn load(path: &Path) -> Result<Settings, Mistakes> {
    let text = source::read(path)?;
    read(path, &text, &Surroundings::of_this_process())
}

/// Turns the text of a file into settings.
fn read(path: &Path, text: &str, surroundings: &Surroundings) -> Result<Settings, Mistakes> {
    let (document, found) = source::parse(text);
    let settings = document
        .as_ref()
        .and_then(|document| read_document(path, document, &found, surroundings));
    let found = found.into_noted();
    match settings {
        Some(settings) if found.mistakes.is_empty() => Ok(settings),
        _ => Err(Mistakes::new(path, text, found)),
    }
}

/// Reads every section before it gives up on any, so that each can note its mistakes.
fn read_document<'a>(
    path: &Path,
    document: &'a toml::de::DeTable<'a>,
    found: &'a Found,
    surroundings: &Surroundings,
) -> Option<Settings> {
    let top = Table::top(document, keys::TOP, found);
    let server = server::read(top.get("server").as_ref(), surroundings);
    let docker = docker::read(top.get("docker").as_ref(), surroundings);
    let services = top.get("services");
    let names = service::names(services.as_ref());
    let auth = auth::read(top.get("auth").as_ref(), &names, surroundings);
    if names.is_empty() && !top.is_misspelled("services") {
        found.note(
            services.as_ref().map(table::Value::key_span),
            "services",
            "no service is configured".to_owned(),
            Some(
                "add a section `[services.NAME]` with `compose_files = [\"/path/to/compose.yaml\"]`"
                    .to_owned(),
            ),
        );
    }
    let services = service::read(services.as_ref());
    let (server, docker, auth) = (server?, docker?, auth?);
    server.check_against(&auth, &top);
    Some(Settings {
        path: path.to_owned(),
        server,
        keys: auth.keys,
        operator_tokens: auth.operator_tokens,
        docker,
        services,
    })
}
