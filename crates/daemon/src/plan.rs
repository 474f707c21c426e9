//! What a deployment would do, without doing any of it.

use cutover_core::cause::{Cause, Step};
use cutover_core::deployment::{PinnedImage, Replica};
use cutover_core::duration::format;
use cutover_core::image::ImageRef;
use cutover_core::names::{DeploymentId, Tag};
use cutover_core::strategy::{Strategy, strategy};
use cutover_core::switch::Order;
use serde::Serialize;

use crate::deployer::runs_in_order;
use crate::docker::credentials;
use crate::docker::pull::PullError;
use crate::docker::{Container, Docker};
use crate::driver::one_off::release_command_refused;
use crate::driver::project::{ReleaseModel, ServiceModel};
use crate::driver::{Driver, Present, Target, as_replica, docker_cause, env_file};
use crate::probe::verify::Checks;
use crate::registry;
use crate::settings::{Service, Settings};
use crate::way_back::{self, WayBack};

/// Why a deployment would end as `unchanged`.
const ALREADY: &str = "this release runs already: the same image, the same configuration, the same files; `cutover deploy --force` makes a new container all the same";

/// What would happen.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The configured service.
    pub service: String,
    /// The Compose project.
    pub project: String,
    /// The services of the release, in the order in which they would be switched.
    pub services: Vec<String>,
    /// The jobs that would run before anything is stopped, in their order.
    pub jobs: Vec<String>,
    /// The jobs that would run after the commit, in their order.
    pub jobs_after: Vec<String>,
    /// The services that would be restarted after the commit, because they depend on one that is switched.
    pub dependents: Vec<String>,
    /// The ports of the host to which new connections would wait while the service is switched.
    pub held: Vec<String>,
    /// For how long one waits at most; absent where none does.
    pub hold: Option<String>,
    /// Those of the services in which this release runs already; they would be left alone. Empty where that is so of all.
    pub left_alone: Vec<String>,
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
    /// `stop-first`, `start-first`, `unchanged` or `refused`; for several services of different orders, that of the
    /// configured one.
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
    let answered = driver.docker().ping().await;
    answered.map_err(|error| docker_cause(Step::Prepare, &error))?;
    let release = driver.read(service, tag).await?;
    let mut found = Found::default();
    for model in release.services() {
        found
            .look(settings, driver, service, &release, model, tag)
            .await?;
    }
    let Found {
        because,
        mut refused_because,
        lead,
        ..
    } = found;
    let lead_model = release.lead();
    refused_because.extend(release_command_refused(service, lead_model).map(str::to_owned));
    let lead = lead.unwrap_or_default();
    let unchanged = found.to_switch.is_empty();
    let (strategy, because) = match (refused_because.is_empty(), unchanged) {
        // Why another way would be taken is no reason of a refusal.
        (false, _) => ("refused", Vec::new()),
        (true, true) => ("unchanged", vec![ALREADY.to_owned()]),
        (true, false) => (in_words(lead_model.order()), because),
    };
    let dependents = release.dependents().map(|one| one.service.clone());
    let warnings = release.warnings().chain(stale_jobs(&release));
    let neighbours = driver.neighbours(service, &release).await?;
    let neighbours = neighbours.iter().map(ToString::to_string);
    let warnings = warnings.chain(found.unchecked).chain(neighbours);
    let is_held = service.hold.is_some() && !unchanged;
    let switched = release.services().iter().filter(|_| is_held);
    let of_host = service.hold_ports.iter().filter(|_| is_held);
    let held = switched.flat_map(|one| one.published.clone());
    let held: Vec<String> = held.chain(of_host.map(u16::to_string)).collect();
    Ok(Plan {
        hold: service.hold.filter(|_| !held.is_empty()).map(format),
        held,
        service: service.name.to_string(),
        project: lead_model.project.clone(),
        services: owned(release.switched()),
        jobs: jobs_before(service, &release),
        jobs_after: owned(release.names_of_jobs_after()),
        dependents: dependents.collect(),
        left_alone: match unchanged {
            true => Vec::new(),
            false => found.left_alone,
        },
        image: lead_model.image.clone(),
        image_found: lead.image_found,
        tag_variable: lead_model.tag_variable.name.clone(),
        env_file: env_file::env_file(service, lead_model)
            .display()
            .to_string(),
        running: lead.running,
        strategy,
        because,
        verified_by: lead.verified_by,
        rollback_to: lead.rollback_to,
        warnings: warnings.collect(),
        refused_because,
    })
}

fn in_words(order: Order) -> &'static str {
    match order {
        Order::StopFirst => "stop-first",
        Order::StartFirst => "start-first",
    }
}

/// The jobs that run the application in another release than the one that is deployed, a sentence each.
pub(crate) fn stale_jobs(release: &ReleaseModel) -> impl Iterator<Item = String> {
    let image = |model: &ServiceModel| model.image.parse::<ImageRef>().ok();
    let own = image(release.lead());
    let is_stale = move |job: &&ServiceModel| {
        let both = image(job).zip(own.as_ref());
        !job.carries_tag && both.is_some_and(|(image, own)| image.has_repository_of(own))
    };
    let stale = release.all().filter(|one| one.is_job()).filter(is_stale);
    stale.map(|job| {
        format!(
            "the job `{}` runs `{}`, which is not the release that is deployed: its image line does not name the tag variable; `cutover init --fix` writes it",
            job.compose_service, job.image
        )
    })
}

/// The jobs that run before anything is stopped, and the `release_command`, as a person would type it.
pub(crate) fn jobs_before(service: &Service, release: &ReleaseModel) -> Vec<String> {
    let command = &service.release_command;
    let command = (!command.is_empty()).then(|| format!("`{}`", command.join(" ")));
    let jobs = owned(release.job_names());
    jobs.into_iter().chain(command).collect()
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// What was found of the services of the release, one after another.
#[derive(Debug, Default)]
struct Found {
    because: Vec<String>,
    refused_because: Vec<String>,
    unchecked: Vec<String>,
    left_alone: Vec<String>,
    to_switch: Vec<String>,
    lead: Option<FoundOfLead>,
}

/// What is told of the configured service only.
#[derive(Debug, Default)]
struct FoundOfLead {
    image_found: String,
    running: Option<String>,
    verified_by: String,
    rollback_to: String,
}

impl Found {
    /// Looks at everything that a deployment would look at of one service.
    async fn look(
        &mut self,
        settings: &Settings,
        driver: &Driver,
        service: &Service,
        release: &ReleaseModel,
        model: &ServiceModel,
        tag: &Tag,
    ) -> Result<(), Cause> {
        let name = &model.compose_service;
        let is_lead = *name == release.lead().compose_service;
        let is_alone = release.services().len() == 1;
        let told = |what: String| match is_alone {
            true => what,
            false => format!("service `{name}`: {what}"),
        };
        let present = driver.present(&model.project, name).await;
        let present = present.map_err(|error| docker_cause(Step::Prepare, &error))?;
        let present = present.up_to(model.replicas());
        let mut refused = Vec::new();
        let current = present.current.first();
        let (rollback_to, no_way_back) =
            look_for_way_back(driver, service, &present.current, release).await?;
        refused.extend(no_way_back);
        let unset = driver.unset_variables(service, model, current).await;
        let unset = unset.map_err(|error| docker_cause(Step::Prepare, &error))?;
        let unset = unset.into_iter();
        refused.extend(unset.map(|what| format!("unset_variable: {what}")));
        let because = match strategy(&model.facts) {
            Strategy::StopFirst { because } | Strategy::StartFirst { because } => because,
            Strategy::Refused { why, hint } => {
                refused.push(format!("{why}: {hint}"));
                Vec::new()
            }
        };
        refused.extend(refused_by_configuration(service, model, tag));
        let image = look_for_image(settings, driver.docker(), model).await;
        refused.extend(image.obstacle);
        let runs = match image.digest {
            Some(digest) => {
                runs_already(driver, service, (release, model), tag, &present, digest).await?
            }
            None => false,
        };
        match runs {
            true => self.left_alone.push(name.clone()),
            false => {
                self.to_switch.push(name.clone());
                self.because.extend(because.into_iter().map(told));
            }
        }
        let refused = refused.into_iter().map(told);
        for what in refused {
            // The tag is not allowed for all of them alike.
            if !self.refused_because.contains(&what) {
                self.refused_because.push(what);
            }
        }
        let checks = current.map(|container| Checks::new(service, model.monitor, container));
        self.unchecked.extend(unchecked(checks.as_ref()).map(told));
        if is_lead {
            self.lead = Some(FoundOfLead {
                image_found: image.found,
                running: current.map(|_| describe_all(&present.current)),
                verified_by: match &checks {
                    Some(checks) => checks.to_string(),
                    None => {
                        "the health check of the new container or the configured probe".to_owned()
                    }
                },
                rollback_to,
            });
        }
        Ok(())
    }
}

/// What the service's configuration does not allow.
fn refused_by_configuration(service: &Service, model: &ServiceModel, tag: &Tag) -> Vec<String> {
    let mut refused = Vec::new();
    if let Err(allowed) = service.allows_tag(tag) {
        refused.push(format!("invalid_image_sha: the tag must be {allowed}"));
    }
    let is_lead = model.compose_service == service.compose_service;
    let repository = service.image_repository.as_deref().filter(|_| is_lead);
    if let Err(cause) = registry::allowed_repository(&model.image, repository) {
        refused.push(format!("{}: {}", cause.code.as_str(), cause.detail));
    }
    refused
}

/// That the new release could not be asked how it is.
fn unchecked(checks: Option<&Checks>) -> Option<String> {
    let (found, advice) = checks.and_then(Checks::without_any)?;
    Some(format!("{found}; {advice}"))
}

/// What a failure would lead back to, and what would refuse the deployment because of it.
async fn look_for_way_back(
    driver: &Driver,
    service: &Service,
    current: &[Container],
    model: &ReleaseModel,
) -> Result<(String, Option<String>), Cause> {
    let old: Vec<Replica> = current.iter().map(as_replica).collect();
    if old.is_empty() {
        let first = "nothing: this would be the first deployment";
        return Ok((first.to_owned(), None));
    }
    let containers = match old.len() {
        1 => "the very same container",
        _ => "the very same containers",
    };
    Ok(match way_back::find(driver, service, &old, model).await? {
        WayBack::SameContainer => (format!("{containers}, {}", describe_all(current)), None),
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
    })
}

fn describe_all(containers: &[Container]) -> String {
    let all: Vec<String> = containers.iter().map(describe).collect();
    all.join(", ")
}

fn describe(container: &Container) -> String {
    format!(
        "{} ({}, {})",
        container.name,
        container.image_ref,
        container.condition().as_str()
    )
}

/// Whether a deployment would end as `unchanged`: this asks what the deployment asks, and changes nothing. What the
/// journal says of the container is not asked, so that a plan can be made while the daemon runs.
async fn runs_already(
    driver: &Driver,
    service: &Service,
    (release, model): (&ReleaseModel, &ServiceModel),
    tag: &Tag,
    present: &Present,
    digest: String,
) -> Result<bool, Cause> {
    let Ok(known) = digest.parse() else {
        return Ok(false);
    };
    let release = driver.with_digest(service, tag, release.clone(), &known);
    let release = release.await?;
    let Some(model) = release.service(&model.compose_service) else {
        return Ok(false);
    };
    let Ok(reference) = model.image.parse::<ImageRef>() else {
        return Ok(false);
    };
    let pinned = format!("{}@{digest}", reference.name());
    let image = driver.docker().image(&pinned).await;
    let Some(image) = image.map_err(|error| docker_cause(Step::Prepare, &error))? else {
        return Ok(false);
    };
    let image = PinnedImage {
        reference: model.image.clone(),
        digest: Some(digest),
        id: image.id,
    };
    let Ok(deployment) = DeploymentId::new(&uuid::Uuid::now_v7().to_string()) else {
        return Ok(false);
    };
    let target = Target {
        service,
        model,
        tag,
        deployment: &deployment,
    };
    runs_in_order(driver, target, present, &image).await
}

/// What is known about the image.
struct FoundImage {
    /// In words.
    found: String,
    /// The manifest that the registry has under this tag now.
    digest: Option<String>,
    /// What would refuse it.
    obstacle: Option<String>,
}

impl FoundImage {
    fn none(found: &str, obstacle: String) -> Self {
        Self {
            found: found.to_owned(),
            digest: None,
            obstacle: Some(obstacle),
        }
    }
}

async fn look_for_image(settings: &Settings, docker: &Docker, model: &ServiceModel) -> FoundImage {
    let Ok(reference) = model.image.parse::<ImageRef>() else {
        let what = format!("`{}` is not an image reference", model.image);
        return FoundImage::none("not asked for", what);
    };
    let found =
        credentials::for_registry(&settings.docker.config_directory, reference.registry()).await;
    let credentials = match found {
        Ok(credentials) => credentials,
        Err(error) => return FoundImage::none("not asked for", error.to_string()),
    };
    match docker.manifest(&model.image, credentials.as_ref()).await {
        Ok(manifest) => FoundImage {
            found: format!("in the registry, {}", manifest.digest),
            digest: Some(manifest.digest),
            obstacle: None,
        },
        Err(error) => {
            let cause = PullError::cause(error);
            FoundImage::none(
                "not to be had from the registry",
                format!("{}: {}", cause.code.as_str(), cause.detail),
            )
        }
    }
}
