//! Going forward after the commit point: there is no way back, so every step is tried until it is done.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code};
use cutover_core::deployment::{Event, Previous, Staged};

use super::roll_back::ask_operator;
use super::run::Run;
use crate::driver::env_file;
use crate::driver::project::ServiceModel;

/// Before the second attempt at something that Docker refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to finish what was committed.
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often what was committed is tried to be finished while Docker answers, about two minutes in all:
/// after that it is something that only a person can put right.
const SETTLE_ATTEMPTS: u32 = 15;

/// How often a committed container that does not run is started: each attempt stops the previous one, which
/// runs in its place.
pub(super) const START_ATTEMPTS: u32 = 3;

/// After the commit point: finish.
pub(super) async fn roll_forward(run: &mut Run, model: Option<&ServiceModel>) {
    let deployment = run.record.deployment().clone();
    if let Some(staged) = &deployment.staged {
        match settle(run, deployment.previous.as_ref(), staged).await {
            Settled::Yes => {}
            Settled::NotYet => return,
            Settled::Never(cause) => return ask_operator(run, cause).await,
        }
    }
    if let Some(model) = model {
        if let Err(what) = remember_tag(run, model).await {
            run.record.warn(what).await;
        }
        if let Err(what) = clear_parked(run, model).await {
            run.record.warn(what).await;
        }
    }
    run.record.anyway(Event::Succeeded).await;
}

/// What came of settling.
enum Settled {
    Yes,
    /// The daemon stops: the next start goes on from here.
    NotYet,
    Never(Cause),
}

/// Tries until it is done. A Docker that is away is waited for and costs no attempt.
async fn settle(run: &mut Run, previous: Option<&Previous>, staged: &Staged) -> Settled {
    let mut pause = RETRY_PAUSE;
    let mut attempts = 0;
    let mut starts = 0;
    while let Err(cause) = run.driver.settle(previous, staged).await {
        if run.driver.docker().ping().await.is_ok() {
            attempts += 1;
        }
        if cause.code == Code::SwitchFailed {
            starts += 1;
        }
        if attempts == SETTLE_ATTEMPTS || starts == START_ATTEMPTS {
            return Settled::Never(cause);
        }
        run.record
            .warn(format!("{}; trying again", cause.detail))
            .await;
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(SETTLE_PAUSE_MAX),
            () = run.stopping.cancelled() => return Settled::NotYet,
        }
    }
    Settled::Yes
}

/// Removes what a failed rollback had put aside: now something newer is proven, and `docker compose` by hand
/// would take it for a second container of the service.
async fn clear_parked(run: &Run, model: &ServiceModel) -> Result<(), String> {
    let cleared = async {
        let present = run.driver.present(model).await?;
        run.driver.clear(&present.parked).await
    };
    cleared.await.map_err(|cause| {
        format!(
            "a container that was put aside before could not be removed: {}",
            cause.detail
        )
    })
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
