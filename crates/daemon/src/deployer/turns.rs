//! Whose turn it is: one deployment of a service runs, one more may wait, and the newest waits.

use cutover_core::admission::{
    self, Accepting, Admission, Asker, Refusal, Repetition, ServiceState,
};
use cutover_core::deployment::{Deployment, Event, IfUnchanged, Request, Status, WayBack};
use cutover_core::names::{DeploymentId, ServiceName};
use cutover_core::releases::{Release, releases};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::context::Run;
use super::holding;
use super::kept::forget_if_over;
use super::record::now;
use super::{
    Accepted, Deployer, Live, NewDeployment, Readiness, Refused, journal_refused, run, tidy_up,
};
use crate::journal::{Created, JournalError};

/// One service's turn. Whoever holds its lock decides who is next.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) current: Option<DeploymentId>,
    pub(super) waiting: Option<Deployment>,
}

/// A deployment that has not ended, for those who watch, wait or cancel.
#[derive(Debug)]
pub(super) struct Underway {
    pub(super) live: broadcast::Sender<Live>,
    pub(super) end: watch::Sender<Option<Deployment>>,
    pub(super) cancelled: CancellationToken,
}

impl Underway {
    pub(super) fn new(live_events_max: usize) -> Self {
        Self {
            live: broadcast::Sender::new(live_events_max),
            end: watch::Sender::new(None),
            cancelled: CancellationToken::new(),
        }
    }
}

impl Deployer {
    /// Admits one request: a new deployment, a repetition, or a refusal. Does not wait for its end.
    ///
    /// # Errors
    /// Every [`Refused`]; nothing was recorded then.
    pub async fn deploy(&self, new: NewDeployment) -> Result<Accepted, Refused> {
        let deployer = self.clone();
        self.to_the_end(async move { deployer.admit(new, None).await })
            .await
    }

    /// Runs an earlier release of `service` again from local images: that of deployment `to`, or the one
    /// before the present.
    ///
    /// # Errors
    /// [`Refused::NoRelease`] when there is none to go back to; else as [`Self::deploy`].
    pub async fn roll_back(
        &self,
        service: &ServiceName,
        to: Option<DeploymentId>,
        actor: String,
    ) -> Result<Accepted, Refused> {
        let release = self.release_to_go_back_to(service, to).await?;
        let new = NewDeployment {
            service: service.clone(),
            tag: release.tag,
            digest: None,
            actor,
            asker: Asker::Operator,
            way_back: WayBack::Needed,
            if_unchanged: IfUnchanged::default(),
            delivery_id: None,
            fingerprint: String::new(),
        };
        let deployer = self.clone();
        self.to_the_end(async move { deployer.admit(new, Some(release.deployment)).await })
            .await
    }

    async fn release_to_go_back_to(
        &self,
        service: &ServiceName,
        to: Option<DeploymentId>,
    ) -> Result<Release, Refused> {
        self.turn(service)?;
        let committed = self
            .journal()
            .committed(service, super::RELEASES_MAX)
            .await
            .map_err(journal_refused)?;
        let releases = releases(&committed);
        let none = |why: String| Refused::NoRelease { why };
        if let Some(id) = to {
            let found = releases
                .into_iter()
                .find(|release| release.deployment == id);
            return found.ok_or_else(|| {
                none(format!(
                    "deployment {id} did not succeed for service `{service}`"
                ))
            });
        }
        let present = self.present_image(service, committed.first()).await?;
        releases
            .into_iter()
            .find(|release| release.image.as_ref().map(|image| &image.id) != present.as_ref())
            .ok_or_else(|| {
                none(format!(
                    "no earlier release of service `{service}` is recorded"
                ))
            })
    }

    /// The id of the image that a rollback goes back from: of what runs, or else of the `last` release that was
    /// committed. A failed rollback may have left neither, and then that release is the one to go back to.
    async fn present_image(
        &self,
        service: &ServiceName,
        last: Option<&Deployment>,
    ) -> Result<Option<String>, Refused> {
        match self.running(service).await {
            Ok(Some(container)) if container.state.running => return Ok(Some(container.image_id)),
            Ok(_) => {}
            Err(why) => {
                tracing::warn!(service.name = %service, why, "what runs is not known; taking what was committed last");
            }
        }
        let flags = self
            .journal()
            .flags(service)
            .await
            .map_err(journal_refused)?;
        let last = last.filter(|_| flags.needs_operator.is_none());
        Ok(last.and_then(|last| Some(last.image.as_ref()?.id.clone())))
    }

    async fn admit(
        &self,
        new: NewDeployment,
        rollback_to: Option<DeploymentId>,
    ) -> Result<Accepted, Refused> {
        // Held until the request is recorded, so that two of them cannot both find the service free.
        let mut turn = self.turn(&new.service)?.lock().await;
        if let Some(id) = &new.delivery_id
            && let Some(known) = self
                .journal()
                .delivery(&new.service, &new.actor, id)
                .await
                .map_err(journal_refused)?
        {
            return repetition(known, &new.fingerprint);
        }
        let flags = self
            .journal()
            .flags(&new.service)
            .await
            .map_err(journal_refused)?;
        let paused = flags.paused.map(|paused| {
            paused
                .why
                .unwrap_or_else(|| "no reason was given".to_owned())
        });
        let state = ServiceState {
            current: turn.current.clone(),
            waiting: turn.waiting.as_ref().map(|waiting| waiting.id.clone()),
            paused,
            needs_operator: flags.needs_operator,
            accepting: *self.inner.accepting.borrow(),
            when_busy: self
                .configured(&new.service)
                .map(|service| service.when_busy)
                .unwrap_or_default(),
        };
        let admission = admission::admit(&state, new.asker);
        let refusal = match admission {
            Admission::Refuse(refusal) => Some(refusal),
            Admission::Start | Admission::Wait | Admission::Supersede(_) => None,
        };
        // Without Docker recovery cannot go on either: then that is what is in the way.
        if matches!(refusal, None | Some(Refusal::Recovering)) {
            let answers = self.docker_answers().await;
            answers.map_err(|why| Refused::DockerUnavailable { why })?;
        }
        if let Some(refusal) = refusal {
            return Err(Refused::Admission(refusal));
        }
        let fingerprint = new.fingerprint.clone();
        let deployment = match self.create(new, rollback_to).await? {
            Created::New(deployment) => deployment,
            // It was looked for above, and the journal has the last word.
            Created::KnownDelivery { deployment } => return repetition(deployment, &fingerprint),
        };
        if let Some(superseded) = turn.waiting.take() {
            let why = format!("superseded by the newer deployment {}", deployment.id);
            self.end_waiting(superseded, Event::Cancelled { why }).await;
        }
        self.take_turn(&mut turn, deployment.clone());
        Ok(Accepted::Started(deployment))
    }

    async fn create(
        &self,
        new: NewDeployment,
        rollback_to: Option<DeploymentId>,
    ) -> Result<Created, Refused> {
        let id = uuid::Uuid::now_v7().to_string();
        let id = DeploymentId::new(&id).map_err(|error| Refused::NotFound {
            what: error.to_string(),
        })?;
        let request = Request {
            service: new.service,
            tag: new.tag,
            digest: new.digest,
            actor: new.actor,
            delivery_id: new.delivery_id,
            fingerprint: new.fingerprint,
            rollback_to,
            way_back: new.way_back,
            if_unchanged: new.if_unchanged,
        };
        self.journal()
            .create(&id, &request, now())
            .await
            .map_err(journal_refused)
    }

    /// Runs it now, or lets it wait.
    fn take_turn(&self, turn: &mut Turn, deployment: Deployment) {
        let Some(service) = self.configured(&deployment.request.service) else {
            return;
        };
        // From here on it can be watched and cancelled, whether it runs or waits.
        let run = self.run_of(deployment.clone(), service);
        if turn.current.is_some() {
            turn.waiting = Some(deployment);
        } else {
            turn.current = Some(deployment.id);
            self.spawn(run);
        }
    }

    fn spawn(&self, mut run: Run) {
        let deployer = self.clone();
        self.inner.runs.spawn(async move {
            deployer
                .stop_trying(&run.deployment().request.service)
                .await;
            let story = tokio::spawn(async move {
                let rest = run::run_deployment(&mut run).await;
                (run, rest)
            });
            let (mut run, rest) = match story.await {
                Ok(ended) => ended,
                Err(panic) => {
                    // Nobody knows how far it came but the journal: the next start puts it right.
                    tracing::error!(%panic, "a deployment hit a mistake in cutover; ending, to recover at the next start");
                    std::process::abort();
                }
            };
            let deployment = run.deployment().clone();
            deployer.finish(&mut run).await;
            // It takes a moment, and lets everything through: nobody waits for it.
            holding::end(&mut run).await;
            if deployment.image.is_some() && deployment.status() != Status::Unchanged {
                tidy_up::prune_images(&run, &deployer.inner.services).await;
            }
            match rest {
                Some(rest) => deployer.keep_trying(run, rest),
                None => forget_if_over(&run).await,
            }
            deployer.next_turn(&deployment).await;
        });
    }

    /// The one that waits is next.
    async fn next_turn(&self, ended: &Deployment) {
        let Ok(turn) = self.turn(&ended.request.service) else {
            return;
        };
        let mut turn = turn.lock().await;
        turn.current = None;
        let Some(next) = turn.waiting.take() else {
            return;
        };
        if let Some(why) = self.held_back(&next).await {
            return self.end_waiting(next, Event::Cancelled { why }).await;
        }
        if *self.inner.accepting.borrow() == Accepting::ShuttingDown {
            self.end_waiting(next, run::given_up_while_waiting()).await;
            return;
        }
        self.take_turn(&mut turn, next);
    }

    /// Why `waiting` does not get its turn: nothing goes on by itself once a rollback has failed. What was accepted
    /// after that was asked for by an operator, who knew of it.
    async fn held_back(&self, waiting: &Deployment) -> Option<String> {
        let service = &waiting.request.service;
        let asked = async {
            let Some(why) = self.journal().flags(service).await?.needs_operator else {
                return Ok(None);
            };
            let failed = self.last_that_was_not_rolled_back(service).await?;
            let failed_at = failed.and_then(|failed| failed.finished_at);
            Ok((failed_at.is_none_or(|at| at >= waiting.started_at)).then_some(why))
        };
        let why = asked.await.unwrap_or_else(|error: JournalError| {
            Some(format!("the journal cannot be read: {error}"))
        })?;
        Some(format!("this service needs an operator: {why}"))
    }

    /// Ends a deployment that waited for its turn.
    async fn end_waiting(&self, deployment: Deployment, event: Event) {
        let Some(service) = self.configured(&deployment.request.service) else {
            return;
        };
        let mut run = self.run_of(deployment, service);
        run.record.anyway(event).await;
        self.tell_end(&run);
        // The turn is not held meanwhile: a disk may take its time.
        let deployer = self.clone();
        self.inner
            .runs
            .spawn(async move { deployer.record_end(&mut run).await });
    }

    /// Cancels `deployment` if it waits for its turn.
    pub(super) async fn cancel_waiting(&self, deployment: &Deployment, why: &str) {
        let Ok(turn) = self.turn(&deployment.request.service) else {
            return;
        };
        let mut turn = turn.lock().await;
        if let Some(waiting) = turn.waiting.take_if(|waiting| waiting.id == deployment.id) {
            self.end_waiting(
                waiting,
                Event::Cancelled {
                    why: why.to_owned(),
                },
            )
            .await;
        }
    }

    /// Recovery is done: run what is left of what was accepted before, then accept new work.
    ///
    /// A daemon that is stopping does neither: what was accepted is in the journal, for the next start.
    pub(super) async fn accept_work(&self, again: Vec<Deployment>) {
        if self.is_stopping() {
            return;
        }
        for deployment in again {
            let Ok(turn) = self.turn(&deployment.request.service) else {
                continue;
            };
            let mut turn = turn.lock().await;
            if let Some(why) = self.held_back(&deployment).await {
                self.end_waiting(deployment, Event::Cancelled { why }).await;
                continue;
            }
            if let Some(superseded) = turn.waiting.take() {
                let why = format!("superseded by the newer deployment {}", deployment.id);
                self.end_waiting(superseded, Event::Cancelled { why }).await;
            }
            self.take_turn(&mut turn, deployment);
        }
        self.inner.accepting.send_if_modified(|accepting| {
            let recovered = *accepting == Accepting::Recovering;
            if recovered {
                *accepting = Accepting::Yes;
            }
            recovered
        });
        if *self.inner.accepting.borrow() == Accepting::Yes {
            self.set_readiness(Readiness::Ready);
        }
    }
}

fn repetition(known: Deployment, fingerprint: &str) -> Result<Accepted, Refused> {
    let recorded = (known.request.fingerprint.as_str(), known.status());
    match admission::repeated(recorded, fingerprint) {
        Repetition::Replay => Ok(Accepted::Replayed(known)),
        Repetition::InProgress => Err(Refused::InProgress(Box::new(known))),
        Repetition::Reused => Err(Refused::DeliveryReused(known.id)),
    }
}
