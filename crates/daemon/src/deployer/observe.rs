//! What a run reads off the containers of the service.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Condition, PinnedImage, Replica, Status};
use cutover_core::mask;
use cutover_core::names::DeploymentId;
use jiff::Timestamp;

use super::causes::journal_cause;
use super::context::Run;
use crate::docker::container::EnvVar;
use crate::docker::{Container, ContainerEvents, DockerError};
use crate::driver::{Driver, Present, Target, as_replica, docker_cause};
use crate::labels;
use crate::probe::verify::{self, Checks};
use crate::settings;

/// How long a running container may take to pass the service's probes before it counts as unhealthy: one that is in
/// order answers at once.
const PROBED_FOR: Duration = Duration::from_secs(3);

/// Somebody may have typed `docker compose` while the image was pulled.
pub(super) async fn unchanged_since(driver: &Driver, old: &[Replica]) -> Result<(), Cause> {
    for old in old {
        let found = driver.docker().container(&old.container).await;
        match found.map_err(|error| docker_cause(Step::Stage, &error))? {
            Some(now) if now.state.running == old.condition.ran() => {}
            _ => {
                let detail = format!(
                    "the container {} was changed by somebody else during the deployment; cutover changed nothing",
                    old.name
                );
                return Err(Cause::new(Code::Interfered, Step::Stage, detail));
            }
        }
    }
    Ok(())
}

/// Whether what runs is this very release, proven and in order, and is to be left alone.
pub(super) async fn runs_release(
    run: &Run,
    target: Target<'_>,
    present: &Present,
    image: &PinnedImage,
) -> Result<bool, Cause> {
    for container in &present.current {
        if !is_proven(run, container).await? {
            return Ok(false);
        }
    }
    runs_in_order(&run.driver, target, present, image).await
}

/// Whether this very job has run to a good end.
pub(super) async fn has_run(
    run: &Run,
    target: Target<'_>,
    present: &Present,
    image: &PinnedImage,
) -> Result<bool, Cause> {
    Ok(match present.current.first() {
        Some(container) => {
            let state = &container.state;
            let ended_well = !state.running && state.started_at.is_some() && state.exit_code == 0;
            ended_well && run.driver.is_same_release(target, container, image).await?
        }
        None => false,
    })
}

/// Whether what runs is this very release and in order, as far as Docker, Compose and the probes say; what the record
/// says of it is not asked. A plan and a deployment both ask this.
pub(crate) async fn runs_in_order(
    driver: &Driver,
    target: Target<'_>,
    present: &Present,
    image: &PinnedImage,
) -> Result<bool, Cause> {
    if !present.parked.is_empty() || present.current.len() != target.model.replicas() {
        return Ok(false);
    }
    for container in &present.current {
        let is_in_order = container.condition().is_good()
            && driver.is_same_release(target, container, image).await?
            && answers(driver, target.service, container, None).await?;
        if !is_in_order {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the container was not left by a deployment that did not succeed: one that needs an operator leaves
/// what runs alone, without its restart policy and without a proof.
async fn is_proven(run: &Run, container: &Container) -> Result<bool, Cause> {
    let label = container.labels.get(labels::DEPLOYMENT);
    let Some(id) = label.and_then(|id| DeploymentId::new(id).ok()) else {
        return Ok(true);
    };
    let made_by = run.journal.deployment(&id).await;
    let made_by = made_by.map_err(|error| journal_cause(Step::Pull, &error))?;
    // One that the journal does not know was made before it was lost.
    Ok(made_by.is_none_or(|made_by| made_by.status() == Status::Succeeded))
}

/// Whether a container that Docker finds in order passes the configured probes as well, within `deadline` if one is
/// given. Without any probe, there is nothing that Docker has not said already.
async fn answers(
    driver: &Driver,
    service: &settings::Service,
    container: &Container,
    deadline: Option<Duration>,
) -> Result<bool, Cause> {
    let checks = Checks::new(service, None, container).for_one_that_runs();
    if !checks.has_probes() {
        return Ok(true);
    }
    let failed = |error| docker_cause(Step::Pull, &error);
    let events = watch(driver, &container.id).await.map_err(failed)?;
    let checks = match deadline {
        Some(deadline) => checks.within(deadline),
        None => checks,
    };
    let docker = driver.docker();
    let verified = verify::verify(docker, events, &container.id, &checks, None).await;
    Ok(verified.is_ok())
}

/// The record of a container that is about to be replaced. One that Docker finds in order and the service's own
/// probes do not is not in order: after a rollback nothing more is asked of it.
pub(super) async fn found(run: &Run, container: &Container) -> Result<Replica, Cause> {
    let replica = as_replica(container);
    let is_good = replica.condition.is_good();
    if !is_good || answers(&run.driver, &run.service, container, Some(PROBED_FOR)).await? {
        return Ok(replica);
    }
    Ok(Replica {
        condition: Condition::Unhealthy,
        ..replica
    })
}

/// After Compose's last hook and before the commit: the new container was proven before the hooks ended, and
/// a restart of Docker may have started the previous one beside it.
pub(super) async fn still_runs(
    driver: &Driver,
    old: &[&Replica],
    new: &Replica,
    born: Option<Timestamp>,
) -> Result<(), Cause> {
    let failed = |error| docker_cause(Step::Verify, &error);
    for old in old {
        let old = driver.docker().container(&old.container).await;
        if old.map_err(failed)?.is_some_and(|old| old.state.running) {
            let what =
                "the previous container was started again meanwhile, by Docker or by somebody";
            return Err(Cause::new(Code::Interfered, Step::Verify, what));
        }
    }
    let found = driver.docker().container(&new.container).await;
    let (code, what) = match found.map_err(failed)? {
        Some(now) if !now.state.running || now.state.restarting => {
            (Code::ContainerExited, "it ended after it was healthy")
        }
        Some(now) if now.state.started_at != born => (
            Code::ContainerExited,
            "it was restarted after it was healthy",
        ),
        Some(now) if now.condition() == Condition::Unhealthy => {
            (Code::Unhealthy, "it became unhealthy after it was healthy")
        }
        Some(_) => return Ok(()),
        None => (Code::Interfered, "somebody removed the container"),
    };
    Err(Cause::new(code, Step::Verify, what))
}

/// What runs of a service. `Display` says it for a person.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// The ids of the containers that run.
    pub(super) ids: BTreeSet<String>,
    words: Vec<String>,
    unknown: Option<String>,
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unknown {
            Some(why) => write!(f, "unknown, because Docker does not say: {why}"),
            None if self.words.is_empty() => f.write_str("no container of the service"),
            None => f.write_str(&self.words.join(" and ")),
        }
    }
}

/// Every container of the deployment's service that runs.
pub(super) async fn what_runs(run: &Run) -> Runs {
    let mut runs = Runs::default();
    match look_at_service(run).await {
        Ok(found) => {
            for (which, container) in found {
                let Container {
                    name, image_ref, ..
                } = &container;
                runs.words
                    .push(format!("the {which} container {name} ({image_ref})"));
                runs.ids.insert(container.id);
            }
        }
        Err(why) => runs.unknown = Some(why),
    }
    runs
}

async fn look_at_service(run: &Run) -> Result<Vec<(&'static str, Container)>, String> {
    let words = |error: DockerError| error.to_string();
    let deployment = run.deployment();
    let look = run.driver.look(deployment).await.map_err(words)?;
    let mut all: Vec<(&'static str, Container)> = Vec::new();
    for (which, found) in [("previous", look.old), ("new", look.new)] {
        let there = found.into_iter().filter_map(|found| found.container);
        all.extend(there.map(|container| (which, container)));
    }
    all.extend(look.strangers.into_iter().map(|other| ("other", other)));
    if deployment.old.is_empty() && deployment.new.is_empty() {
        // Nothing is recorded of its containers yet.
        let project = run.driver.project_of(&run.service).await;
        let project = project.map_err(|cause| cause.detail)?;
        let service = &run.service.compose_service;
        let present = run.driver.present(&project, service).await.map_err(words)?;
        all.extend(present.current.into_iter().map(|one| ("present", one)));
    }
    all.retain(|(_, container)| container.state.running);
    Ok(all)
}

pub(super) async fn watch(
    driver: &Driver,
    container: &str,
) -> Result<ContainerEvents, DockerError> {
    driver.docker().watch_container(container).await
}

/// What is secret of what a container was created with.
pub(super) fn secret_values(container: &Container) -> Vec<String> {
    let variables = container.env.iter();
    let of_variables = variables.flat_map(|EnvVar { name, value }| mask::secrets_of(name, value));
    let definition = &container.definition;
    let arguments = [&definition.entrypoint, &definition.command];
    let of_arguments = arguments
        .into_iter()
        .flat_map(|arguments| mask::secrets_in_arguments(arguments));
    of_variables.chain(of_arguments).collect()
}
