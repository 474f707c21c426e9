//! The workflow for GitHub Actions as text: the one that is shipped, with a job for each service.

use super::project::{Deployable, Project};

/// The workflow as shipped, with one job.
const WORKFLOW: &str = include_str!("../../../../../dist/workflow.yml");

/// What the shipped workflow deploys.
const SERVICE: &str = "shop";

/// The image that it builds.
const IMAGE: &str = "ghcr.io/acme/shop";

/// Where its only job begins.
const JOBS: &str = "\njobs:\n";

/// Whether the daemon answers by itself or behind a proxy, which decides the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// It has a certificate.
    Daemon,
    /// A proxy has.
    Proxy,
}

/// The workflow for `project`.
pub(super) fn text(project: &Project, front: Front) -> String {
    let (head, job) = WORKFLOW.split_once(JOBS).unwrap_or((WORKFLOW, ""));
    let mut text = format!("{head}{JOBS}");
    let mut previous: Option<String> = None;
    for service in &project.services {
        let id = job_id(service.name.as_str());
        if previous.is_some() {
            text.push('\n');
        }
        text.push_str(&job_for(job, service, &id, previous.as_deref()));
        previous = Some(id);
    }
    match front {
        Front::Daemon => text.replace(
            "https://deploy.example.com\n",
            "https://deploy.example.com:8443\n",
        ),
        Front::Proxy => text,
    }
}

/// One job. Several run one after the other: services of one project depend on each other, and may be
/// made of the same image.
fn job_for(job: &str, service: &Deployable, id: &str, previous: Option<&str>) -> String {
    let needs = previous.map_or_else(String::new, |previous| format!("    needs: {previous}\n"));
    let mut text = job
        .replace(&format!("  {SERVICE}:\n"), &format!("  {id}:\n{needs}"))
        .replace(&format!("\"{SERVICE}\""), &format!("\"{}\"", service.name));
    let image = format!("      image: \"{IMAGE}\"\n");
    if service.repository.contains('$') {
        // Only the server knows the variables of its Compose file.
        text = text.replace(
            &image,
            &format!(
                "      # The Compose file says {}; write out what that is.\n      #image: \"{IMAGE}\"\n",
                service.repository
            ),
        );
    } else {
        text = text.replace(IMAGE, &service.repository);
    }
    text
}

/// A service's name as the id of a job, which has no dots and begins with a letter.
fn job_id(name: &str) -> String {
    let id = name.replace('.', "-");
    match id.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("_{id}"),
        false => id,
    }
}
