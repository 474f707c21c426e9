//! Owns every deployment: admits requests, runs them one at a time per service, recovers what a dead
//! daemon left, and lets others watch.
//!
//! The story of one deployment is told in `run`.

mod run;
mod ended;
mod bring_in;
mod trial;
mod holding;
mod jobs;
mod hooks;
mod give_up;
mod roll_back;
mod roll_forward;
mod way_back;
mod kept;
mod reach;
mod survey;
mod switched;
mod tag_line;
mod journey;
mod prove;
mod pull;
mod recreate;
mod rest;
mod keep_trying;
mod recover;
mod context;
mod dependents;
mod observe;
mod causes;
mod record;
mod refuse;
mod output;
mod turns;
mod view;
mod tidy_up;
mod words;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cutover_core::admission::{Accepting, can_cancel};
use cutover_core::deployment::{Deployment, Status};
use cutover_core::names::{DeploymentId, ServiceName};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::context::Run;
use self::holding::Served;
use self::keep_trying::Trying;
pub(crate) use self::observe::runs_in_order;
use self::record::Record;
use self::turns::{Turn, Underway};
use self::view::Pinged;
pub use self::words::{Accepted, Live, NewDeployment, Readiness, Refused, ServiceView};
use self::words::{journal_refused, unknown_service};
use crate::driver::Driver;
use crate::driver::kept::Kept;
use crate::journal::Journal;
use crate::registry::Cosign;
use crate::settings::{self, Settings};
use crate::systemd;

/// How many committed releases are looked through for one to go back to.
const RELEASES_MAX: u32 = 100;

/// Watchers that fall further behind than this read the journal again.
const LIVE_EVENTS_MAX: usize = 512;

/// Between two attempts to record what could not be written.
const FLUSH_PAUSE: Duration = Duration::from_secs(1);

/// The handle that everybody else holds; cheap to clone.
#[derive(Debug, Clone)]
pub struct Deployer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    services: BTreeMap<ServiceName, Arc<settings::Service>>,
    turns: BTreeMap<ServiceName, tokio::sync::Mutex<Turn>>,
    underway: Mutex<BTreeMap<DeploymentId, Underway>>,
    trying: Mutex<BTreeMap<ServiceName, Trying>>,
    accepting: watch::Sender<Accepting>,
    readiness: Mutex<Readiness>,
    pinged: tokio::sync::Mutex<Option<Pinged>>,
    docker_config: std::path::PathBuf,
    cosign: Cosign,
    driver: Driver,
    kept: Kept,
    journal: Journal,
    endings: broadcast::Sender<Deployment>,
    stopping: CancellationToken,
    /// The bound on stopping has passed: nobody waits for an end any more.
    over: CancellationToken,
    runs: TaskTracker,
}

impl Deployer {
    /// A deployer that does not accept work yet: see [`Self::recover`].
    #[must_use]
    pub fn new(settings: &Settings, driver: Driver, journal: Journal) -> Self {
        let services: BTreeMap<_, _> = settings
            .services
            .iter()
            .map(|(name, service)| (name.clone(), Arc::new(service.clone())))
            .collect();
        let turns = services
            .keys()
            .map(|name| (name.clone(), tokio::sync::Mutex::default()))
            .collect();
        let why = "recovery has not begun".to_owned();
        Self {
            inner: Arc::new(Inner {
                services,
                turns,
                underway: Mutex::default(),
                trying: Mutex::default(),
                accepting: watch::Sender::new(Accepting::Recovering),
                readiness: Mutex::new(Readiness::NotReady { why }),
                pinged: tokio::sync::Mutex::default(),
                docker_config: settings.docker.config_directory.clone(),
                cosign: Cosign::new(&settings.docker),
                driver,
                kept: Kept::new(&settings.server.state_directory),
                journal,
                endings: broadcast::Sender::new(LIVE_EVENTS_MAX),
                stopping: CancellationToken::new(),
                over: CancellationToken::new(),
                runs: TaskTracker::new(),
            }),
        }
    }

    /// Puts right what a dead daemon left, then accepts work. Returns when that is done, or when the daemon
    /// is told to stop: what has begun is finished first, as [`Self::shut_down`] does with every deployment.
    pub async fn recover(&self) {
        let deployer = self.clone();
        let recovered = self
            .inner
            .runs
            .spawn(async move { recover::recover_all(&deployer).await });
        if let Err(error) = recovered.await
            && error.is_panic()
        {
            // A daemon that stays and takes no work would look alive. The next start tries again, and counts.
            tracing::error!(%error, "recovery hit a mistake in cutover; ending, to recover at the next start");
            std::process::abort();
        }
    }

    /// Stops: refuses new work, gives up what has not switched, finishes what has, at most for `bound`.
    pub async fn shut_down(&self, bound: Duration) {
        self.inner.accepting.send_replace(Accepting::ShuttingDown);
        self.set_readiness(Readiness::NotReady {
            why: "cutover is stopping".to_owned(),
        });
        self.inner.stopping.cancel();
        self.inner.runs.close();
        if tokio::time::timeout(bound, self.inner.runs.wait())
            .await
            .is_err()
        {
            tracing::warn!("stopping in the middle of a deployment: the next start puts it right");
            self.inner.over.cancel();
        }
    }

    /// Every deployment that ends from now on, for those who count.
    #[must_use]
    pub fn endings(&self) -> broadcast::Receiver<Deployment> {
        self.inner.endings.subscribe()
    }

    /// Waits until the deployment has ended and returns it. A daemon that stops in the middle of it returns it
    /// as it is then, without an end.
    ///
    /// # Errors
    /// [`Refused::NotFound`], or [`Refused::JournalUnavailable`].
    pub async fn ended(&self, id: &DeploymentId) -> Result<Deployment, Refused> {
        let end = self
            .underway()
            .get(id)
            .map(|underway| underway.end.subscribe());
        if let Some(mut end) = end {
            tokio::select! {
                ended = end.wait_for(Option::is_some) => {
                    if let Ok(Some(deployment)) = ended.as_deref() {
                        return Ok(deployment.clone());
                    }
                }
                () = self.inner.over.cancelled() => {}
            }
        }
        self.deployment(id).await
    }

    /// How a deployment ended, if it has and that is not recorded yet.
    #[must_use]
    pub fn ended_unrecorded(&self, id: &DeploymentId) -> Option<Deployment> {
        let underway = self.underway();
        let ended = underway.get(id)?.end.borrow();
        ended.clone().filter(|ended| ended.status().is_end())
    }

    /// What happens in a deployment from now on; `None` once it has ended (or never was).
    #[must_use]
    pub fn watch(&self, id: &DeploymentId) -> Option<broadcast::Receiver<Live>> {
        self.underway()
            .get(id)
            .map(|underway| underway.live.subscribe())
    }

    /// Gives up a deployment that has not switched yet, and waits until that is recorded.
    ///
    /// # Errors
    /// [`Refused::TooLate`] once it has switched or ended.
    pub async fn cancel(&self, id: &DeploymentId, actor: &str) -> Result<Deployment, Refused> {
        let deployment = self.deployment(id).await?;
        if !can_cancel(deployment.status()) {
            return Err(Refused::TooLate(Box::new(deployment)));
        }
        tracing::info!(deployment.id = %id, actor, "cancel");
        if let Some(underway) = self.underway().get(id) {
            underway.cancelled.cancel();
        }
        let (deployer, waiting) = (self.clone(), deployment.clone());
        self.to_the_end(async move {
            deployer
                .cancel_waiting(&waiting, "cancelled on request while it waited")
                .await;
        })
        .await;
        let ended = self.ended(id).await?;
        if ended.status() == Status::Cancelled {
            Ok(ended)
        } else {
            Err(Refused::TooLate(Box::new(ended)))
        }
    }

    /// Does `work` to its end although whoever waits for it may go away in the middle: what is half done
    /// would belong to nobody.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.inner.runs.spawn(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going away, and so is whoever waits.
                Err(_) => std::future::pending().await,
            },
        }
    }

    async fn deployment(&self, id: &DeploymentId) -> Result<Deployment, Refused> {
        let found = self
            .inner
            .journal
            .deployment(id)
            .await
            .map_err(journal_refused)?;
        found.ok_or_else(|| Refused::NotFound {
            what: format!("deployment {id}"),
        })
    }

    fn is_stopping(&self) -> bool {
        self.inner.stopping.is_cancelled()
    }

    /// Waits; says whether the daemon still goes on after that.
    async fn rest(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.inner.stopping.cancelled() => false,
        }
    }

    fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    fn driver(&self) -> &Driver {
        &self.inner.driver
    }

    fn configured(&self, service: &ServiceName) -> Option<Arc<settings::Service>> {
        self.inner.services.get(service).cloned()
    }

    fn turn(&self, service: &ServiceName) -> Result<&tokio::sync::Mutex<Turn>, Refused> {
        self.inner
            .turns
            .get(service)
            .ok_or_else(|| unknown_service(service))
    }

    fn underway(&self) -> std::sync::MutexGuard<'_, BTreeMap<DeploymentId, Underway>> {
        self.inner
            .underway
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn set_readiness(&self, readiness: Readiness) {
        systemd::status(match &readiness {
            Readiness::Ready => "taking deployments",
            Readiness::NotReady { why } => why,
        });
        *self
            .inner
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = readiness;
    }

    /// Everything that a run of `deployment` works with; those who watch it find it from here on.
    fn run_of(&self, deployment: Deployment, service: Arc<settings::Service>) -> Run {
        let mut all = self.underway();
        let underway = all
            .entry(deployment.id.clone())
            .or_insert_with(|| Underway::new(LIVE_EVENTS_MAX));
        Run {
            record: Record::new(
                deployment,
                self.inner.journal.clone(),
                underway.live.clone(),
            ),
            journal: self.inner.journal.clone(),
            driver: self.inner.driver.clone(),
            kept: self.inner.kept.clone(),
            docker_config: self.inner.docker_config.clone(),
            cosign: self.inner.cosign.clone(),
            service,
            cancelled: underway.cancelled.clone(),
            hold: None,
            cannot_hold: false,
            served: Served::default(),
            stopping: self.inner.stopping.clone(),
        }
    }

    /// Tells everybody who waits how a deployment ended, or that this daemon will not see its end. Returns
    /// when that is recorded, or when the daemon stops: nothing else may be begun before, because the next start
    /// would take it for unfinished.
    async fn finish(&self, run: &mut Run) {
        self.tell_end(run);
        self.record_end(run).await;
    }

    fn tell_end(&self, run: &Run) {
        let ended = run.record.deployment();
        if ended.status().is_end() {
            // Nobody may be counting.
            drop(self.inner.endings.send(ended.clone()));
        }
        if let Some(underway) = self.underway().get(&ended.id) {
            underway.end.send_replace(Some(ended.clone()));
            // Nobody may be watching.
            drop(underway.live.send(Live::Recorded));
        }
    }

    async fn record_end(&self, run: &mut Run) {
        self.record_all(run).await;
        self.underway().remove(&run.record.deployment().id);
    }

    /// Tries until everything that happened is recorded, or the daemon stops.
    async fn record_all(&self, run: &mut Run) {
        while let Err(error) = run.record.flush().await {
            tracing::error!(
                deployment.id = %run.record.deployment().id, %error,
                "what happened is not recorded yet; trying again every second"
            );
            if !self.rest(FLUSH_PAUSE).await {
                return;
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
