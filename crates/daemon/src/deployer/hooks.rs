//! The hooks of a service where cutover, and not Compose, stops or starts its container: `pre_stop` before one that served
//! is stopped, `post_start` when one was started again.
//!
//! A hook changes nothing that the way back or the way on looks at, so none is recorded. One that a crash of cutover cut off
//! goes on in its container, and may be run a second time. A container that failed, or goes with a release that did, gets no
//! `pre_stop`: the service is down meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::duration::format;
use cutover_core::mask::Mask;
use cutover_core::switch::{Goal, Move};
use futures_util::future::join_all;
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

use super::context::Run;
use super::ended::Trial;
use super::journey::Journey;
use super::observe::secret_values;
use super::output::{Output, shown_with};
use super::words::Live;
use crate::docker::exec::Command;
use crate::docker::{Container, Docker, DockerError};
use crate::driver::project::{Hooks, ReleaseModel};
use crate::driver::{Found, Look};
use crate::probe::verify::Checks;
use crate::settings;

/// Between two looks whether a hook has ended that prints nothing more.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A hook that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why, with nothing secret in it.
    pub(super) what: String,
    /// The end of what it printed.
    pub(super) log: Vec<String>,
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    PreStop,
    PostStart,
}

/// Runs the `pre_stop` hooks of these containers, those of several at once. Returns those that failed.
pub(super) async fn pre_stop(
    run: &Run,
    model: &ReleaseModel,
    stopping: impl Iterator<Item = &Found>,
) -> Vec<Failed> {
    let all = stopping.filter_map(|found| {
        let running = found.container.as_ref().filter(|one| one.state.running)?;
        let service = &found.replica.service;
        let hooks = model.service(service)?.hooks.clone();
        let hooked = Hooked::new(run, model, service, running, hooks);
        Some(async move { hooked.run(When::PreStop).await.err() })
    });
    join_all(all).await.into_iter().flatten().collect()
}

/// The same in the trial, before these containers are `stopped`. One that fails ends it: what it ran in serves on.
pub(super) async fn before_switch(
    run: &Run,
    trial: &mut Trial,
    look: &Look,
    stopped: &BTreeSet<String>,
) -> Result<(), Cause> {
    let stopping = look.old.iter();
    let stopping = stopping.filter(|old| stopped.contains(&old.replica.container));
    let failed = pre_stop(run, &trial.model, stopping).await;
    let Some(failed) = failed.into_iter().next() else {
        return Ok(());
    };
    trial.hook_log = failed.log;
    let detail = format!("{}; the container was not stopped", failed.what);
    Err(Cause::new(Code::SwitchFailed, Step::Switch, detail))
}

/// The same on the way on, before these moves: a hook that fails is a warning, and none is run twice.
pub(super) async fn before_stops(
    run: &mut Run,
    journey: &mut Journey,
    look: &Look,
    moves: &[Move],
) {
    let is_stopped = |id: &str| {
        let is_stop =
            |wanted: &Move| matches!(wanted, Move::Stop { container, .. } if container == id);
        moves.iter().any(is_stop)
    };
    let stopping = look.old.iter().filter(|old| {
        let id = &old.replica.container;
        journey.goal == Goal::New && is_stopped(id) && journey.begins_pre_stop(id)
    });
    let stopping: Vec<&Found> = stopping.collect();
    let Some(model) = journey.model.as_ref().filter(|_| !stopping.is_empty()) else {
        return;
    };
    for failed in pre_stop(run, model, stopping.into_iter()).await {
        let what = format!(
            "{}; the container was stopped all the same, because the new release is committed",
            failed.what
        );
        run.record.warn(what).await;
    }
}

/// Runs the `post_start` hooks of a container that was started again, beside what comes next.
pub(super) fn begin_post_start(run: &Run, journey: &mut Journey, found: &Found) {
    let Some(container) = found.container.clone() else {
        return;
    };
    if run.service.compose_files.is_empty() {
        // It is not configured any more.
        return;
    }
    let (service, known) = (found.replica.service.clone(), journey.model.clone());
    let (driver, settings) = (run.driver.clone(), Arc::clone(&run.service));
    let tag = run.deployment().request.tag.clone();
    let place = Place::of(run);
    let hooks = tokio::spawn(async move {
        let model = match known {
            Some(model) => Ok(model),
            // After a restart of the daemon.
            None => driver.read(&settings, &tag).await,
        };
        let model = match model {
            Ok(model) => model,
            Err(cause) => {
                let why = cause.detail;
                let what =
                    format!("the `post_start` hooks of service `{service}` were not run: {why}");
                let log = Vec::new();
                return Some(Failed { what, log });
            }
        };
        let hooks = model.service(&service)?.hooks.clone();
        let hooked = Hooked::in_place(place, &model, &service, &container, hooks);
        hooked.run(When::PostStart).await.err()
    });
    journey.begins_post_start(&found.replica.container, hooks);
}

/// Waits for the end of these hooks. One that failed is a warning: whether the container may stay is for its checks to say.
pub(super) async fn end_post_start(run: &mut Run, journey: &mut Journey, found: &Found) {
    let Some(hooks) = journey.ends_post_start(&found.replica.container) else {
        return;
    };
    match hooks.await {
        Ok(None) => {}
        Ok(Some(failed)) => run.record.warn(failed.what).await,
        Err(error) => tracing::error!(%error, "the hooks of a container ended"),
    }
}

/// Restarts `container`, with its hooks around that. One that fails is a warning, and keeps nothing from its restart.
pub(super) async fn restart(
    run: &mut Run,
    model: &ReleaseModel,
    service: &str,
    hooks: &Hooks,
    container: &Container,
) -> Result<(), DockerError> {
    let hooked = Hooked::new(run, model, service, container, hooks.clone());
    let before = hooked.run(When::PreStop).await.err();
    run.driver.docker().ensure_restarted(container).await?;
    let after = hooked.run(When::PostStart).await.err();
    for failed in before.into_iter().chain(after) {
        run.record.warn(failed.what).await;
    }
    Ok(())
}

/// Where hooks are run, and where what they print is shown.
struct Place {
    docker: Docker,
    settings: Arc<settings::Service>,
    live: broadcast::Sender<Live>,
}

impl Place {
    fn of(run: &Run) -> Self {
        Self {
            docker: run.driver.docker().clone(),
            settings: Arc::clone(&run.service),
            live: run.record.live().clone(),
        }
    }
}

/// A container and its hooks.
struct Hooked {
    place: Place,
    service: String,
    container: String,
    hooks: Hooks,
    /// How long it may take to be healthy.
    deadline: Duration,
    mask: Arc<Mask>,
}

impl Hooked {
    fn new(
        run: &Run,
        model: &ReleaseModel,
        service: &str,
        container: &Container,
        hooks: Hooks,
    ) -> Self {
        Self::in_place(Place::of(run), model, service, container, hooks)
    }

    fn in_place(
        place: Place,
        model: &ReleaseModel,
        service: &str,
        container: &Container,
        hooks: Hooks,
    ) -> Self {
        let secrets = model.secrets().cloned().chain(secret_values(container));
        Self {
            service: service.to_owned(),
            container: container.id.clone(),
            hooks,
            deadline: Checks::new(&place.settings, None, container).deadline(),
            mask: Arc::new(Mask::new(secrets)),
            place,
        }
    }

    /// Runs its hooks one after another, until one fails.
    async fn run(&self, when: When) -> Result<(), Failed> {
        let (key, commands, setting, bound) = match when {
            When::PreStop => (
                "pre_stop",
                &self.hooks.pre_stop,
                "stop_grace_period",
                self.hooks.stop_grace,
            ),
            When::PostStart => (
                "post_start",
                &self.hooks.post_start,
                "healthy_deadline",
                self.deadline,
            ),
        };
        let (mut program, mut output) = ("", None);
        let all = async {
            for command in commands {
                program = command.program();
                match self.run_one(key, command, &mut output).await {
                    Ok(0) => {}
                    Ok(code) => return Err(format!("ended with code {code}")),
                    // It does not run, so there is nothing to prepare.
                    Err(DockerError::Conflict { .. }) => return Ok(()),
                    Err(error) if error.is_not_found() => return Ok(()),
                    Err(error) => return Err(format!("could not be run: {error}")),
                }
            }
            Ok(())
        };
        let why = match timeout(bound, all).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_) => format!("did not end within the `{setting}` of {}", format(bound)),
        };
        let what = format!(
            "the `{key}` hook `{program}` of service `{}` {why}",
            self.service
        );
        Err(Failed {
            what: self.mask.apply(&what),
            log: output.as_ref().map_or_else(Vec::new, Output::so_far),
        })
    }

    /// Runs one command to its end; its exit code.
    async fn run_one(
        &self,
        key: &str,
        command: &Command,
        output: &mut Option<Output>,
    ) -> Result<i64, DockerError> {
        let Place {
            docker,
            settings,
            live,
        } = &self.place;
        let (exec, lines) = docker.run_command(&self.container, command).await?;
        let of = Some(format!("{} {key}", self.service));
        let mask = shown_with(settings.output, &self.mask);
        let output = output.insert(Output::read(lines, of, mask, live.clone()));
        output.end().await;
        loop {
            if let Some(code) = docker.exit_code(&exec).await? {
                return Ok(code);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
