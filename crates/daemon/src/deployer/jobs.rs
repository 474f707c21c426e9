//! The jobs of a release: a migration that must have ended well before anything is stopped, and what runs after the
//! commit.
//!
//! Compose has created their containers with the others. What a job does is not undone, so each start is recorded, and
//! every answer says that it ran.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, Replica};
use cutover_core::duration::format;
use cutover_core::mask::Mask;
use cutover_core::switch::{Grace, Move};
use tokio::time::Instant;

use super::bring_in::Staged;
use super::context::Run;
use super::ended::Ended;
use super::observe::{secret_values, watch};
use super::output::{Output, shown_with};
use crate::docker::ContainerEvents;
use crate::docker::events::Change;
use crate::driver::docker_cause;
use crate::driver::project::ReleaseModel;
use crate::driver::stage::Staging;
use crate::settings::JobReruns;

/// What the configured `release_command` is called among the jobs.
pub(super) const RELEASE_COMMAND: &str = "release_command";

/// Runs the jobs, one after another, each to its end, and then the `release_command`.
pub(super) async fn run_jobs(run: &mut Run, staged: Staged) -> Result<Staged, Ended> {
    let mut output = None;
    match run_all(run, &staged, &mut output).await {
        Ok(()) => Ok(staged),
        Err(cause) => {
            let log = match &mut output {
                Some(output) => output.last_words().await,
                None => Vec::new(),
            };
            Err(Ended::NothingChanged {
                cause,
                staging: Some(staged.staging),
                log,
            })
        }
    }
}

async fn run_all(run: &mut Run, staged: &Staged, output: &mut Option<Output>) -> Result<(), Cause> {
    for job in &staged.staging.jobs {
        // Compose waits for its end.
        let told = Some(staged.staging.as_ref());
        run_job(run, &job.replica, told, &staged.mask, output).await?;
    }
    run_release_command(run, staged, output).await
}

/// In a one-off container of the configured service, unless that is left alone: then it ran when this release came.
async fn run_release_command(
    run: &mut Run,
    staged: &Staged,
    output: &mut Option<Output>,
) -> Result<(), Cause> {
    let service = Arc::clone(&run.service);
    let command = &service.release_command;
    let mut new = staged.staging.new.iter();
    let of = new.find(|new| new.replica.service == service.compose_service);
    let Some(of) = of.filter(|_| !command.is_empty()) else {
        return Ok(());
    };
    if run.deployment().request.rollback_to.is_some() {
        return Ok(());
    }
    let id = run.deployment().id.clone();
    let created = run.driver.create_one_off(&of.container, command, &id);
    let created = created.await;
    let created = created.map_err(|error| docker_cause(Step::Stage, &error))?;
    let job = Replica {
        service: RELEASE_COMMAND.to_owned(),
        ..created
    };
    run_job(run, &job, None, &staged.mask, output).await?;
    if let Err(error) = run.driver.remove_one_off(&job).await {
        let what = format!(
            "the container {} of the `release_command` could not be removed: {error}",
            job.name
        );
        run.record.warn(what).await;
    }
    Ok(())
}

/// Runs the jobs of `jobs_after`, after the commit. One that fails is a warning; so is one that was cut short by a restart
/// of cutover, unless it may run again.
pub(super) async fn run_jobs_after(run: &mut Run, model: &ReleaseModel) {
    for job in run.deployment().jobs.clone() {
        let is_after = |name: &&str| *name == job.service;
        if !model.names_of_jobs_after().iter().any(is_after) {
            continue;
        }
        let mut runs = run.deployment().jobs_run.iter();
        let began = runs.find(|run| run.service == job.service);
        match began.map(|run| run.code) {
            None => {}
            Some(None) if run.service.job_reruns == JobReruns::Safe => {}
            Some(None) => {
                let what = format!(
                    "the job `{}` was cut short when cutover was restarted; it is not run twice, as `job_reruns` has it",
                    job.service
                );
                run.record.warn(what).await;
                continue;
            }
            Some(Some(_)) => continue,
        }
        if let Err(what) = run_job_after(run, model, &job).await {
            let what = format!(
                "{what}; the release runs all the same, because this job runs after the commit"
            );
            run.record.warn(what).await;
        }
    }
}

async fn run_job_after(run: &mut Run, model: &ReleaseModel, job: &Replica) -> Result<(), String> {
    let found = run.driver.docker().container(&job.container).await;
    let Some(container) = found.map_err(|error| error.to_string())? else {
        return Err(format!(
            "somebody removed the container of the job `{}`",
            job.service
        ));
    };
    let secrets = model.secrets().cloned().chain(secret_values(&container));
    let (mask, mut output) = (Arc::new(Mask::new(secrets)), None);
    let ran = run_job(run, job, None, &mask, &mut output).await;
    ran.map_err(|cause| cause.detail)
}

/// Runs a job to its end. Compose is told that it has begun, if it waits for it; `output` is what the job writes.
async fn run_job(
    run: &mut Run,
    job: &Replica,
    told: Option<&Staging>,
    mask: &Arc<Mask>,
    output: &mut Option<Output>,
) -> Result<(), Cause> {
    let step = match run.deployment().committed {
        false => Step::Stage,
        true => Step::CleanUp,
    };
    let failed = |error| docker_cause(step, &error);
    let service = job.service.clone();
    let events = watch(&run.driver, &job.container).await.map_err(failed)?;
    let started = Event::JobStarted {
        service: service.clone(),
    };
    run.forward(step, started).await?;
    let start = Move::Start {
        container: job.container.clone(),
    };
    let id = run.deployment().id.clone();
    run.driver.make(&start, &id).await.map_err(failed)?;
    if let Some(staging) = told {
        staging.started(&job.container);
    }
    let mask = shown_with(run.service.output, mask);
    *output = mask.map(|mask| {
        let (docker, live) = (run.driver.docker(), run.record.live().clone());
        Output::follow(docker, &job.container, Some(service.clone()), mask, live)
    });
    let code = match wait_for_its_end(run, job, step, events).await {
        Ok(code) => code,
        Err(cause) => {
            let stop = Move::Stop {
                container: job.container.clone(),
                grace: Grace::Own,
            };
            // If that fails, it is tried again when the container is removed.
            if let Err(error) = run.driver.make(&stop, &id).await {
                tracing::warn!(deployment.id = %id, %error, "a job could not be stopped yet");
            }
            return Err(cause);
        }
    };
    let ended = Event::JobEnded {
        service: service.clone(),
        code,
    };
    run.forward(step, ended).await?;
    if code == 0 {
        return Ok(());
    }
    let detail = format!("the job `{service}` ended with code {code}");
    Err(Cause::new(Code::JobFailed, step, detail))
}

/// The exit code of the job's process, within its time and unless the deployment is given up.
async fn wait_for_its_end(
    run: &Run,
    job: &Replica,
    step: Step,
    events: ContainerEvents,
) -> Result<i64, Cause> {
    let bound: Duration = run.service.job_deadline;
    let ends = Instant::now() + bound;
    let code = exit_code(events, job, step);
    let given_up = async {
        match step {
            Step::Stage => run.unless_cancelled(step, code).await,
            // It is too late to cancel the deployment.
            _ => run.unless_stopped(step, code).await,
        }
    };
    match tokio::time::timeout_at(ends, given_up).await {
        Ok(ended) => ended,
        Err(_) => {
            let detail = format!(
                "the job `{}` did not end within the `job_deadline` of {}, and was stopped",
                job.service,
                format(bound)
            );
            Err(Cause::new(Code::JobFailed, step, detail))
        }
    }
}

async fn exit_code(mut events: ContainerEvents, job: &Replica, step: Step) -> Result<i64, Cause> {
    loop {
        match events.next().await.change {
            Change::Died { exit_code } => return Ok(exit_code),
            Change::Resync(now) if !now.state.running && now.state.started_at.is_some() => {
                return Ok(now.state.exit_code);
            }
            Change::Destroyed => {
                let detail = format!(
                    "somebody removed the container of the job `{}`",
                    job.service
                );
                return Err(Cause::new(Code::Interfered, step, detail));
            }
            _ => {}
        }
    }
}

/// After the commit: the last run of each job has its name and its restart policy.
pub(super) async fn settle_jobs(run: &mut Run) {
    let id = run.deployment().id.clone();
    for job in run.deployment().jobs.clone() {
        let container = job.container.clone();
        let moves = [
            Move::GivePolicy {
                container: container.clone(),
                policy: job.restart_policy.clone(),
            },
            Move::Rename {
                container,
                name: job.name.clone(),
            },
        ];
        for wanted in moves {
            if let Err(error) = run.driver.make(&wanted, &id).await {
                let what = format!(
                    "the container of the job `{}` does not have its name yet: {error}",
                    job.service
                );
                run.record.warn(what).await;
                break;
            }
        }
    }
}
