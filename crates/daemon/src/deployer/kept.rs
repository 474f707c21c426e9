//! How to create the previous containers again: kept while a deployment may have to go back, then forgotten.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Replica, Status};
use cutover_core::names::DeploymentId;

use super::context::Run;
use crate::docker::create::CreateConfiguration;
use crate::driver::docker_cause;
use crate::driver::kept::Kept;
use crate::driver::project::ReleaseModel;

/// Keeps what is needed to create the `old` containers again, should somebody remove them. Where Compose wrote
/// files into them, only Compose can.
pub(super) async fn keep_configurations(
    run: &Run,
    old: &[Replica],
    model: &ReleaseModel,
) -> Result<(), Cause> {
    let failed = |error| docker_cause(Step::Stage, &error);
    let mut configurations: Vec<(String, CreateConfiguration)> = Vec::new();
    let has_written_files = |service: &str| {
        model
            .service(service)
            .is_none_or(|one| one.has_written_files)
    };
    for old in old.iter().filter(|old| !has_written_files(&old.service)) {
        let found = run.driver.docker().create_configuration(&old.container);
        let found = found.await.map_err(failed)?;
        configurations.extend(found.map(|found| (old.container.clone(), found)));
    }
    let (kept, id) = (run.kept.clone(), run.deployment().id.clone());
    let written = tokio::task::spawn_blocking(move || kept.keep(&id, &configurations)).await;
    let error = match written {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(error) => std::io::Error::other(error),
    };
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => Code::InsufficientStorage,
        _ => Code::JournalUnavailable,
    };
    let detail = format!(
        "the configuration of the previous container could not be kept in the state directory, so nothing was begun: {error}"
    );
    Err(Cause::new(code, Step::Stage, detail))
}

/// Forgets it, unless the deployment may still go back: one whose rollback failed is tried again at the next start.
pub(super) async fn forget_if_over(run: &Run) {
    let deployment = run.deployment();
    if !deployment.status().is_end() || deployment.status() == Status::RollbackFailed {
        return;
    }
    let (kept, id) = (run.kept.clone(), deployment.id.clone());
    let forgotten = tokio::task::spawn_blocking(move || kept.forget(&id)).await;
    if let Ok(Err(error)) = forgotten {
        tracing::warn!(deployment.id = %deployment.id, %error, "a recorded configuration was not removed");
    }
}

/// Forgets it for every deployment but those that are `needed`.
pub(super) async fn forget_all_but(kept: &Kept, needed: Vec<DeploymentId>) {
    let kept = kept.clone();
    let forgotten = tokio::task::spawn_blocking(move || kept.forget_all_but(&needed)).await;
    if let Ok(Err(error)) = forgotten {
        tracing::warn!(%error, "a recorded configuration was not removed");
    }
}
