//! What is known of a deployment: its events, folded.

use std::collections::BTreeMap;

use super::{
    Event, Failure, IllegalEvent, PinnedImage, Proof, Recreated, Replica, Request, Status, TagLine,
    UnixMillis, next_status,
};
use crate::cause::Cause;
use crate::names::DeploymentId;

/// A job that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    /// Its Compose service.
    pub service: String,
    /// The exit code of its process; none as long as it runs, and where nobody saw its end.
    pub code: Option<i64>,
}

/// A deployment, as its events tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// What was asked for.
    pub request: Request,
    status: Status,
    /// When it was requested.
    pub started_at: UnixMillis,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
    /// When the pull began, the start of `progress_deadline`.
    pub pull_started_at: Option<UnixMillis>,
    /// The reference that is pulled, once known.
    pub reference: Option<String>,
    /// The image of the configured service, once pinned.
    pub image: Option<PinnedImage>,
    /// The images of all services of the release, each once.
    pub images: Vec<PinnedImage>,
    /// The containers that ran before, once looked at.
    pub old: Vec<Replica>,
    /// What stood in the env file in the tag's place, once looked at.
    pub tag_line: Option<TagLine>,
    /// The new containers, once they exist.
    pub new: Vec<Replica>,
    /// The new containers of jobs, once they exist.
    pub jobs: Vec<Replica>,
    /// The jobs that were started, in their order.
    pub jobs_run: Vec<JobRun>,
    /// Previous containers in whose place others were created: they go, like the new ones.
    pub given_up: Vec<Replica>,
    /// How long no container of the service ran; after a rollback, how long the previous one did not; in
    /// milliseconds.
    pub outage_ms: Option<u64>,
    /// How many connections waited while the service was switched, or put back.
    pub held: u64,
    /// How long the one waited that waited longest, in milliseconds; none where none did.
    pub held_max_ms: Option<u64>,
    /// The outage of each service that was switched, by its name in the Compose file; where there is only one, it has no
    /// name.
    pub outages_ms: BTreeMap<String, u64>,
    /// Whether a container was stopped or started on behalf of this deployment.
    pub switch_started: bool,
    /// Whether its release was final at some time.
    pub committed: bool,
    /// How long the switch itself left no container running, in milliseconds: `outage_ms` without the time that the new
    /// container took to answer.
    pub switch_ms: Option<u64>,
    /// What was seen of what runs now: of the new container, or of the previous one after a rollback.
    pub proof: Option<Proof>,
    /// What was seen of each new container, by its Compose service; empty where there is only one.
    pub proofs: BTreeMap<String, Proof>,
    /// Why the new release failed.
    pub failure: Option<Failure>,
    /// Why the rollback failed, and what runs.
    pub rollback_failure: Option<(Cause, String)>,
    /// Why it was cancelled.
    pub cancelled_why: Option<String>,
    /// How often a restarted daemon has taken it up.
    pub recoveries: u32,
    /// How many events it has.
    pub events: u64,
}

impl Deployment {
    /// A deployment of which only the request is known.
    #[must_use]
    pub fn requested(id: DeploymentId, request: Request, at: UnixMillis) -> Self {
        Self {
            id,
            request,
            status: Status::Queued,
            started_at: at,
            finished_at: None,
            pull_started_at: None,
            reference: None,
            image: None,
            images: Vec::new(),
            old: Vec::new(),
            tag_line: None,
            new: Vec::new(),
            jobs: Vec::new(),
            jobs_run: Vec::new(),
            given_up: Vec::new(),
            outage_ms: None,
            held: 0,
            held_max_ms: None,
            outages_ms: BTreeMap::new(),
            switch_started: false,
            committed: false,
            switch_ms: None,
            proof: None,
            proofs: BTreeMap::new(),
            failure: None,
            rollback_failure: None,
            cancelled_why: None,
            recoveries: 0,
            events: 1,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The outage ends when what runs is first seen to be in order.
    fn prove(&mut self, proof: Option<Proof>) {
        self.proof = proof;
        if let (Some(outage_ms), Some(proof)) = (&mut self.outage_ms, proof) {
            *outage_ms = outage_ms.saturating_add(proof.answered_after_ms);
        }
    }

    /// A release is without an answer for as long as the service of it that is so for longest.
    fn prove_each(&mut self, proof: Option<Proof>) {
        self.proof = proof;
        for (service, outage_ms) in &mut self.outages_ms {
            let proof = self.proofs.get(service);
            *outage_ms = outage_ms.saturating_add(proof.map_or(0, |proof| proof.answered_after_ms));
        }
        self.outage_ms = self.outages_ms.values().copied().max().or(self.outage_ms);
    }

    /// The configured service's image is pinned first.
    fn pin(&mut self, image: &PinnedImage) {
        self.image.get_or_insert_with(|| image.clone());
        if !self.images.contains(image) {
            self.images.push(image.clone());
        }
    }

    fn replace_old(&mut self, recreated: &Recreated) {
        let replaced = self
            .old
            .iter_mut()
            .find(|old| old.container == recreated.replaces);
        if let Some(old) = replaced {
            let given_up = std::mem::replace(old, recreated.replica.clone());
            self.given_up.push(given_up);
        }
    }

    /// What a job did that was started, for a person who is told that nothing was changed.
    #[must_use]
    pub fn what_jobs_did(&self) -> Option<String> {
        let names: Vec<_> = self
            .jobs_run
            .iter()
            .map(|run| run.service.as_str())
            .collect();
        match names.as_slice() {
            [] => None,
            [name] => Some(format!(
                "the job `{name}` ran; cutover does not undo what it did"
            )),
            names => Some(format!(
                "the jobs `{}` ran; cutover does not undo what they did",
                names.join("`, `")
            )),
        }
    }

    /// Whether a container of the service ran when the deployment began.
    #[must_use]
    pub fn ran_before(&self) -> bool {
        self.old.iter().any(|old| old.condition.ran())
    }

    /// The cause that an answer names: of the failed rollback if it failed in the end, else of the failure.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        match &self.rollback_failure {
            Some((cause, _)) if self.status == Status::RollbackFailed => Some(cause),
            _ => self.failure.as_ref().map(|failure| &failure.cause),
        }
    }

    /// The switch and the way back hold, one after the other.
    fn count_held(&mut self, connections: u64, longest_ms: u64) {
        self.held = self.held.saturating_add(connections);
        self.held_max_ms = self.held_max_ms.max(Some(longest_ms));
    }

    /// Folds one more event in.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the event cannot follow; nothing is changed then.
    pub fn apply(&mut self, event: &Event, at: UnixMillis) -> Result<(), IllegalEvent> {
        self.status = next_status(Some(self.status), event)?;
        self.events += 1;
        match event {
            Event::PullStarted { reference } => {
                self.pull_started_at.get_or_insert(at);
                (self.image, self.images) = (None, Vec::new());
                self.reference = Some(reference.clone());
            }
            Event::ImagePinned(image) => self.pin(image),
            Event::StageStarted { old, tag_line } => {
                self.old.clone_from(old);
                self.tag_line.clone_from(tag_line);
            }
            Event::Staged { new, jobs } => {
                self.new.clone_from(new);
                self.jobs.clone_from(jobs);
            }
            Event::JobStarted { service } => self.jobs_run.push(JobRun {
                service: service.clone(),
                code: None,
            }),
            Event::JobEnded { service, code } => {
                let run = self.jobs_run.iter_mut().rev();
                let mut run = run.filter(|run| run.service == *service);
                if let Some(run) = run.next() {
                    run.code = Some(*code);
                }
            }
            Event::Recreated(recreated) => self.replace_old(recreated),
            Event::SwitchStarted => self.switch_started = true,
            Event::Committed { proof, proofs } => {
                self.committed = true;
                self.proofs.clone_from(proofs);
                match proofs.is_empty() {
                    true => self.prove(*proof),
                    false => self.prove_each(*proof),
                }
            }
            Event::FoundUnchanged { proof, .. } | Event::RolledBack { proof, .. } => {
                self.prove(*proof);
            }
            // A rollback's outage began when the previous container was stopped: it contains the switch's.
            Event::Switched { service, outage_ms } => {
                // Its replicas may be switched one after another.
                let outage = self.outages_ms.entry(service.clone()).or_default();
                *outage = (*outage).max(*outage_ms);
                self.outage_ms = self.outages_ms.values().copied().max();
                self.switch_ms = self.outage_ms;
            }
            Event::Restored { outage_ms } => self.outage_ms = Some(*outage_ms),
            Event::Held {
                connections,
                longest_ms,
            } => self.count_held(*connections, *longest_ms),
            Event::Failed(failure) | Event::RollbackStarted(failure) => {
                self.failure = Some(failure.clone());
            }
            Event::RollbackFailed { cause, runs } => {
                self.rollback_failure = Some((cause.clone(), runs.clone()));
            }
            Event::Cancelled { why } => self.cancelled_why = Some(why.clone()),
            Event::RecoveryStarted => self.recoveries = self.recoveries.saturating_add(1),
            Event::Requested(_)
            | Event::VerifyStarted { .. }
            | Event::DependentsRestarted { .. }
            | Event::Succeeded
            | Event::Warned { .. } => {}
        }
        if self.status.is_end() {
            self.finished_at = Some(at);
        }
        Ok(())
    }
}
