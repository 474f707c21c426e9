//! Looks at the machine as a deployment would find it, and says everything that is wrong at once.

mod certificate;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;

use cutover_core::cause::Step;
use cutover_core::compose_version::ComposeVersion;
use cutover_core::names::Tag;
use cutover_core::strategy::{Strategy, strategy};
use jiff::Timestamp;
use serde::Serialize;

use crate::docker::{Docker, credentials};
use crate::driver::command::Compose;
use crate::driver::env_file;
use crate::driver::project::ServiceModel;
use crate::driver::{ComposeDriver, Driver, docker_cause};
use crate::files;
use crate::files::outside::Way;
use crate::http::{Identity, why_not};
use crate::probe::verify::Checks;
use crate::registry::{self, Cosign};
use crate::settings::{Mistake, Mistakes, Service, Settings};

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
    findings.push(look_at_disk(&docker).await);
    findings.push(look_at_state_directory(settings));
    findings.extend(look_at_listeners(settings));
    findings.extend(look_at_tls(settings));
    findings.extend(look_at_cosign(settings));
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
        findings.extend(look_at_service(settings, &driver, service).await);
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

async fn look_at_service(settings: &Settings, driver: &Driver, service: &Service) -> Vec<Finding> {
    let subject = format!("service {}", service.name);
    // Any sha will do: only the file is read.
    let Ok(tag) = Tag::new(&"0".repeat(40)) else {
        return Vec::new();
    };
    let model = match driver.read(service, &tag).await {
        Ok(model) => model,
        Err(cause) => {
            return vec![Finding::mistake(
                &subject,
                cause.detail,
                "change the Compose file or the configuration, then run `cutover check` again",
            )];
        }
    };
    let mut findings = vec![look_at_strategy(&subject, &model)];
    let repository = service.image_repository.as_deref();
    if let Err(cause) = registry::allowed_repository(&model.image, repository) {
        findings.push(Finding::mistake(&subject, cause.detail, cause.code.hint()));
    }
    findings.extend(look_at_credentials(settings, &subject, &model).await);
    findings.push(look_at_env_file(&subject, service, &model));
    let warnings = model.warnings();
    findings.extend(warnings.map(|what| Finding::warning(&subject, what, "")));
    let present = driver.present(&model.project, &model.compose_service).await;
    let present = present.map_err(|error| docker_cause(Step::Prepare, &error));
    match present
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|present| present.only())
    {
        Ok(Some(container)) => {
            let checks = Checks::new(service, model.monitor, container);
            if let Some((found, advice)) = checks.without_any() {
                findings.push(Finding::warning(&subject, found, advice));
            }
            findings.push(Finding::fine(
                &subject,
                format!(
                    "runs {} ({})",
                    container.image_ref,
                    container.condition().as_str()
                ),
            ));
        }
        Ok(None) => findings.push(Finding::fine(
            &subject,
            "has no container yet: the first deployment creates it",
        )),
        Err(cause) => findings.push(Finding::mistake(&subject, cause.detail, cause.code.hint())),
    }
    findings
}

fn look_at_strategy(subject: &str, model: &ServiceModel) -> Finding {
    match strategy(&model.facts) {
        Strategy::StopFirst { because } => Finding::fine(
            subject,
            format!(
                "project {}, image by {}, stop-first: {}",
                model.project,
                model.tag_variable,
                because.join("; ")
            ),
        ),
        Strategy::Refused { why, hint } => Finding::mistake(subject, why, hint),
    }
}

async fn look_at_credentials(
    settings: &Settings,
    subject: &str,
    model: &ServiceModel,
) -> Option<Finding> {
    let registry = model
        .image
        .parse::<cutover_core::image::ImageRef>()
        .ok()?
        .registry()
        .to_owned();
    match credentials::for_registry(&settings.docker.config_directory, &registry).await {
        Ok(Some(_)) => Some(Finding::fine(
            subject,
            format!("credentials for {registry}"),
        )),
        Ok(None) => Some(Finding::fine(
            subject,
            format!("no credentials for {registry}: pulls are anonymous"),
        )),
        Err(error) => Some(Finding::mistake(
            subject,
            error.to_string(),
            format!("run `docker login {registry}` as the user that runs cutover"),
        )),
    }
}

fn look_at_env_file(subject: &str, service: &Service, model: &ServiceModel) -> Finding {
    let variable = &model.tag_variable;
    match env_file::rehearse(service, model) {
        Ok((path, Way::Replaced)) => Finding::fine(
            subject,
            format!("{variable} keeps the tag in {}", path.display()),
        ),
        Ok((path, Way::InPlace)) => Finding::fine(
            subject,
            format!(
                "{variable} keeps the tag in {}, which is written in its place (it has other names or is a mount point, or its directory cannot be written): a power cut in that moment can damage it",
                path.display()
            ),
        ),
        Err(error) => Finding::mistake(
            subject,
            error.to_string(),
            "let the user that runs cutover read and write it, so that `docker compose up` by hand keeps the release",
        ),
    }
}
