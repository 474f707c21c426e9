//! Staging: Compose creates the new container behind the staging socket and is held at the start.

use std::collections::BTreeMap;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{PinnedImage, Previous, Staged};

use super::command::Project;
use super::staging::rewrite::Mark;
use super::staging::view::{OldContainer, View};
use super::staging::{Arrival, HeldStart, StagingSocket};
use super::{ComposeDriver, Target, docker_cause};
use crate::docker::Container;
use crate::program::{ProgramError, Running};

/// How long Compose may take after the new container was started: its `post_start` hooks run then.
const HOOKS_TIMEOUT: Duration = Duration::from_secs(600);

/// What creates the container of one service and touches no other.
const UP: &[&str] = &[
    "up",
    "--detach",
    "--no-deps",
    "--no-build",
    "--pull",
    "never",
    // Also where `.env` sets `COMPOSE_REMOVE_ORPHANS`.
    "--remove-orphans=false",
];

/// The new container, created and not started, with Compose waiting for the start. Dropping it ends
/// Compose; the container stays until it is removed.
#[derive(Debug)]
pub struct Staging {
    /// The new container.
    pub container: Container,
    /// What the journal remembers of it.
    pub staged: Staged,
    held: Option<HeldStart>,
    compose: Running,
    // Compose talks through it until it has ended.
    _socket: StagingSocket,
}

impl ComposeDriver {
    /// Lets Compose create the new container, up to the call that would start it. It does not get to see the
    /// `parked` ones.
    ///
    /// # Errors
    /// [`Code::StageFailed`] with Compose's own words, or [`Code::OutsideChange`]. A container may have
    /// been created all the same: see [`Self::discard`].
    pub async fn stage(
        &self,
        target: Target<'_>,
        image: &PinnedImage,
        previous: Option<&Previous>,
        parked: &[Container],
    ) -> Result<Staging, Cause> {
        let old = previous.map(|old| OldContainer {
            id: old.container.clone(),
            name: old.name.clone(),
        });
        let view = View::new(old, parked.iter().map(|one| one.id.clone()).collect());
        let (mut socket, mut compose) = self.up(target, view, &["--force-recreate"])?;
        let mut refused = None;
        let held = loop {
            tokio::select! {
                // What Compose was refused matters more than that it ended because of it.
                biased;
                arrival = socket.arrival() => match arrival {
                    Some(Arrival::Start(held)) => break held,
                    Some(Arrival::Refused { what }) => { refused.get_or_insert(what); }
                    None => return Err(stage_failed("the staging socket was closed")),
                },
                () = compose.wait() => {
                    let ended = compose.output(HOOKS_TIMEOUT).await;
                    return Err(not_staged(refused, ended));
                }
            }
        };
        self.staging(held, compose, socket, image).await
    }

    /// Starts Compose's `up` of the service, with these `options` more, behind a socket of which it gets to
    /// see this `view`.
    pub(super) fn up(
        &self,
        target: Target<'_>,
        view: View,
        options: &[&str],
    ) -> Result<(StagingSocket, Running), Cause> {
        let model = target.model;
        let mark = Mark {
            deployment: target.deployment.to_string(),
            service: target.service.name.to_string(),
            project: model.project.clone(),
            compose_service: model.compose_service.clone(),
        };
        let path = self
            .staging_directory
            .join(format!("{}.sock", target.deployment.short()));
        let socket =
            StagingSocket::open(&path, self.docker.socket(), mark, view).map_err(|error| {
                stage_failed(format!("the staging socket could not be opened: {error}"))
            })?;
        let project = Project {
            service: target.service,
            variables: BTreeMap::from([(model.tag_variable.clone(), target.tag.to_string())]),
        };
        let arguments = [UP, options, &[&model.compose_service]].concat();
        let compose = self
            .compose
            .start(&project, socket.path(), &arguments)
            .map_err(|error| stage_failed(error.to_string()))?;
        Ok((socket, compose))
    }

    async fn staging(
        &self,
        held: HeldStart,
        compose: Running,
        socket: StagingSocket,
        image: &PinnedImage,
    ) -> Result<Staging, Cause> {
        let container = self
            .docker
            .container(&held.container)
            .await
            .map_err(|error| docker_cause(Step::Stage, &error))?
            .ok_or_else(|| stage_failed("the new container disappeared before it was started"))?;
        if container.image_id != image.id {
            return Err(stage_failed(format!(
                "Compose created the container from image {} and not from {}, which was pulled",
                container.image_id, image.id
            )));
        }
        let staged = Staged {
            container: container.id.clone(),
            name: held.name.clone(),
            restart_policy: held.restart_policy.clone(),
        };
        Ok(Staging {
            container,
            staged,
            held: Some(held),
            compose,
            _socket: socket,
        })
    }
}

impl Staging {
    /// Tells Compose that the container runs: it goes on with the service's `post_start` hooks, which may
    /// be what makes the container healthy.
    pub fn started(&mut self) {
        if let Some(held) = self.held.take() {
            held.started();
        }
    }

    /// Waits for Compose to end, hooks included.
    ///
    /// # Errors
    /// [`Code::SwitchFailed`] when Compose fails, for example in a `post_start` hook.
    pub async fn finish(mut self) -> Result<(), Cause> {
        self.started();
        let Self {
            compose, _socket, ..
        } = self;
        let ended = compose.output(HOOKS_TIMEOUT).await;
        ended
            .map(drop)
            .map_err(|error| Cause::new(Code::SwitchFailed, Step::Verify, error.to_string()))
    }

    /// Ends Compose; if it still waits, it is told that the container is not to be started.
    pub async fn abandon(self) {
        let Self {
            held,
            mut compose,
            _socket,
            ..
        } = self;
        drop(held);
        compose.stop().await;
    }
}

fn stage_failed(detail: impl Into<String>) -> Cause {
    Cause::new(Code::StageFailed, Step::Stage, detail)
}

fn not_staged(refused: Option<String>, ended: Result<String, ProgramError>) -> Cause {
    if let Some(what) = refused {
        let detail = format!(
            "to deploy this service, Compose wanted to change something outside it and was refused: {what}"
        );
        return Cause::new(Code::OutsideChange, Step::Stage, detail);
    }
    match ended {
        Ok(_) => stage_failed("Compose ended without creating a container"),
        Err(error) => stage_failed(error.to_string()),
    }
}
