//! `cutover.toml` as text.

use std::path::{Path, PathBuf};

use cutover_core::template::Carries;
use cutover_daemon::settings::DockerSettings;

use super::project::{Deployable, HealthCheck, Project};
use crate::client::failure::Failure;

/// Where Compose is found without being told, in a shell as well as in a systemd unit.
const USUAL_PLACES: &str = "/usr/";

/// The configuration for `project`. With a certificate it listens for the network, otherwise for a proxy
/// on this machine.
pub(super) fn text(
    project: &Project,
    secret: &Path,
    tls: Option<(PathBuf, PathBuf)>,
) -> Result<String, Failure> {
    let mut text = format!(
        "# cutover for the Compose project in {}.\n\
         # `cutover help configuration` explains every key. `cutover check` reports every mistake at once.\n\n",
        project.directory.display()
    );
    text.push_str(&server(tls)?);
    text.push_str(&auth(project, secret)?);
    text.push_str(&docker(project)?);
    for service in &project.services {
        text.push_str(&section(project, service)?);
    }
    Ok(text)
}

fn server(tls: Option<(PathBuf, PathBuf)>) -> Result<String, Failure> {
    let listen = match tls {
        Some((cert, key)) => format!(
            "# For CI. The certificate is read again when it changes.\n\
             listen = \"0.0.0.0:8443\"\n\
             tls = {{ cert = {}, key = {} }}\n",
            quoted_path(&cert)?,
            quoted_path(&key)?
        ),
        None => "\
# For CI, by way of a proxy on this machine that speaks TLS for a name of yours. To do without a proxy,
# get a certificate for a name of this machine, from Let's Encrypt for example, and use the second pair
# of lines instead.
listen = \"127.0.0.1:8443\"
#listen = \"0.0.0.0:8443\"
#tls = { cert = \"/etc/letsencrypt/live/deploy.example.com/fullchain.pem\", key = \"/etc/letsencrypt/live/deploy.example.com/privkey.pem\" }
"
        .to_owned(),
    };
    Ok(format!(
        "[server]\n{listen}\n# Metrics for Prometheus.\n#metrics_listen = \"127.0.0.1:9464\"\n\n"
    ))
}

fn auth(project: &Project, secret: &Path) -> Result<String, Failure> {
    let names: Vec<String> = project
        .services
        .iter()
        .map(|service| quoted(service.name.as_str()))
        .collect();
    Ok(format!(
        "# The key that CI signs with. To replace its secret without a gap, add a second key for the same\n\
         # services, change CI, and remove this one.\n\
         [auth.hmac.ci]\n\
         secret_file = {}\n\
         services = [{}]\n\n",
        quoted_path(secret)?,
        names.join(", ")
    ))
}

/// Only what the daemon would not find by itself.
fn docker(project: &Project) -> Result<String, Failure> {
    let mut lines = String::new();
    if project.docker.socket != DockerSettings::default().socket {
        lines.push_str(&format!(
            "# Docker's socket: DOCKER_HOST was set.\nsocket = {}\n",
            quoted_path(&project.docker.socket)?
        ));
    }
    if std::env::var_os("DOCKER_CONFIG").is_some() && project.docker.config_directory.is_dir() {
        lines.push_str(&format!(
            "# Where `docker login` keeps credentials: DOCKER_CONFIG was set.\nconfig_directory = {}\n",
            quoted_path(&project.docker.config_directory)?
        ));
    }
    if !project.compose.starts_with(USUAL_PLACES) {
        lines.push_str(&format!(
            "# Compose, which is not where a daemon would look for it.\ncompose = {}\n",
            quoted_path(&project.compose)?
        ));
    }
    Ok(match lines.as_str() {
        "" => lines,
        _ => format!("[docker]\n{lines}\n"),
    })
}

/// Comments that say what a release is besides the service.
fn released_with(service: &Deployable) -> String {
    let mut text = String::new();
    if !service.with.is_empty() {
        text.push_str(&format!(
            "# Released with it, because their images name {} as well: {}.\n",
            service.tag_variable,
            service.with.join(", ")
        ));
    }
    if !service.sharers.is_empty() {
        text.push_str(&format!(
            "# Made again with it, because they run in its container's namespaces: {}.\n",
            service.sharers.join(", ")
        ));
    }
    if !service.jobs.is_empty() {
        text.push_str(&format!(
            "# Before each release, before anything is stopped, runs: {}.\n",
            service.jobs.join(", ")
        ));
    }
    text
}

fn section(project: &Project, service: &Deployable) -> Result<String, Failure> {
    let files = project
        .files
        .iter()
        .map(|file| quoted_path(file))
        .collect::<Result<Vec<_>, _>>()?;
    let mut text = format!(
        "# Runs {}:SHA, whose {} Compose takes from {}.\n[services.{}]\ncompose_files = [{}]\n",
        service.repository,
        match service.carries {
            Carries::Digest(_) => "digest",
            Carries::Tag | Carries::Image => "tag",
        },
        service.tag_variable,
        key(service.name.as_str()),
        files.join(", ")
    );
    text.push_str(&released_with(service));
    if let Some(directory) = project.directory_of_its_own() {
        text.push_str(&format!(
            "# What relative paths start from, and where `.env` is.\nproject_directory = {}\n",
            quoted_path(directory)?
        ));
    }
    if let Some(name) = &project.project_name {
        text.push_str(&format!(
            "# The name under which it runs.\nproject_name = {}\n",
            quoted(name)
        ));
    }
    if !project.env_files.is_empty() {
        let files = project.env_files.iter().map(|file| quoted_path(file));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        text.push_str(&format!("env_files = [{}]\n", files.join(", ")));
    }
    if let [first, others @ ..] = &service.profiles[..] {
        if !others.is_empty() {
            text.push_str(&format!("# Also in the profiles {}.\n", others.join(", ")));
        }
        text.push_str(&format!("profiles = [{}]\n", quoted(first)));
    }
    text.push_str(match service.health {
        HealthCheck::Described => {
            "# The health check is the one in the Compose file. A request that must be answered as well:\n"
        }
        HealthCheck::NotDescribed => {
            "# The Compose file has no health check for it. Unless the image has one, say how a good release\n\
             # answers, or every release that does not exit is a good one; in the Compose file:\n\
             #    healthcheck:\n\
             #      test: [\"CMD\", \"wget\", \"-qO\", \"/dev/null\", \"http://127.0.0.1:8080/healthz\"]\n\
             #      interval: 5s\n\
             # or here, by a request to the container (`url = \"https://…\"` in it: to the address at which users come in), or by a\n\
             # command in it:\n"
        }
    });
    text.push_str("#health.http = { port = 8080, path = \"/healthz\" }\n");
    if service.health == HealthCheck::NotDescribed {
        text.push_str("#health.command = [\"/usr/bin/app\", \"status\"]\n");
    }
    text.push_str(
        "# Besides full commit shas, accept tags such as v1.2.3:\n#tag_pattern = \"v*\"\n\n",
    );
    Ok(text)
}

/// A key as TOML writes it.
fn key(name: &str) -> String {
    let bare = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if bare { name.to_owned() } else { quoted(name) }
}

/// A text as TOML writes it, which is as JSON writes it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn quoted_path(path: &Path) -> Result<String, Failure> {
    match path.to_str() {
        Some(text) => Ok(quoted(text)),
        None => Err(Failure::usage(
            format!("the path {} is not UTF-8", path.display()),
            "nothing was written; the configuration is UTF-8, so rename it",
        )),
    }
}
