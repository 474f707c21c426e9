//! Creating a previous container again that is gone, or cannot be started as it was.
//!
//! The best is the very same configuration with the same image, as it was recorded before the switch. The second
//! best is the previous image in the present definition of the service, which Compose creates. Neither needs a
//! registry.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, Origin, PinnedImage, Recreated, Replica};
use cutover_core::switch::name_of_recreated;

use super::context::Run;
use super::journey::Journey;
use crate::driver::project::ReleaseModel;
use crate::driver::{Found, Target, docker_cause};
use crate::labels;
use crate::way_back::previous_release;

/// Creates the container of `found` again. It is not started, and recorded in its place.
pub(super) async fn recreate(
    run: &mut Run,
    journey: &mut Journey,
    found: &Found,
    from: Origin,
) -> Result<(), Cause> {
    let old = &found.replica;
    let replica = match from {
        Origin::SameConfiguration => from_configuration(run, old).await?,
        Origin::PreviousImage => from_image(run, old, journey.model.as_ref()).await?,
    };
    let what = match (from, &found.container) {
        (Origin::SameConfiguration, _) => format!(
            "somebody removed the previous container {}; it is created again from its recorded configuration and image",
            old.name
        ),
        (Origin::PreviousImage, None) => format!(
            "somebody removed the previous container {}; its image is brought back in the present definition of the service",
            old.name
        ),
        (Origin::PreviousImage, Some(_)) => format!(
            "the previous container {} cannot be started again; its image is brought back in the present definition of the service",
            old.name
        ),
    };
    run.record.warn(what).await;
    let recreated = Recreated {
        replaces: old.container.clone(),
        replica,
        from,
    };
    run.record.anyway(Event::Recreated(recreated)).await;
    Ok(())
}

async fn from_configuration(run: &Run, old: &Replica) -> Result<Replica, Cause> {
    let (kept, id) = (run.kept.clone(), run.deployment().id.clone());
    let read = tokio::task::spawn_blocking(move || kept.get(&id)).await;
    let configurations = match read {
        Ok(Ok(configurations)) => configurations.unwrap_or_default(),
        Ok(Err(error)) => return Err(not_again(error.to_string())),
        Err(error) => return Err(not_again(error.to_string())),
    };
    let configuration = configurations
        .into_iter()
        .find(|(container, _)| *container == old.container);
    let Some((_, configuration)) = configuration else {
        return Err(not_again(
            "its configuration is not recorded, or Compose wrote files into it, so that only Compose can create it",
        ));
    };
    let id = &run.deployment().id;
    let name = name_of_recreated(&old.name, &old.container, id);
    let ours = [(labels::RECREATED_BY, id.as_str())];
    let created = run
        .driver
        .docker()
        .create_again(&configuration, &name, &ours);
    let container = created
        .await
        .map_err(|error| docker_cause(Step::RollBack, &error))?;
    Ok(Replica {
        container,
        ..old.clone()
    })
}

async fn from_image(
    run: &Run,
    old: &Replica,
    model: Option<&ReleaseModel>,
) -> Result<Replica, Cause> {
    let failed = |error| docker_cause(Step::RollBack, &error);
    let (tag, model) = previous_release(&run.driver, &run.service, old, model).await?;
    let docker = run.driver.docker();
    // A digest leads to the image already.
    if !old.image.contains('@') {
        let tagged = docker.tag_image(&old.image_id, &old.image);
        tagged.await.map_err(failed)?;
    }
    let hidden = run.driver.all_of(&model.project, &model.compose_service);
    let hidden = hidden.await.map_err(failed)?;
    let image = PinnedImage {
        reference: old.image.clone(),
        digest: None,
        id: old.image_id.clone(),
    };
    let target = Target {
        service: &run.service,
        model: &model,
        tag: &tag,
        deployment: &run.deployment().id,
    };
    let created = run.driver.recreate_from_image(target, &image, old, &hidden);
    let replica = created.await?;
    Ok(Replica {
        name: old.name.clone(),
        condition: old.condition,
        ..replica
    })
}

fn not_again(why: impl Into<String>) -> Cause {
    Cause::new(Code::RollbackFailed, Step::RollBack, why)
}
