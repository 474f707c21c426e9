//! The jobs of a release: a migration that must have ended well before anything is stopped.
//!
//! Compose has created their containers with the others and asks for their start first. What a job does is not undone,
//! so each start is recorded, and every answer says that it ran.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, Replica};
use cutover_core::duration::format;
use cutover_core::switch::{Grace, Move};
use tokio::time::Instant;

use super::bring_in::Staged;
use super::context::Run;
use super::ended::Ended;
use super::observe::watch;
use super::output::Output;
use crate::docker::ContainerEvents;
use crate::docker::events::Change;
use crate::driver::docker_cause;
use crate::settings;

/// Runs the jobs, one after another, each to its end.
pub(super) async fn run_jobs(run: &mut Run, staged: Staged) -> Result<Staged, Ended> {
    let jobs: Vec<Replica> = staged
        .staging
        .jobs
        .iter()
        .map(|job| job.replica.clone())
        .collect();
    for job in jobs {
        let mut output = None;
        if let Err(cause) = run_job(run, &staged, &job, &mut output).await {
            let log = match &mut output {
                Some(output) => output.last_words().await,
                None => Vec::new(),
            };
            return Err(Ended::NothingChanged {
                cause,
                staging: Some(staged.staging),
                log,
            });
        }
    }
    Ok(staged)
}

async fn run_job(
    run: &mut Run,
    staged: &Staged,
    job: &Replica,
    output: &mut Option<Output>,
) -> Result<(), Cause> {
    let failed = |error| docker_cause(Step::Stage, &error);
    let service = job.service.clone();
    let events = watch(&run.driver, &job.container).await.map_err(failed)?;
    let started = Event::JobStarted {
        service: service.clone(),
    };
    run.forward(Step::Stage, started).await?;
    let start = Move::Start {
        container: job.container.clone(),
    };
    let id = run.deployment().id.clone();
    run.driver.make(&start, &id).await.map_err(failed)?;
    staged.staging.started(&job.container);
    let mask = match run.service.output {
        settings::Output::Masked => Some(Arc::clone(&staged.mask)),
        settings::Output::Full => Some(Arc::default()),
        settings::Output::None => None,
    };
    *output = mask.map(|mask| {
        let (docker, live) = (run.driver.docker(), run.record.live().clone());
        Output::follow(docker, &job.container, Some(service.clone()), mask, live)
    });
    let ended = wait_for_its_end(run, job, events).await;
    let code = match ended {
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
    run.forward(Step::Stage, ended).await?;
    if code == 0 {
        return Ok(());
    }
    let detail = format!("the job `{service}` ended with code {code}");
    Err(Cause::new(Code::JobFailed, Step::Stage, detail))
}

/// The exit code of the job's process, within its time and unless the deployment is given up.
async fn wait_for_its_end(run: &Run, job: &Replica, events: ContainerEvents) -> Result<i64, Cause> {
    let bound: Duration = run.service.job_deadline;
    let ends = Instant::now() + bound;
    let given_up = run.unless_cancelled(Step::Stage, exit_code(events, job));
    match tokio::time::timeout_at(ends, given_up).await {
        Ok(ended) => ended,
        Err(_) => {
            let detail = format!(
                "the job `{}` did not end within the `job_deadline` of {}, and was stopped",
                job.service,
                format(bound)
            );
            Err(Cause::new(Code::JobFailed, Step::Stage, detail))
        }
    }
}

async fn exit_code(mut events: ContainerEvents, job: &Replica) -> Result<i64, Cause> {
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
                return Err(Cause::new(Code::Interfered, Step::Stage, detail));
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
