//! What a deployment would do, without doing any of it.

use cutover_core::cause::{Cause, Step};
use cutover_core::names::Tag;
use cutover_core::strategy::{Strategy, strategy};
use serde::Serialize;

use crate::docker::credentials;
use crate::docker::pull::PullError;
use crate::docker::{Container, Docker};
use crate::driver::project::ServiceModel;
use crate::driver::{Driver, as_replica, docker_cause, env_file};
use crate::probe::verify::Checks;
use crate::registry;
use crate::settings::{Service, Settings};
use crate::way_back::{self, WayBack};

/// What would happen.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The configured service.
    pub service: String,
    /// The Compose project.
    pub project: String,
    /// The image that would be pulled.
    pub image: String,
    /// What the registry or this machine knows about that image.
    pub image_found: String,
    /// The variable that carries the tag, and the file that it would be written to.
    pub tag_variable: String,
    /// That file.
    pub env_file: String,
    /// What runs now; absent before the first deployment.
    pub running: Option<String>,
    /// `stop-first`, `unchanged` or `refused`.
    pub strategy: &'static str,
    /// Why.
    pub because: Vec<String>,
    /// How the new container would be proven.
    pub verified_by: String,
    /// What a failure would lead back to.
    pub rollback_to: String,
    /// What is worth a look and refuses nothing.
    pub warnings: Vec<String>,
    /// What would refuse the deployment; empty if nothing would.
    pub refused_because: Vec<String>,
}

/// Looks at everything that a deployment of `tag` would look at before its first effect.
///
/// # Errors
/// A [`Cause`] when not even the Compose project or Docker can be read.
pub async fn plan(
    settings: &Settings,
    driver: &Driver,
    service: &Service,
    tag: &Tag,
) -> Result<Plan, Cause> {
    let docker = driver.docker();
    docker
        .ping()
        .await
        .map_err(|error| docker_cause(Step::Prepare, &error))?;
    let model = driver.read(service, tag).await?;
    let mut refused_because = Vec::new();
    let present = driver.present(&model.project, &model.compose_service).await;
    let present = present.map_err(|error| docker_cause(Step::Prepare, &error))?;
    let current = present.only().unwrap_or_else(|cause| {
        refused_because.push(cause.detail);
        None
    });
    let (rollback_to, no_way_back) = match current {
        Some(container) => look_for_way_back(driver, service, container, &model).await?,
        None => (
            "nothing: this would be the first deployment".to_owned(),
            None,
        ),
    };
    refused_because.extend(no_way_back);
    let (mut order, mut because) = match strategy(&model.facts) {
        Strategy::StopFirst { because } => ("stop-first", because),
        Strategy::Refused { why, hint } => {
            refused_because.push(format!("{why}: {hint}"));
            ("refused", Vec::new())
        }
    };
    if let Err(allowed) = service.allows_tag(tag) {
        refused_because.push(format!("invalid_image_sha: the tag must be {allowed}"));
    }
    let repository = service.image_repository.as_deref();
    if let Err(cause) = registry::allowed_repository(&model.image, repository) {
        refused_because.push(format!("{}: {}", cause.code.as_str(), cause.detail));
    }
    let (image_found, obstacle) = look_for_image(settings, docker, &model).await;
    refused_because.extend(obstacle);
    if let Some(container) = current
        && container.image_ref == model.image
        && container.condition().is_good()
    {
        order = "unchanged";
        because = vec!["this tag runs already; a deployment would only compare the image and the configuration".to_owned()];
    }
    let checks = current.map(|container| Checks::new(service, model.monitor, container));
    Ok(Plan {
        service: service.name.to_string(),
        project: model.project.clone(),
        image: model.image.clone(),
        image_found,
        tag_variable: model.tag_variable.clone(),
        env_file: env_file::env_file(service, &model).display().to_string(),
        running: current.map(describe),
        strategy: if refused_because.is_empty() {
            order
        } else {
            "refused"
        },
        because,
        verified_by: match &checks {
            Some(checks) => checks.to_string(),
            None => "the health check of the new container or the configured probe".to_owned(),
        },
        warnings: warnings(checks.as_ref()),
        rollback_to,
        refused_because,
    })
}

fn warnings(checks: Option<&Checks>) -> Vec<String> {
    let unchecked = checks.and_then(Checks::without_any);
    let warning = unchecked.map(|(found, advice)| format!("{found}; {advice}"));
    warning.into_iter().collect()
}

/// What a failure would lead back to, and what would refuse the deployment because of it.
async fn look_for_way_back(
    driver: &Driver,
    service: &Service,
    container: &Container,
    model: &ServiceModel,
) -> Result<(String, Option<String>), Cause> {
    let old = as_replica(container);
    Ok(
        match way_back::find(driver, service, &[old], model).await? {
            WayBack::SameContainer => (
                format!("the very same container, {}", describe(container)),
                None,
            ),
            WayBack::PreviousImage { missing } => (
                format!(
                    "the previous image in the present definition of the service, because {missing}"
                ),
                None,
            ),
            WayBack::None { missing } => (
                format!("nothing: {missing}"),
                Some(format!("no_way_back: {missing}")),
            ),
        },
    )
}

fn describe(container: &Container) -> String {
    format!(
        "{} ({}, {})",
        container.name,
        container.image_ref,
        container.condition().as_str()
    )
}

/// What is known about the image, and what would refuse it.
async fn look_for_image(
    settings: &Settings,
    docker: &Docker,
    model: &ServiceModel,
) -> (String, Option<String>) {
    let Ok(reference) = model.image.parse::<cutover_core::image::ImageRef>() else {
        let text = format!("`{}` is not an image reference", model.image);
        return (text.clone(), Some(text));
    };
    let found =
        credentials::for_registry(&settings.docker.config_directory, reference.registry()).await;
    let credentials = match found {
        Ok(credentials) => credentials,
        Err(error) => return ("not asked for".to_owned(), Some(error.to_string())),
    };
    match docker.manifest(&model.image, credentials.as_ref()).await {
        Ok(manifest) => (format!("in the registry, {}", manifest.digest), None),
        Err(error) => {
            let cause = PullError::cause(error);
            (
                "not to be had from the registry".to_owned(),
                Some(format!("{}: {}", cause.code.as_str(), cause.detail)),
            )
        }
    }
}
