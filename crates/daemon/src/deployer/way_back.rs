//! The way back is shown to exist before the first move, and what would stand in it later is put right.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Replica, WayBack};

use super::context::Run;
use crate::docker::create::CreateConfiguration;
use crate::driver::docker_cause;
use crate::driver::project::ServiceModel;
use crate::way_back;

/// Keeps what is needed to create the `old` containers again, should somebody remove them. Where Compose wrote
/// files into them, only Compose can.
pub(super) async fn keep_configurations(
    run: &Run,
    old: &[Replica],
    model: &ServiceModel,
) -> Result<(), Cause> {
    if model.has_written_files {
        return Ok(());
    }
    let failed = |error| docker_cause(Step::Stage, &error);
    let mut configurations: Vec<(String, CreateConfiguration)> = Vec::new();
    for old in old {
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

/// Shows that every old replica could be brought back: the very same container, or, where that could not be
/// started again, the previous image in the present definition of the service, which is said beforehand.
///
/// # Errors
/// [`Code::NoWayBack`] with what is missing.
pub(super) async fn find_way_back(run: &mut Run, model: &ServiceModel) -> Result<(), Cause> {
    let old = run.deployment().old.clone();
    let found = way_back::find(&run.driver, &run.service, &old, model).await?;
    let what = match found {
        way_back::WayBack::SameContainer => return Ok(()),
        way_back::WayBack::PreviousImage { missing } => format!(
            "{missing}; should the new release fail, the previous image is brought back in the present definition of the service, through Compose, and not the very same container"
        ),
        way_back::WayBack::None { missing } => match run.deployment().request.way_back {
            WayBack::Waived => {
                format!("an operator decided to go on without a way back: {missing}")
            }
            WayBack::Needed => return Err(Cause::new(Code::NoWayBack, Step::Stage, missing)),
        },
    };
    run.record.warn(what).await;
    Ok(())
}

/// After a rollback, the reference of each previous container means its image again: the failed release may have
/// been pushed under the same tag. Then `docker compose up` by hand would start what has just failed.
pub(super) async fn give_references_back(run: &mut Run) {
    for old in run.deployment().old.clone() {
        let docker = run.driver.docker();
        let given = async {
            let found = docker.image(&old.image).await?;
            if found.is_none_or(|found| found.id == old.image_id) || old.image.contains('@') {
                return Ok(false);
            }
            docker.tag_image(&old.image_id, &old.image).await?;
            Ok::<_, crate::docker::DockerError>(true)
        };
        let what = match given.await {
            Ok(false) => continue,
            Ok(true) => format!(
                "on this machine {} means the previous image again; in the registry it means the one that failed: push a release that works under a new tag, or the next pull brings the failed one back",
                old.image
            ),
            Err(error) => format!(
                "{} still means the image that failed, and `docker compose up` by hand would start it: {error}",
                old.image
            ),
        };
        run.record.warn(what).await;
    }
}
