//! Looks at the machine as a deployment would find it, and says everything that is wrong at once.

mod certificate;
mod service;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;

use cutover_core::compose_version::ComposeVersion;
use jiff::Timestamp;
use serde::Serialize;

use crate::docker::Docker;
use crate::driver::command::Compose;
use crate::driver::{ComposeDriver, Driver};
use crate::files;
use crate::hold;
use crate::http::{Identity, why_not};
use crate::registry::Cosign;
use crate::settings::{Mistake, Mistakes, Settings};

/// Less free disk than this is worth a word before it is too little for a pull.
const DISK_WARNING_BYTES: u64 = 2 << 30;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Fine,
    /// Deployments work, and something is worth a look.
    Warning,
    /// Deployments would be refused.
    Mistake,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `docker`, `compose`, `service app`, `configuration services.app.order`, …
    pub subject: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing.
    pub advice: String,
}

impl Finding {
    /// The mistakes in a configuration file as findings, one for each: without settings nothing else can be
    /// looked at.
    #[must_use]
    pub fn of_configuration(mistakes: &Mistakes) -> Vec<Self> {
        let path = mistakes.path().display();
        let finding = |mistake: &Mistake| {
            let place = match mistake.line() {
                Some(line) => format!("{path}:{line}"),
                None => path.to_string(),
            };
            let subject = format!("configuration {}", mistake.key());
            Self::mistake(
                subject.trim_end(),
                format!("{place}: {}", mistake.message()),
                mistake.help().unwrap_or_default(),
            )
        };
        mistakes.iter().map(finding).collect()
    }

    fn fine(subject: &str, found: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            level: Level::Fine,
            found: found.into(),
            advice: String::new(),
        }
    }

    fn warning(subject: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            level: Level::Warning,
            found: found.into(),
            advice: advice.into(),
        }
    }

    fn mistake(subject: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            level: Level::Mistake,
            found: found.into(),
            advice: advice.into(),
        }
    }
}

/// Looks at Docker, Compose, the state directory and every service.
pub async fn check(settings: &Settings) -> Vec<Finding> {
    let docker = Docker::new(&settings.docker.socket);
    let mut findings = vec![look_at_docker(settings, &docker).await];
    findings.extend(look_at_docker_host(settings));
    findings.push(look_at_disk(&docker).await);
    findings.push(look_at_state_directory(settings));
    findings.extend(look_at_listeners(settings));
    findings.extend(look_at_tls(settings));
    findings.extend(look_at_cosign(settings));
    findings.extend(look_at_hold(settings).await);
    let (compose, finding) = look_at_compose(settings).await;
    findings.push(finding);
    let Some(compose) = compose else {
        return findings;
    };
    let driver = ComposeDriver::new(docker, compose, &settings.server.state_directory);
    // A state directory that cannot be used is among the findings already.
    let Ok(driver) = driver else { return findings };
    let driver = Driver::Compose(driver);
    for service in settings.services.values() {
        findings.extend(service::look(settings, &driver, service).await);
    }
    findings
}

async fn look_at_docker(settings: &Settings, docker: &Docker) -> Finding {
    match docker.version().await {
        Ok(version) => Finding::fine("docker", format!("Docker Engine {version}")),
        Err(error) => Finding::mistake(
            "docker",
            format!("{}: {error}", settings.docker.socket.display()),
            "install Docker Engine 23 or newer and start it (`systemctl start docker`); cutover needs to be root or in the group `docker`",
        ),
    }
}

/// The shell that `check` is typed into may mean another Docker than the daemon works with.
fn look_at_docker_host(settings: &Settings) -> Option<Finding> {
    let host = std::env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.is_empty())?;
    let socket = settings.docker.socket.display();
    (host != format!("unix://{socket}")).then(|| {
        Finding::warning(
            "docker",
            format!("DOCKER_HOST is {host} here, and cutover works with {socket}"),
            "if the services run in the other one, set `docker.socket`; a Docker on another machine is not supported",
        )
    })
}

async fn look_at_disk(docker: &Docker) -> Finding {
    match docker.disk_free().await {
        Ok(Some(free)) => {
            let found = format!("{} MiB free in {}", free.bytes >> 20, free.path.display());
            if free.bytes < DISK_WARNING_BYTES {
                Finding::warning(
                    "disk",
                    found,
                    "`docker system df` shows what uses it; a pull needs room for the image",
                )
            } else {
                Finding::fine("disk", found)
            }
        }
        Ok(None) => Finding::warning(
            "disk",
            "Docker's directory cannot be seen from here",
            "run cutover on the machine that Docker runs on, not in a container",
        ),
        Err(error) => Finding::mistake("disk", error.to_string(), "see what is said of docker"),
    }
}

fn look_at_state_directory(settings: &Settings) -> Finding {
    let directory = &settings.server.state_directory;
    let subject = "state directory";
    let trial = directory.join(".check");
    let tried = files::make_private(directory)
        .and_then(|()| std::fs::write(&trial, b""))
        .and_then(|()| std::fs::remove_file(&trial));
    match tried {
        Ok(()) => Finding::fine(subject, directory.display().to_string()),
        Err(error) => Finding::mistake(
            subject,
            format!("{}: {error}", directory.display()),
            "make it a directory of the user that runs cutover, mode 0700, or set `server.state_directory`",
        ),
    }
}

/// Whether the daemon can listen where it shall. It may be running: then it is what listens there.
fn look_at_listeners(settings: &Settings) -> Vec<Finding> {
    let server = &settings.server;
    let runs = UnixStream::connect(&server.socket).is_ok();
    let look = |(subject, address): (&str, SocketAddr)| match TcpListener::bind(address) {
        Ok(_) => Finding::fine(subject, format!("{address} is free")),
        Err(error) if runs && error.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::fine(subject, format!("{address}, as the running daemon says"))
        }
        Err(error) => Finding::mistake(
            subject,
            format!("cannot listen on {address}: {}", why_not(address, &error)),
            "the daemon does not start without",
        ),
    };
    let listeners = [
        ("listen", server.listen),
        ("metrics_listen", server.metrics_listen),
    ];
    let wanted = listeners
        .into_iter()
        .filter_map(|(name, address)| Some((name, address?)));
    wanted.map(look).collect()
}

fn look_at_tls(settings: &Settings) -> Option<Finding> {
    let files = settings.server.tls.as_ref()?;
    Some(match Identity::load(&files.cert, &files.key) {
        Ok(_) => certificate::look(&files.cert, Timestamp::now()),
        Err(error) => Finding::mistake(
            "tls",
            error.to_string(),
            "give `server.tls` a certificate and the key that belongs to it; the daemon does not start without",
        ),
    })
}

/// Only where a service wants signatures.
fn look_at_cosign(settings: &Settings) -> Option<Finding> {
    let mut services = settings.services.values();
    services.find(|service| service.image.signature.is_some())?;
    Some(match Cosign::new(&settings.docker).program() {
        Some(program) => Finding::fine("cosign", program.display().to_string()),
        None => Finding::mistake(
            "cosign",
            "there is no `cosign` in PATH, and a service wants its images signed",
            "install cosign 2 or newer, or set `docker.cosign`",
        ),
    })
}

/// Whether new connections can wait, if they are to.
async fn look_at_hold(settings: &Settings) -> Option<Finding> {
    const SUBJECT: &str = "hold";
    let is_wanted = settings.services.values().any(|one| one.hold.is_some());
    is_wanted.then_some(())?;
    Some(match hold::possible().await {
        Ok(()) => Finding::fine(
            SUBJECT,
            "new connections to published ports wait while a service is switched",
        ),
        Err(why) => Finding::warning(
            SUBJECT,
            format!(
                "new connections are refused while a service is switched, because they cannot be held: {why}"
            ),
            "`hold = \"off\"` in the configuration of each service says that this is all right",
        ),
    })
}

async fn look_at_compose(settings: &Settings) -> (Option<Compose>, Finding) {
    let subject = "compose";
    let compose = match Compose::find(&settings.docker) {
        Ok(compose) => compose,
        Err(error) => {
            return (
                None,
                Finding::mistake(subject, error.to_string(), "install docker-compose-plugin"),
            );
        }
    };
    let version = match compose.version().await {
        Ok(version) => version,
        Err(error) => {
            return (
                None,
                Finding::mistake(
                    subject,
                    error.to_string(),
                    "install docker-compose-plugin again",
                ),
            );
        }
    };
    let supported = version
        .parse::<ComposeVersion>()
        .map_err(|error| error.to_string())
        .and_then(|version| version.supported().map_err(|error| error.to_string()));
    match supported {
        Ok(_) => {
            let found = format!("Docker Compose {version}, {}", compose.program().display());
            (Some(compose), Finding::fine(subject, found))
        }
        Err(error) => (
            None,
            Finding::mistake(
                subject,
                error,
                "install docker-compose-plugin 2.20 or newer",
            ),
        ),
    }
}
