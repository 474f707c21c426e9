//! Looking at what a deployment is about, and the effects on it.
//!
//! What comes next is decided in `cutover_core::switch`. Every move is an ensure: doing it twice, or finding it
//! done, is doing it once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cutover_core::deployment::{Deployment, Replica, RestartPolicy};
use cutover_core::names::DeploymentId;
use cutover_core::switch::{Grace, Move};
use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::ComposeDriver;
use crate::docker::{AnonymousVolumes, Container, DockerError};
use crate::labels;

/// What a container that failed may take to end: the service is down meanwhile.
pub(super) const SHORT_GRACE: Duration = Duration::from_secs(2);

/// What there is of everything that a deployment is about.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The old replicas.
    pub old: Vec<Found>,
    /// The new ones, and everything else that the deployment created.
    pub new: Vec<Found>,
    /// The containers of jobs that the deployment created.
    pub jobs: Vec<Found>,
    /// Other containers of the same services that run.
    pub strangers: Vec<Container>,
}

/// A replica, and the container if it is there.
#[derive(Debug, Clone)]
pub struct Found {
    /// As it is recorded.
    pub replica: Replica,
    /// As Docker has it.
    pub container: Option<Container>,
}

impl ComposeDriver {
    /// Looks at the containers of `deployment` and of its services.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn look(&self, deployment: &Deployment) -> Result<Look, DockerError> {
        let old = deployment.old.clone();
        let mut known: BTreeSet<String> = old.iter().map(|one| one.container.clone()).collect();
        let new = deployment.new.iter().chain(&deployment.given_up);
        let new = new.filter(|replica| known.insert(replica.container.clone()));
        let new: Vec<Replica> = new.cloned().collect();
        // What it created and had no time to record.
        let id = deployment.id.as_str();
        let created = self.docker.containers_labeled(labels::DEPLOYMENT, Some(id));
        let recreated = self
            .docker
            .containers_labeled(labels::RECREATED_BY, Some(id));
        // A look follows each move, so all of it is asked at once.
        let each = |of: Vec<Replica>| try_join_all(of.into_iter().map(|one| self.found(one)));
        let (old, new, created, recreated) =
            tokio::try_join!(each(old), each(new), created, recreated)?;
        let mut look = Look {
            old,
            new,
            ..Look::default()
        };
        for container in [created, recreated].concat() {
            let is_job = container.labels.contains_key(labels::JOB);
            if known.insert(container.id.clone()) {
                let to = match is_job {
                    true => &mut look.jobs,
                    false => &mut look.new,
                };
                to.push(Found {
                    replica: super::present::as_replica(&container),
                    container: Some(container),
                });
            }
        }
        look.strangers = self.strangers(deployment, &look, &known).await?;
        Ok(look)
    }

    async fn found(&self, replica: Replica) -> Result<Found, DockerError> {
        let container = self.docker.container(&replica.container).await?;
        Ok(Found { replica, container })
    }

    /// The containers that run beside what the deployment knows, in the same services.
    async fn strangers(
        &self,
        deployment: &Deployment,
        look: &Look,
        known: &BTreeSet<String>,
    ) -> Result<Vec<Container>, DockerError> {
        let services: Vec<_> = services(deployment, look).into_iter().collect();
        let present = services
            .iter()
            .map(|(project, service)| self.present(project, service));
        let all = try_join_all(present).await?.into_iter();
        let mut all: Vec<Container> = all.flat_map(super::Present::all).collect();
        all.retain(|found| found.state.running && !known.contains(&found.id));
        Ok(all)
    }

    /// Makes a move of `deployment` that is an effect on one container.
    ///
    /// # Errors
    /// Docker's own words. Whether something took effect nevertheless is for the next look to see.
    pub async fn make(&self, wanted: &Move, deployment: &DeploymentId) -> Result<(), DockerError> {
        let docker = &self.docker;
        match wanted {
            Move::KeepAtBoot { container } => {
                let always = policy("always");
                docker.ensure_restart_policy(container, &always).await
            }
            Move::StayDown { container } => self.stays_down(container).await,
            Move::GivePolicy { container, policy } => {
                docker.ensure_restart_policy(container, policy).await
            }
            Move::Rename { container, name } => docker.ensure_name(container, name).await,
            Move::Stop { container, grace } => {
                let grace = match grace {
                    Grace::Own => None,
                    Grace::Short => Some(SHORT_GRACE),
                    Grace::None => Some(Duration::ZERO),
                };
                docker.ensure_stopped(container, grace).await
            }
            Move::Start { container } => docker.ensure_started(container).await,
            Move::Announce { container, aliases } => self.announce(container, aliases).await,
            Move::Remove { container, beside } => {
                let volumes = self.fate_of_volumes(container, deployment).await?;
                let removed = docker.ensure_removed_beside(container, beside, volumes);
                removed.await
            }
            Move::Hold
            | Move::Drain { .. }
            | Move::Release
            | Move::Pause { .. }
            | Move::Prove { .. }
            | Move::Recreate { .. } => {
                let what = "the move is not an effect on one container";
                Err(DockerError::unsupported(what))
            }
        }
    }

    /// One that was created with the names of the service keeps its address.
    async fn announce(
        &self,
        container: &str,
        aliases: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), DockerError> {
        let found = self.docker.container(container).await?;
        match found {
            Some(found) if !found.labels.contains_key(labels::UNANNOUNCED) => Ok(()),
            _ => self.docker.ensure_aliases(container, aliases).await,
        }
    }

    /// The anonymous volumes of what the deployment created go with it, unless another container uses them; those
    /// of a previous container were taken over.
    async fn fate_of_volumes(
        &self,
        container: &str,
        deployment: &DeploymentId,
    ) -> Result<AnonymousVolumes, DockerError> {
        let found = self.docker.container(container).await?;
        let created_by = found.as_ref().and_then(|found| {
            let label = found.labels.get(labels::DEPLOYMENT);
            label.map(String::as_str)
        });
        Ok(if created_by == Some(deployment.as_str()) {
            AnonymousVolumes::Remove
        } else {
            AnonymousVolumes::Keep
        })
    }

    /// Takes back that Docker starts this container at boot.
    ///
    /// # Errors
    /// Docker's own words; a container that is gone is none.
    pub async fn stays_down(&self, container: &str) -> Result<(), DockerError> {
        let no = policy("no");
        match self.docker.ensure_restart_policy(container, &no).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// From the end of one container to the start of another, or of itself, by Docker's own clock, in milliseconds;
/// 0 where one of them is not known.
#[must_use]
pub fn millis_between(from: Option<Timestamp>, to: Option<Timestamp>) -> u64 {
    from.zip(to).map_or(0, |(from, to)| {
        u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
    })
}

fn policy(name: &str) -> RestartPolicy {
    RestartPolicy {
        name: name.to_owned(),
        retries_max: 0,
    }
}

/// The services that a deployment is about, as project and service. Records of 0.1.0 do not say it; then the
/// containers do that are still there.
fn services(deployment: &Deployment, look: &Look) -> BTreeSet<(String, String)> {
    let recorded = deployment.old.iter().chain(&deployment.new);
    let recorded = recorded.map(|replica| (replica.project.clone(), replica.service.clone()));
    let found = look.old.iter().chain(&look.new).filter_map(|found| {
        let label = |name: &str| found.container.as_ref()?.labels.get(name).cloned();
        label(labels::PROJECT).zip(label(labels::SERVICE))
    });
    recorded
        .chain(found)
        .filter(|(project, service)| !project.is_empty() && !service.is_empty())
        .collect()
}
