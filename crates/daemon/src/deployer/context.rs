//! What a run of one deployment works with.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Status};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::causes::journal_cause;
use super::holding::Served;
use super::record::Record;
use crate::driver::Driver;
use crate::driver::kept::Kept;
use crate::hold::Hold;
use crate::journal::Journal;
use crate::registry::Cosign;
use crate::settings;

/// Everything that one deployment works with.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) record: Record,
    pub(super) journal: Journal,
    pub(super) driver: Driver,
    pub(super) kept: Kept,
    pub(super) docker_config: PathBuf,
    pub(super) cosign: Cosign,
    pub(super) service: Arc<settings::Service>,
    /// New connections wait while this is there.
    pub(super) hold: Option<Hold>,
    /// Whether connections could not be held, which was told.
    pub(super) cannot_hold: bool,
    pub(super) served: Served,
    /// Cancelled when somebody cancels this deployment.
    pub(super) cancelled: CancellationToken,
    /// Cancelled when the daemon is stopping.
    pub(super) stopping: CancellationToken,
}

impl Run {
    /// What has happened so far.
    pub(super) fn deployment(&self) -> &Deployment {
        self.record.deployment()
    }

    /// Records a step forward.
    pub(super) async fn forward(&mut self, step: Step, event: Event) -> Result<(), Cause> {
        self.record
            .forward(event)
            .await
            .map_err(|error| journal_cause(step, &error))
    }

    /// Records for how long, in milliseconds, the previous containers did not run.
    pub(super) async fn record_restored(&mut self, outage_ms: u64) {
        // After a commit the new release is the one that counts.
        let status = self.deployment().status();
        if matches!(status, Status::RollingBack | Status::RollbackFailed) {
            self.record.anyway(Event::Restored { outage_ms }).await;
        }
    }

    /// Does `effect`, unless the deployment is cancelled or the daemon stops first.
    pub(super) async fn unless_cancelled<T>(
        &self,
        step: Step,
        effect: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Cause> {
        tokio::select! {
            done = effect => done,
            () = self.cancelled.cancelled() => {
                Err(Cause::new(Code::Cancelled, step, "cancelled on request before anything was changed"))
            }
            () = self.stopping.cancelled() => {
                Err(Cause::new(Code::ShuttingDown, step, "cutover was stopped before anything was changed"))
            }
        }
    }

    /// Does `effect`, which is behind the commit, unless the daemon stops first.
    pub(super) async fn unless_stopped<T>(
        &self,
        step: Step,
        effect: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Cause> {
        tokio::select! {
            done = effect => done,
            () = self.stopping.cancelled() => {
                Err(Cause::new(Code::ShuttingDown, step, "cutover was stopped, and stopped it"))
            }
        }
    }

    /// Does `effect` unless the deployment is cancelled, the daemon stops, or time is up first.
    pub(super) async fn unless_given_up<T>(
        &self,
        deadline: Instant,
        step: Step,
        effect: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Cause> {
        tokio::select! {
            done = self.unless_cancelled(step, effect) => done,
            () = tokio::time::sleep_until(deadline) => {
                let bound = cutover_core::duration::format(self.service.progress_deadline);
                let detail = format!("pulling and staging did not end within the `progress_deadline` of {bound}");
                Err(Cause::new(Code::DeadlineExceeded, step, detail))
            }
        }
    }
}
