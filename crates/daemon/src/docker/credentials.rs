//! How to log in to a registry, as Docker's own client is configured on this machine.
//!
//! Read from `config.json` in Docker's configuration directory each time, so that a `docker login` counts
//! at once. The rules are those of Docker's client: a program named for the registry (`credHelpers`), else
//! the program for all registries (`credsStore`), else what is written in the file (`auths`). One leniency:
//! where a program knows nothing about the registry, what is written in the file counts.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

mod program;

/// The file in Docker's configuration directory.
const FILE_NAME: &str = "config.json";

/// The largest file that is read; real ones are a page long.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// Docker Hub, as references name it.
const DOCKER_HUB: &str = "docker.io";

/// The key of Docker Hub in the file and for the programs, since version 1 of its API.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Other names under which people have written Docker Hub into the file.
const DOCKER_HUB_HOSTS: &[&str] = &["index.docker.io", "docker.io", "registry-1.docker.io"];

/// What a registry asks for. `Debug` and `Display` show no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    server: String,
    login: Login,
}

/// The kinds of secrets that registries know.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// A user and a password, or an access token in the place of one.
    Password {
        username: String,
        password: Zeroizing<String>,
    },
    /// An OAuth2 refresh token, from which Docker makes access tokens.
    IdentityToken(Zeroizing<String>),
    /// A bearer token that is sent as it is.
    RegistryToken(Zeroizing<String>),
}

impl Credentials {
    /// The registry that they are for, in the form of Docker's configuration.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The secret itself.
    pub(super) fn login(&self) -> &Login {
        &self.login
    }
}

impl fmt::Display for Credentials {
    /// Who they make us, for a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.login {
            Login::Password { username, .. } => write!(f, "user `{username}`"),
            Login::IdentityToken(_) | Login::RegistryToken(_) => {
                f.write_str("the bearer of a token")
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("server", &self.server)
            .field("login", &"[hidden]")
            .finish()
    }
}

/// Why it is not known how to log in. The pull was not tried: it would go out anonymously.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The configuration exists and cannot be used.
    #[error("docker's configuration {} cannot be used: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is the matter.
        why: String,
    },
    /// The program that the configuration names did not answer.
    #[error("the credential helper `{program}` gave no credentials for {server}: {why}")]
    Program {
        /// Its name.
        program: String,
        /// What it was asked for.
        server: String,
        /// What it, or the system, said.
        why: String,
    },
}

/// The credentials for `registry` (host and port, as [`cutover_core::image::ImageRef::registry`] gives it); none
/// if nobody has logged in there.
///
/// `directory` is Docker's configuration directory. Credential helpers are searched in `PATH`.
///
/// # Errors
/// When the configuration is not readable or a credential helper fails.
pub async fn for_registry(
    directory: &Path,
    registry: &str,
) -> Result<Option<Credentials>, CredentialsError> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    for_registry_in(directory, registry, &search_path).await
}

/// As [`for_registry`], searching credential helpers in `search_path`, which has the form of `PATH`.
///
/// # Errors
/// As [`for_registry`].
pub async fn for_registry_in(
    directory: &Path,
    registry: &str,
    search_path: &OsStr,
) -> Result<Option<Credentials>, CredentialsError> {
    let path = directory.join(FILE_NAME);
    let Some(config) = Config::read(&path).await? else {
        return Ok(None);
    };
    let server = if registry == DOCKER_HUB {
        DOCKER_HUB_KEY
    } else {
        registry
    };
    if let Some(program) = config.program_for(server) {
        let answer =
            program::get(program, server, directory, search_path, program::TIMEOUT).await?;
        if answer.is_some() {
            return Ok(answer);
        }
    }
    config
        .written_for(server)
        .map_err(|why| CredentialsError::File {
            path,
            why: format!("the entry for {registry} {why}"),
        })
}

/// The part of `config.json` that counts.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default, rename = "credsStore")]
    creds_store: String,
    #[serde(default, rename = "credHelpers")]
    cred_helpers: HashMap<String, String>,
}

/// One registry in `auths`.
#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "secret")]
    auth: Zeroizing<String>,
    #[serde(default)]
    username: String,
    #[serde(default, deserialize_with = "secret")]
    password: Zeroizing<String>,
    #[serde(default, rename = "identitytoken", deserialize_with = "secret")]
    identity_token: Zeroizing<String>,
    #[serde(default, rename = "registrytoken", deserialize_with = "secret")]
    registry_token: Zeroizing<String>,
}

impl Config {
    async fn read(path: &Path) -> Result<Option<Self>, CredentialsError> {
        let unusable = |why: String| CredentialsError::File {
            path: path.to_owned(),
            why,
        };
        match tokio::fs::metadata(path).await {
            Ok(found) if found.len() > FILE_LEN_MAX => {
                return Err(unusable("it is larger than 1 MiB".to_owned()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error.to_string())),
        }
        let text = tokio::fs::read(path)
            .await
            .map(Zeroizing::new)
            .map_err(|error| unusable(error.to_string()))?;
        // The position is enough; the error's own words may quote a secret.
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            unusable(format!(
                "it is not what `docker login` writes, at line {}, column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// The program that keeps the credentials of `server`.
    fn program_for(&self, server: &str) -> Option<&str> {
        let named = self.cred_helpers.get(server).or_else(|| {
            self.cred_helpers
                .iter()
                .find(|(key, _)| names_same_host(key, server))
                .map(|(_, program)| program)
        });
        named
            .or(Some(&self.creds_store))
            .map(String::as_str)
            .filter(|program| !program.is_empty())
    }

    /// What `auths` says about `server`; an error says what is wrong with the entry.
    fn written_for(&self, server: &str) -> Result<Option<Credentials>, &'static str> {
        let entry = self.auths.get(server).or_else(|| {
            self.auths
                .iter()
                .find(|(key, _)| names_same_host(key, server))
                .map(|(_, entry)| entry)
        });
        let login = match entry {
            Some(entry) => entry.login()?,
            None => None,
        };
        Ok(login.map(|login| Credentials {
            server: server.to_owned(),
            login,
        }))
    }
}

impl Entry {
    /// The secret in this entry; none in the empty entries that stand for "ask the program".
    fn login(&self) -> Result<Option<Login>, &'static str> {
        if !self.identity_token.is_empty() {
            return Ok(Some(Login::IdentityToken(self.identity_token.clone())));
        }
        if !self.registry_token.is_empty() {
            return Ok(Some(Login::RegistryToken(self.registry_token.clone())));
        }
        if self.auth.is_empty() {
            return Ok((!self.username.is_empty()).then(|| Login::Password {
                username: self.username.clone(),
                password: self.password.clone(),
            }));
        }
        let decoded = STANDARD
            .decode(self.auth.trim())
            .map(Zeroizing::new)
            .map_err(|_| "has an `auth` that is not base64")?;
        let text = std::str::from_utf8(&decoded).map_err(|_| "has an `auth` that is not text")?;
        let (username, password) = text
            .split_once(':')
            .ok_or("has an `auth` that is not `user:password`")?;
        Ok(Some(Login::Password {
            username: username.to_owned(),
            password: Zeroizing::new(password.trim_end_matches('\0').to_owned()),
        }))
    }
}

/// A text that is wiped when it is dropped.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Whether a key of the file, which may carry a scheme and a path, means the registry `server`.
fn names_same_host(key: &str, server: &str) -> bool {
    let host = host_of(key);
    host == host_of(server) || (server == DOCKER_HUB_KEY && DOCKER_HUB_HOSTS.contains(&host))
}

fn host_of(key: &str) -> &str {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests;
