//! What goes on behind an answer: nothing is given up for as long as the daemon lives.
//!
//! A release that should run and does not, or a container that should be gone and is not, is tried on until it
//! succeeds, until the next deployment of the service begins, or until an operator says that it shall be left.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use cutover_core::deployment::{Deployment, Status};
use cutover_core::names::ServiceName;
use cutover_core::switch::Goal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Deployer;
use super::context::Run;
use super::journey::{Doubt, Journey};
use super::kept::{forget_all_but, forget_if_over};
use super::observe::what_runs;
use super::reach::{Budget, Reached, Rounds, nothing_runs, reach};
use super::rest::Rest;
use super::roll_back::end_rolled_back;
use crate::journal::JournalError;

/// Between two attempts to remove a container that was staged.
const DISCARD_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause between two of them.
const DISCARD_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How far back a deployment is looked for whose rollback failed.
const DEPLOYMENTS_MAX: u32 = 100;

/// Something that is being tried behind an answer.
#[derive(Debug)]
pub(super) struct Trying {
    called_off: CancellationToken,
    task: JoinHandle<()>,
}

impl Deployer {
    /// Goes on trying what `rest` says, behind the answer. The service's turn is free meanwhile.
    pub(super) fn keep_trying(&self, run: Run, rest: Rest) {
        let service = run.deployment().request.service.clone();
        let called_off = self.inner.stopping.child_token();
        let task = {
            let (deployer, called_off) = (self.clone(), called_off.clone());
            tokio::spawn(async move { deployer.try_on(run, rest, called_off).await })
        };
        self.trying().insert(service, Trying { called_off, task });
    }

    /// Calls off what is being tried for `service`, and waits until nothing of it is under way.
    pub(super) async fn stop_trying(&self, service: &ServiceName) {
        let trying = self.trying().remove(service);
        let Some(trying) = trying else { return };
        trying.called_off.cancel();
        if let Err(error) = trying.task.await {
            tracing::error!(%error, service.name = %service, "what was tried behind an answer ended badly");
        }
    }

    fn trying(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<ServiceName, Trying>> {
        self.inner
            .trying
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_on(&self, mut run: Run, rest: Rest, called_off: CancellationToken) {
        match rest {
            Rest::Way(journey) => self.try_way(&mut run, *journey, called_off).await,
            Rest::Discard => discard(&run, called_off).await,
        }
        self.record_all(&mut run).await;
        forget_if_over(&run).await;
    }

    async fn try_way(&self, run: &mut Run, mut journey: Journey, called_off: CancellationToken) {
        let budget = Budget {
            rounds: Rounds::Endless,
            called_off,
        };
        let id = run.deployment().id.clone();
        match reach(run, &mut journey, &budget).await {
            Reached::Goal => {
                tracing::warn!(deployment.id = %id, goal = %journey.goal, "reached after the answer");
                let was_committed = run.deployment().committed;
                if journey.goal == Goal::Old && !was_committed {
                    end_rolled_back(run, &journey, "").await;
                } else if run.deployment().status() == Status::RollbackFailed {
                    let runs = what_runs(run).await;
                    run.record.warn(format!("what runs now: {runs}")).await;
                }
            }
            Reached::Rests(cause) | Reached::NotYet(cause) => {
                tracing::warn!(deployment.id = %id, cause = cause.detail, "left as it is: something runs");
            }
            Reached::CalledOff => {}
        }
    }

    /// At the start, before new work is taken: how to create containers again is forgotten where nothing may need it
    /// any more.
    pub(super) async fn forget_what_is_over(&self) -> Result<(), JournalError> {
        let unfinished = self.journal().unfinished().await?;
        let mut needed: Vec<_> = unfinished.into_iter().map(|one| one.id).collect();
        for service in self.journal().needing_operator().await? {
            let last = self.last_that_switched(&service).await?;
            needed.extend(last.map(|last| last.id));
        }
        forget_all_but(&self.inner.kept, needed).await;
        Ok(())
    }

    /// At the start: where a rollback failed and nobody has said that it shall be left, something shall run.
    pub(super) async fn resume_trying(&self) {
        let services = match self.journal().needing_operator().await {
            Ok(services) => services,
            Err(error) => {
                tracing::error!(%error, "which services need an operator is not known");
                return;
            }
        };
        for service in services {
            let Ok(Some(deployment)) = self.last_that_switched(&service).await else {
                continue;
            };
            if deployment.status() != Status::RollbackFailed {
                continue;
            }
            let configured = self.configured_or_bare(&service);
            let run = self.run_of(deployment, configured);
            self.underway().remove(&run.deployment().id);
            let deployer = self.clone();
            let called_off = self.inner.stopping.child_token();
            let task = {
                let called_off = called_off.clone();
                tokio::spawn(async move { deployer.try_again(run, called_off).await })
            };
            self.trying().insert(service, Trying { called_off, task });
        }
    }

    async fn last_that_switched(
        &self,
        service: &ServiceName,
    ) -> Result<Option<Deployment>, JournalError> {
        let page = self.journal().page(Some(service), None, DEPLOYMENTS_MAX);
        let mut page = page.await?.into_iter();
        Ok(page.find(|deployment| deployment.switch_started))
    }

    /// The newest deployment whose rollback failed, and has not succeeded since.
    pub(super) async fn last_that_was_not_rolled_back(
        &self,
        service: &ServiceName,
    ) -> Result<Option<Deployment>, JournalError> {
        let page = self.journal().page(Some(service), None, DEPLOYMENTS_MAX);
        let mut page = page.await?.into_iter();
        Ok(page.find(|deployment| deployment.status() == Status::RollbackFailed))
    }

    /// Unless a previous container runs, and goes on running: it may have been told to stop by a call of the daemon
    /// that died. A new one is left alone for as long as it runs.
    async fn try_again(&self, mut run: Run, called_off: CancellationToken) {
        let new = run.deployment().new.iter();
        let stand_ins: BTreeSet<String> = new
            .filter(|_| !run.deployment().committed)
            .map(|new| new.container.clone())
            .collect();
        let looked = async {
            let before = what_runs(&run).await;
            tokio::time::sleep(longest_grace(&run).await).await;
            let after = what_runs(&run).await;
            let runs: BTreeSet<&String> = before.ids.intersection(&after.ids).collect();
            if runs.is_empty() || !runs.iter().all(|id| stand_ins.contains(*id)) {
                return !runs.is_empty();
            }
            nothing_runs(&run).await;
            false
        };
        let is_in_order = tokio::select! {
            is_in_order = looked => is_in_order,
            () = called_off.cancelled() => return,
        };
        if is_in_order {
            return;
        }
        let goal = if run.deployment().ran_before() || !run.deployment().committed {
            Goal::Old
        } else {
            Goal::New
        };
        let journey = Journey::new(goal, Doubt::Stopping, None);
        self.try_way(&mut run, journey, called_off).await;
        self.record_all(&mut run).await;
        forget_if_over(&run).await;
    }
}

/// The longest time that a container of the service may take to stop.
async fn longest_grace(run: &Run) -> Duration {
    let look = run.driver.look(run.deployment()).await.unwrap_or_default();
    let all = look.old.into_iter().chain(look.new);
    let graces = all.filter_map(|found| Some(super::journey::end_of_stop(&found.container?)));
    graces.max().unwrap_or_default()
}

/// Removes what was created before the switch, as soon as Docker lets it.
async fn discard(run: &Run, called_off: CancellationToken) {
    let id = run.deployment().id.clone();
    let mut pause = DISCARD_PAUSE_MIN;
    while let Err(cause) = run.driver.discard(&id).await {
        tracing::debug!(deployment.id = %id, cause = cause.detail, "the staged container is still there");
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(DISCARD_PAUSE_MAX),
            () = called_off.cancelled() => return,
        }
    }
    tracing::info!(deployment.id = %id, "the staged container is gone");
}
