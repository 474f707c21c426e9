//! What a run reads off the containers of the service.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Condition, PinnedImage, Previous, Status};
use cutover_core::mask;
use cutover_core::names::DeploymentId;

use super::causes::journal_cause;
use super::run::Run;
use crate::docker::container::EnvVar;
use crate::docker::{Container, ContainerEvents, DockerError};
use crate::driver::{ComposeDriver, DEPLOYMENT_LABEL, Present, Target, docker_cause};
use crate::probe::verify::{self, Checks};
use crate::settings;

/// Somebody may have typed `docker compose` while the image was pulled.
pub(super) async fn unchanged_since(
    driver: &ComposeDriver,
    previous: Option<&Previous>,
) -> Result<(), Cause> {
    let Some(old) = previous else { return Ok(()) };
    let found = driver
        .docker()
        .container(&old.container)
        .await
        .map_err(|error| docker_cause(Step::Stage, &error))?;
    match found {
        Some(now) if now.state.running == old.condition.ran() => Ok(()),
        _ => Err(Cause::new(
            Code::Interfered,
            Step::Stage,
            format!(
                "the container {} was changed by somebody else during the deployment; cutover changed nothing",
                old.name
            ),
        )),
    }
}

/// Whether what runs is this very release, proven and in order.
pub(super) async fn already_runs(
    run: &Run,
    target: Target<'_>,
    present: &Present,
    image: &PinnedImage,
) -> Result<bool, Cause> {
    let driver = &run.driver;
    Ok(match &present.current {
        Some(container) => {
            present.parked.is_empty()
                && container.condition().is_good()
                && is_proven(run, container).await?
                && driver.is_same_release(target, container, image).await?
                && answers(driver, target.service, container).await?
        }
        None => false,
    })
}

/// Whether the container was not left by a deployment that did not succeed: one that needs an operator leaves
/// what runs alone, without its restart policy and without a proof.
async fn is_proven(run: &Run, container: &Container) -> Result<bool, Cause> {
    let label = container.labels.get(DEPLOYMENT_LABEL);
    let Some(id) = label.and_then(|id| DeploymentId::new(id).ok()) else {
        return Ok(true);
    };
    let made_by = run.journal.deployment(&id).await;
    let made_by = made_by.map_err(|error| journal_cause(Step::Pull, &error))?;
    // One that the journal does not know was made before it was lost.
    Ok(made_by.is_none_or(|made_by| made_by.status() == Status::Succeeded))
}

/// Whether a container that Docker finds in order passes the configured probes as well. Without any, there is
/// nothing that Docker has not said already.
async fn answers(
    driver: &ComposeDriver,
    service: &settings::Service,
    container: &Container,
) -> Result<bool, Cause> {
    if service.health.http.is_none() && service.health.tcp.is_none() {
        return Ok(true);
    }
    let failed = |error| docker_cause(Step::Pull, &error);
    let events = watch(driver, &container.id).await.map_err(failed)?;
    let checks = Checks::new(service, None, container).for_rollback();
    let verified = verify::verify(driver.docker(), events, &container.id, &checks).await;
    Ok(verified.is_ok())
}

/// After Compose's last hook and before the commit: the new container was proven before the hooks ended, and
/// a restart of Docker may have started the previous one beside it.
pub(super) async fn still_runs(
    driver: &ComposeDriver,
    previous: Option<&Previous>,
    container: &str,
) -> Result<(), Cause> {
    let failed = |error| docker_cause(Step::Verify, &error);
    if let Some(old) = previous {
        let old = driver.docker().container(&old.container).await;
        if old.map_err(failed)?.is_some_and(|old| old.state.running) {
            let what =
                "the previous container was started again meanwhile, by Docker or by somebody";
            return Err(Cause::new(Code::Interfered, Step::Verify, what));
        }
    }
    let found = driver.docker().container(container).await;
    let (code, what) = match found.map_err(failed)? {
        Some(now) if !now.state.running || now.state.restarting => {
            (Code::ContainerExited, "it ended after it was healthy")
        }
        Some(now) if now.condition() == Condition::Unhealthy => {
            (Code::Unhealthy, "it became unhealthy after it was healthy")
        }
        Some(_) => return Ok(()),
        None => (Code::Interfered, "somebody removed the container"),
    };
    Err(Cause::new(code, Step::Verify, what))
}

pub(super) async fn watch(
    driver: &ComposeDriver,
    container: &str,
) -> Result<ContainerEvents, DockerError> {
    driver.docker().watch_container(container).await
}

pub(super) fn as_previous(container: &Container) -> Previous {
    Previous {
        container: container.id.clone(),
        name: container.name.clone(),
        image: container.image_ref.clone(),
        image_id: container.image_id.clone(),
        condition: container.condition(),
        restart_policy: container.restart_policy.clone(),
    }
}

/// The checks for a container of which only the id is known; `None` if it is gone.
pub(super) async fn checks_of(run: &Run, container: &str) -> Result<Option<Checks>, DockerError> {
    let found = run.driver.docker().container(container).await?;
    Ok(found.map(|container| Checks::new(&run.service, None, &container)))
}

pub(super) fn secret_values(container: &Container) -> Vec<String> {
    let mut values = Vec::new();
    for EnvVar { name, value } in &container.env {
        if mask::looks_secret(name) {
            values.push(value.clone());
        }
        values.extend(mask::url_credentials(value));
    }
    values
}
