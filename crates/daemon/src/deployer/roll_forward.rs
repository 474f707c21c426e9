//! Going forward after the commit point: there is no way back, so every step is tried until it is done.
//!
//! The previous container is what is left if the new one fails after all, so it goes last: when the new one is
//! seen to run, and has proven itself anew if it did not run all along.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Staged};

use super::causes::verify_cause;
use super::observe::{checks_of, watch};
use super::roll_back::ask_operator;
use super::run::Run;
use crate::driver::project::ServiceModel;
use crate::driver::{Found, docker_cause, env_file};
use crate::probe::verify::verify;

/// Before the second attempt at something that Docker refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to finish what was committed.
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often what was committed is tried to be finished while Docker answers, about two minutes in all:
/// after that it is something that only a person can put right.
const SETTLE_ATTEMPTS: u32 = 15;

/// How often a committed container that does not run is started: each attempt stops the previous one, which
/// runs in its place.
const START_ATTEMPTS: u32 = 3;

/// What is known of the new container when going forward begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    /// It was proven a moment ago, and this is the service as Compose renders it.
    Proven(&'a ServiceModel),
    /// The daemon was restarted since.
    Nothing,
}

/// After the commit point: finish.
pub(super) async fn roll_forward(run: &mut Run, known: Known<'_>) {
    let deployment = run.record.deployment().clone();
    if let Some(staged) = &deployment.staged {
        match settle(run, &deployment, staged, known).await {
            Settled::Yes => {}
            Settled::NotYet => return,
            Settled::Never(cause) => {
                let old = deployment
                    .previous
                    .as_ref()
                    .filter(|old| old.condition.ran());
                let old = old.map(|old| old.container.as_str());
                // One of them runs: the new one, which was proven once, or else the old one.
                let either: Vec<&str> =
                    old.into_iter().chain([staged.container.as_str()]).collect();
                run.driver.ensure_one_runs(&either, &either).await;
                return ask_operator(run, cause).await;
            }
        }
    }
    let read;
    let model = match known {
        Known::Proven(model) => Some(model),
        Known::Nothing => {
            read = read_again(run).await;
            read.as_ref()
        }
    };
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
async fn settle(
    run: &mut Run,
    deployment: &Deployment,
    staged: &Staged,
    known: Known<'_>,
) -> Settled {
    let mut is_proven = matches!(known, Known::Proven(_));
    let (mut pause, mut attempts, mut starts) = (RETRY_PAUSE, 0, 0);
    let mut told = String::new();
    while let Err(cause) = settle_once(run, deployment, staged, &mut is_proven).await {
        if run.driver.docker().ping().await.is_ok() {
            attempts += 1;
            starts += u32::from(cause.code == Code::SwitchFailed);
        }
        if attempts == SETTLE_ATTEMPTS || starts == START_ATTEMPTS {
            return Settled::Never(cause);
        }
        // Once for each reason, however long it takes.
        if cause.detail != told {
            let what = format!("{}; trying again", cause.detail);
            run.record.warn(what).await;
            told = cause.detail;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(SETTLE_PAUSE_MAX),
            () = run.stopping.cancelled() => return Settled::NotYet,
        }
    }
    Settled::Yes
}

/// The new container runs, has proven itself, and the old one goes.
async fn settle_once(
    run: &Run,
    deployment: &Deployment,
    staged: &Staged,
    is_proven: &mut bool,
) -> Result<(), Cause> {
    let failed = |error| docker_cause(Step::CleanUp, &error);
    let previous = deployment.previous.as_ref();
    // Subscribed before the start, so that an exit cannot be missed.
    let events = watch(&run.driver, &staged.container)
        .await
        .map_err(failed)?;
    let found = run.driver.ensure_committed_runs(previous, staged).await?;
    *is_proven &= found == Found::Running;
    if !*is_proven {
        let checks = checks_of(run, &staged.container).await.map_err(failed)?;
        let Some(checks) = checks else {
            let detail = "the committed container is gone: somebody removed it";
            return Err(Cause::new(Code::SwitchFailed, Step::CleanUp, detail));
        };
        let docker = run.driver.docker();
        verify(docker, events, &staged.container, &checks.for_rollback())
            .await
            .map_err(|failure| Cause {
                code: Code::SwitchFailed,
                detail: format!(
                    "the committed container was not healthy after a restart: {failure}"
                ),
                ..verify_cause(Step::CleanUp, &failure)
            })?;
        *is_proven = true;
    }
    run.driver.settle(previous, staged).await
}

/// The service as Compose renders it, after a restart of the daemon.
async fn read_again(run: &mut Run) -> Option<ServiceModel> {
    if run.service.compose_files.is_empty() {
        // It is not configured any more.
        return None;
    }
    let tag = run.record.deployment().request.tag.clone();
    match run.driver.read(&run.service, &tag).await {
        Ok(model) => Some(model),
        Err(cause) => {
            let what = format!("the tag was not written to the env file: {}", cause.detail);
            run.record.warn(what).await;
            None
        }
    }
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
