//! The tag in the project's env file.
//!
//! It is written there after the commit: until then, a `docker compose up -d` by hand finds the release that is proven.
//! But where the service reads that very file (`env_file: .env`) or mounts it, it is put there before the new container
//! is created. Then Compose and the container see the project as it will stand, and `docker compose up -d` by hand finds
//! nothing to change afterwards. What it takes the place of is recorded, and every end but a success puts it back. A
//! container that runs does not read the file again.

use std::sync::Arc;

use cutover_core::deployment::TagLine;

use super::context::Run;
use super::pull::digest_of;
use crate::driver::env_file::{self, EnvFileError};
use crate::driver::project::{ReleaseModel, ServiceModel};

/// What the tag is about to take the place of, where one of these services sees the env file.
pub(super) async fn look_at_tag_line(run: &Run, services: &[&ServiceModel]) -> Option<TagLine> {
    let tag = &run.deployment().request.tag;
    let mut sees = None;
    for model in services {
        if run.driver.sees_env_file(&run.service, model, tag).await {
            sees = Some((*model).clone());
            break;
        }
    }
    let (service, model) = (Arc::clone(&run.service), sees?);
    let line = tokio::task::spawn_blocking(move || env_file::tag_line(&service, &model));
    line.await.ok().flatten()
}

/// Puts the tag into the env file, if what it takes the place of is recorded. Where it cannot be written, the deployment
/// goes on: the commit tries again, and tells it.
pub(super) async fn put_tag_in_place(run: &Run, model: &ReleaseModel) {
    if run.deployment().tag_line.is_some()
        && let Err(why) = write_tag(run, model).await
    {
        tracing::warn!(deployment.id = %run.deployment().id, %why, "the tag is not in the env file yet");
    }
}

/// Puts the tag into the env file, where a `docker compose up` by hand finds it; after the commit.
pub(super) async fn remember_tag(run: &mut Run, model: &ReleaseModel) {
    if let Err(what) = write_tag(run, model).await {
        let what =
            format!("{what}; `docker compose up` by hand would bring an earlier release back");
        run.record.warn(what).await;
    }
}

/// Puts back what stood in the env file before, unless somebody has changed it since.
pub(super) async fn take_tag_back(run: &mut Run) {
    let Some(line) = run.deployment().tag_line.clone() else {
        return;
    };
    let tag = run.deployment().request.tag.clone();
    let taken = tokio::task::spawn_blocking(move || env_file::take_tag_back(&line, &tag)).await;
    if let Err(what) = flattened(taken) {
        let what = format!(
            "the env file still names the release that does not run, and `docker compose up` by hand would start it: {what}"
        );
        run.record.warn(what).await;
    }
}

async fn write_tag(run: &Run, model: &ReleaseModel) -> Result<(), String> {
    let (service, mut model) = (Arc::clone(&run.service), model.lead().clone());
    if let Some(digest) = digest_of(run.deployment()) {
        // After a restart, the project is read for the tag alone.
        model.tag_variable = model.tag_variable.with_digest(&digest);
    }
    if model.tag_variable.needs_digest() {
        let name = &model.tag_variable.name;
        return Err(format!(
            "{name} was not set in the env file, because the digest of the image is not recorded"
        ));
    }
    let tag = run.deployment().request.tag.clone();
    flattened(
        tokio::task::spawn_blocking(move || env_file::remember_tag(&service, &model, &tag)).await,
    )
}

fn flattened(done: Result<Result<(), EnvFileError>, tokio::task::JoinError>) -> Result<(), String> {
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
