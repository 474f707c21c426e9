//! The workflow for GitHub Actions as text: the one that is shipped, with a job for each service whose
//! image is the project's own.

use super::build::Build;
use super::project::{Deployable, Project};

/// The workflow as shipped, with one job; also the first example of `docs/github-actions.md`.
const WORKFLOW: &str = include_str!("../../../../../dist/workflow.yml");

/// The service that it deploys.
const SERVICE: &str = "app";

/// The image that it builds.
const IMAGE: &str = "ghcr.io/acme/app";

/// Before it, another thing to do is added to the list.
const MANUAL: &str = "#\n# `cutover help github-actions` explains";

/// What to do with several jobs.
const CONTEXTS: &str = "\
# - write after `context` of each job the directory with the Dockerfile of its service
";

/// The line that it is about. Without it, every job would build the Dockerfile at the top.
const CONTEXT: &str = "      context: . # the directory with the Dockerfile of this service\n";

/// The registry to which the token of a job can push.
const GITHUB_REGISTRY: &str = "ghcr.io/";

/// The secret that the job passes on.
const SECRET: &str = "      CUTOVER_SECRET: ${{ secrets.CUTOVER_SECRET }}\n";

/// What it passes on for any other registry.
const REGISTRY_SECRETS: &str = "      REGISTRY_USERNAME: ${{ secrets.REGISTRY_USERNAME }}\n      REGISTRY_PASSWORD: ${{ secrets.REGISTRY_PASSWORD }}\n";

/// The port that it calls.
const PORT: &str = ":8443\n";

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

/// Tells the services whose images the project builds from those with an official image of Docker Hub.
pub(super) fn split(project: &Project) -> (Vec<&Deployable>, Vec<&Deployable>) {
    project
        .services
        .iter()
        .partition(|service| service.is_own())
}

/// The workflow for `project`, unless it builds none of its images.
pub(super) fn text(project: &Project, front: Front) -> Option<String> {
    let (built, official) = split(project);
    if built.is_empty() {
        return None;
    }
    let (head, shipped) = WORKFLOW.split_once(JOBS).unwrap_or((WORKFLOW, ""));
    let mut notes = String::new();
    let mut shipped = shipped.to_owned();
    if built.len() > 1 {
        notes.push_str(CONTEXTS);
        let image = format!("      image: {IMAGE}\n");
        shipped = shipped.replace(&image, &format!("{image}{CONTEXT}"));
    }
    for service in official {
        notes.push_str(&format!(
            "#\n# There is no job for {}: {} names an official image of Docker Hub, built there. If it is\n# yours, write its registry and its owner before it in the Compose file.\n",
            service.name, service.repository
        ));
    }
    let mut text = head.replace(MANUAL, &format!("{notes}{MANUAL}"));
    text.push_str(JOBS);
    let mut previous: Option<String> = None;
    for service in built {
        let id = id_for(service.name.as_str());
        if previous.is_some() {
            text.push('\n');
        }
        text.push_str(&block_for(&shipped, service, &id, previous.as_deref()));
        previous = Some(id);
    }
    Some(match front {
        Front::Daemon => text,
        Front::Proxy => text.replace(PORT, "\n"),
    })
}

/// The job of one service. Several run one after the other: services of one project depend on each
/// other, and may be made of the same image.
fn block_for(shipped: &str, service: &Deployable, id: &str, previous: Option<&str>) -> String {
    let needs = previous.map_or_else(String::new, |previous| format!("    needs: {previous}\n"));
    let image = format!("      image: {IMAGE}\n");
    let told = service.build.as_ref().map(Build::inputs);
    let is_told = service.build.as_ref().is_some_and(Build::says_where);
    let block = match is_told {
        // In the place of the line that asks for it.
        true => shipped.replace(CONTEXT, ""),
        false => shipped.to_owned(),
    };
    let block = block
        .replace(&image, &format!("{image}{}", told.unwrap_or_default()))
        .replace(&format!("  {SERVICE}:\n"), &format!("  {id}:\n{needs}"))
        // In quotes, because a name may look like a number to YAML.
        .replace(
            &format!("service: {SERVICE}\n"),
            &format!("service: \"{}\"\n", service.name),
        );
    if service.repository.contains('$') {
        // Only the server knows the variables of its Compose file.
        block.replace(
            &format!("image: {IMAGE}\n"),
            &format!(
                "# The Compose file says {}; write out what that is.\n      #image: {IMAGE}\n",
                service.repository
            ),
        )
    } else {
        // In full: the workflow logs in to what stands before the first slash.
        let repository = service.full_name();
        let block = block.replace(IMAGE, &repository);
        if repository.starts_with(GITHUB_REGISTRY) {
            block
        } else {
            // The job's own token is for GitHub's registry only.
            block.replace(SECRET, &format!("{SECRET}{REGISTRY_SECRETS}"))
        }
    }
}

/// A service's name as the id of a job, which has no dots and does not begin with a digit.
fn id_for(name: &str) -> String {
    let id = name.replace('.', "-");
    match id.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("_{id}"),
        false => id,
    }
}
