//! Going forward after the commit point: there is no way back, so every step is tried until it is done.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::deployment::Event;

use super::run::Run;
use crate::driver::env_file;
use crate::driver::project::ServiceModel;

/// Before the second attempt at something that Docker refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to finish what was committed.
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// After the commit point: finish, however long it takes.
pub(super) async fn roll_forward(run: &mut Run, model: Option<&ServiceModel>) {
    let deployment = run.record.deployment().clone();
    let mut pause = RETRY_PAUSE;
    if let Some(staged) = &deployment.staged {
        while let Err(cause) = run
            .driver
            .settle(deployment.previous.as_ref(), staged)
            .await
        {
            run.record
                .warn(format!("{}; trying again", cause.detail))
                .await;
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(SETTLE_PAUSE_MAX),
                // The next start goes on from here.
                () = run.stopping.cancelled() => return,
            }
        }
    }
    if let Some(model) = model
        && let Err(what) = remember_tag(run, model).await
    {
        run.record.warn(what).await;
    }
    run.record.anyway(Event::Succeeded).await;
}

/// Writes the tag into the env file, where a `docker compose up` by hand finds it.
async fn remember_tag(run: &Run, model: &ServiceModel) -> Result<(), String> {
    let (service, model) = (Arc::clone(&run.service), model.clone());
    let tag = run.record.deployment().request.tag.clone();
    let written =
        tokio::task::spawn_blocking(move || env_file::remember_tag(&service, &model, &tag)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!(
            "{error}; `docker compose up` by hand would bring an earlier release back"
        )),
        Err(error) => Err(error.to_string()),
    }
}
