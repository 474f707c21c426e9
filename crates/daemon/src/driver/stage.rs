//! Staging: Compose creates the new container behind the staging socket and is held at the start.

use std::collections::BTreeMap;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Condition, PinnedImage, Replica};

use cutover_core::duration::format;

use super::command::Project;
use super::present::as_replica;
use super::staging::rewrite::{Mark, Purpose};
use super::staging::view::{OldContainer, View};
use super::staging::{Arrival, HeldStart, StagingSocket};
use super::{ComposeDriver, Target, docker_cause};
use crate::docker::Container;
use crate::program::{ProgramError, Running};

/// How long Compose may take to end when it has nothing left to do.
const END_TIMEOUT: Duration = Duration::from_secs(10);

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
    pub replica: Replica,
    held: Option<HeldStart>,
    compose: Running,
    // Compose talks through it until it has ended.
    _socket: StagingSocket,
}

impl ComposeDriver {
    /// Lets Compose create the new container, up to the call that would start it, in the place of `old`. It does
    /// not get to see the `hidden` ones.
    ///
    /// # Errors
    /// [`Code::StageFailed`] with Compose's own words, or [`Code::OutsideChange`]. A container may have
    /// been created all the same: see [`Self::discard`].
    pub async fn stage(
        &self,
        target: Target<'_>,
        image: &PinnedImage,
        old: &[Replica],
        hidden: &[Container],
    ) -> Result<Staging, Cause> {
        // More than one is refused before.
        let old = old.first().map(|old| OldContainer {
            id: old.container.clone(),
            name: old.name.clone(),
        });
        let view = View::new(old, hidden.iter().map(|one| one.id.clone()).collect());
        let up = self.up(target, view, &["--force-recreate"], Purpose::NewRelease)?;
        self.until_start(up, image).await
    }

    /// Lets Compose create the container of `image`, which ran before in the container with the id `replaces`, as
    /// the project defines it now. It does not
    /// get to see the `hidden` ones, which are all that the service has. The container is not started.
    ///
    /// # Errors
    /// As [`Self::stage`].
    pub async fn recreate_from_image(
        &self,
        target: Target<'_>,
        image: &PinnedImage,
        replaces: &str,
        hidden: &[Container],
    ) -> Result<Replica, Cause> {
        let view = View::new(None, hidden.iter().map(|one| one.id.clone()).collect());
        let purpose = Purpose::Recreation {
            replaces: replaces.to_owned(),
        };
        let up = self.up(target, view, &["--force-recreate"], purpose)?;
        let staging = self.until_start(up, image).await?;
        let replica = staging.replica.clone();
        staging.abandon().await;
        Ok(replica)
    }

    /// Waits until Compose asks for the start.
    async fn until_start(
        &self,
        (mut socket, mut compose): (StagingSocket, Running),
        image: &PinnedImage,
    ) -> Result<Staging, Cause> {
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
                    let ended = compose.output(END_TIMEOUT).await;
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
        purpose: Purpose,
    ) -> Result<(StagingSocket, Running), Cause> {
        let model = target.model;
        let mark = Mark {
            deployment: target.deployment.clone(),
            purpose,
            service: target.service.name.to_string(),
            project: model.project.clone(),
            compose_service: model.compose_service.clone(),
            contents: model.contents.clone(),
            volumes: model.volumes.clone(),
        };
        let path = self
            .staging_directory
            .join(format!("{}.sock", target.deployment.short()));
        let socket =
            StagingSocket::open(&path, self.docker.socket(), mark, view).map_err(|error| {
                stage_failed(format!("the staging socket could not be opened: {error}"))
            })?;
        let variables = BTreeMap::from([(model.tag_variable.clone(), target.tag.to_string())]);
        let project = Project::new(target.service, variables);
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
        let replica = Replica {
            name: held.name.clone(),
            restart_policy: held.restart_policy.clone(),
            condition: Condition::Stopped,
            ..as_replica(&container)
        };
        Ok(Staging {
            container,
            replica,
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

    /// Waits for Compose to end, the service's `post_start` hooks included, at most for `bound`: what is left of
    /// the trial, which lasts `deadline` in all.
    ///
    /// # Errors
    /// [`Code::SwitchFailed`] when Compose fails, for example in a hook, or does not end in time.
    pub async fn finish(mut self, bound: Duration, deadline: Duration) -> Result<(), Cause> {
        self.started();
        let Self {
            compose, _socket, ..
        } = self;
        // Where there are no hooks, Compose has nothing left to do and ends within milliseconds.
        let ended = compose.output(bound.max(END_TIMEOUT)).await;
        let detail = match ended {
            Ok(_) => return Ok(()),
            Err(ProgramError::TimedOut { .. }) => format!(
                "a `post_start` hook did not end within the `healthy_deadline` of {}",
                format(deadline)
            ),
            Err(error) => error.to_string(),
        };
        Err(Cause::new(Code::SwitchFailed, Step::Verify, detail))
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
