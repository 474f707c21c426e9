//! From the domain to the wire, in one place.
//!
//! The texts for people are made here as well, so that a terminal, a log of CI and the API say the
//! same.

use cutover_api::deployment as wire;
use cutover_api::service as wire_service;
use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{
    Condition, Deployment, Event, JobRun, Origin, PinnedImage, Proof, Recreated, Replica, Request,
    Status, UnixMillis,
};
use cutover_core::image::ImageRef;
use jiff::Timestamp;

use crate::deployer::ServiceView;
use crate::journal::{Paused, Recorded};

/// Digits of a container's id that are enough to recognize it, as Docker prints them.
const SHORT_ID_LEN: usize = 12;

/// One deployment with what was recorded of it.
pub(super) fn deployment(deployment: &Deployment, recorded: &[Recorded]) -> wire::Deployment {
    let request = &deployment.request;
    let failure = deployment.failure.as_ref();
    let status = status(deployment.status());
    wire::Deployment {
        id: deployment.id.as_str().to_owned(),
        service: request.service.as_str().to_owned(),
        image_sha: request.tag.as_str().to_owned(),
        image: image(deployment),
        digest: deployment
            .image
            .as_ref()
            .and_then(|image| image.digest.clone()),
        image_id: deployment.image.as_ref().map(|image| image.id.clone()),
        status,
        outcome: status.outcome(),
        nothing_changed: !deployment.switch_started,
        previous: of_lead(deployment, &deployment.old).map(previous),
        previous_replicas: deployment.old.iter().map(replica).collect(),
        container: of_lead(deployment, &deployment.new).map(|new| new.container.clone()),
        replicas: deployment.new.iter().map(replica).collect(),
        services: services(deployment),
        jobs: deployment.jobs_run.iter().map(job).collect(),
        actor: request.actor.clone(),
        delivery_id: request
            .delivery_id
            .as_ref()
            .map(|id| id.as_str().to_owned()),
        rollback_to: request
            .rollback_to
            .as_ref()
            .map(|id| id.as_str().to_owned()),
        started_at: timestamp(deployment.started_at),
        finished_at: deployment.finished_at.map(timestamp),
        duration_ms: deployment
            .finished_at
            .map(|end| end.since(deployment.started_at)),
        // Where nothing ran before, nothing went out.
        outage_ms: deployment.outage_ms.filter(|_| deployment.ran_before()),
        switch_ms: deployment.switch_ms.filter(|_| deployment.ran_before()),
        held: deployment.held,
        held_max_ms: deployment.held_max_ms,
        proof: deployment.proof.map(|proof| proof.to_string()),
        cause: cause_of(deployment).as_ref().map(cause),
        events: recorded.iter().map(event_line).collect(),
        log: failure
            .map(|failure| failure.log.clone())
            .unwrap_or_default(),
    }
}

fn switched(service: &str, outage_ms: u64) -> String {
    let what = match service {
        "" => "the new container was started".to_owned(),
        service => format!("the new container of {service} was started"),
    };
    match outage_ms {
        0 => what,
        _ => format!("{what}; no container of the service ran for {outage_ms} ms"),
    }
}

fn held(connections: u64, longest_ms: u64) -> String {
    let what = match connections {
        1 => "1 connection waited and goes on".to_owned(),
        several => format!("{several} connections waited and go on"),
    };
    format!("{what}; the longest wait was {longest_ms} ms")
}

/// The container of the configured service among these, as far as the record tells: that of its name, or the first that
/// has the image of the deployment.
fn of_lead<'a>(deployment: &Deployment, of: &'a [Replica]) -> Option<&'a Replica> {
    let name = deployment.request.service.as_str();
    let parsed = |image: &str| image.parse::<ImageRef>().ok();
    let pinned = deployment.image.as_ref();
    let pinned = pinned.and_then(|image| parsed(&image.reference));
    let is_of_the_image = |replica: &&&Replica| {
        let both = parsed(&replica.image).zip(pinned.as_ref());
        both.is_some_and(|(image, pinned)| image.has_repository_of(pinned))
    };
    let services: Vec<&Replica> = of.iter().filter(|one| !is_job(deployment, one)).collect();
    let mut named = services.iter().filter(|one| one.service == name);
    let found = named
        .next()
        .or_else(|| services.iter().find(is_of_the_image));
    found.or(services.first()).copied()
}

/// Whether it is the container of a job.
fn is_job(deployment: &Deployment, replica: &Replica) -> bool {
    let mut jobs = deployment.jobs.iter();
    jobs.any(|job| job.service == replica.service)
}

/// The services that are or were to be switched, in their order.
fn services(deployment: &Deployment) -> Vec<wire::ReleasedService> {
    let old = deployment.old.iter().filter(|old| !is_job(deployment, old));
    let mut names: Vec<&str> = Vec::new();
    for replica in deployment.new.iter().chain(old) {
        if !names.contains(&replica.service.as_str()) {
            names.push(&replica.service);
        }
    }
    let container = |of: &[Replica], name: &str| {
        let mut of = of.iter().filter(|replica| replica.service == name);
        of.next().map(|replica| replica.container.clone())
    };
    // Where there is only one, its figures are the deployment's.
    let is_alone = names.len() == 1;
    let service = |name: &str| wire::ReleasedService {
        service: name.to_owned(),
        previous: container(&deployment.old, name),
        container: container(&deployment.new, name),
        outage_ms: match is_alone {
            true => deployment.outage_ms,
            false => deployment.outages_ms.get(name).copied(),
        },
        proof: match is_alone {
            true => deployment.proof,
            false => deployment.proofs.get(name).copied(),
        }
        .map(|proof| proof.to_string()),
    };
    names.into_iter().map(service).collect()
}

fn job(run: &JobRun) -> wire::Job {
    wire::Job {
        service: run.service.clone(),
        exit_code: run.code,
    }
}

fn image(deployment: &Deployment) -> Option<String> {
    let pinned = deployment
        .image
        .as_ref()
        .map(|image| image.reference.clone());
    pinned.or_else(|| deployment.reference.clone())
}

fn previous(old: &Replica) -> wire::Previous {
    wire::Previous {
        container: old.container.clone(),
        image: old.image.clone(),
        image_id: old.image_id.clone(),
        condition: old.condition.as_str().to_owned(),
    }
}

fn replica(replica: &Replica) -> wire::Replica {
    wire::Replica {
        service: replica.service.clone(),
        number: replica.number,
        container: replica.container.clone(),
        name: replica.name.clone(),
        image: replica.image.clone(),
        image_id: replica.image_id.clone(),
        condition: replica.condition.as_str().to_owned(),
    }
}

/// Why a deployment did not succeed. A cancelled one has a cause on the wire, so that a client need
/// not know two places to look in.
pub(super) fn cause_of(deployment: &Deployment) -> Option<Cause> {
    let cancelled = deployment.cancelled_why.as_ref().map(|why| {
        let step = if !deployment.new.is_empty() || !deployment.old.is_empty() {
            Step::Stage
        } else if deployment.pull_started_at.is_some() {
            Step::Pull
        } else {
            Step::Prepare
        };
        Cause::new(Code::Cancelled, step, why.clone())
    });
    cancelled.or_else(|| deployment.cause().cloned())
}

fn cause(cause: &Cause) -> wire::Cause {
    wire::Cause {
        code: cause.code.as_str().to_owned(),
        detail: cause.detail.clone(),
        hint: cause.code.hint().to_owned(),
        step: cause.step.as_str().to_owned(),
        retriable: cause.code.retriable(),
    }
}

/// One event as recorded.
pub(super) fn event_line(recorded: &Recorded) -> wire::EventLine {
    wire::EventLine {
        seq: recorded.seq,
        at: timestamp(recorded.at),
        kind: recorded.event.kind().to_owned(),
        status: status(recorded.status_after),
        message: message(&recorded.event, recorded.status_after),
    }
}

/// One service. Its deployments come without events, as in every list.
pub(super) fn service(view: &ServiceView) -> wire_service::Service {
    let listed = |found: &Option<Deployment>| found.as_ref().map(|found| deployment(found, &[]));
    let container = view.container.clone().ok().flatten();
    let (running, stopped) = match container {
        Some(stopped) if stopped.condition == Condition::Stopped.as_str() => (None, Some(stopped)),
        running => (running, None),
    };
    wire_service::Service {
        name: view.name.as_str().to_owned(),
        running,
        stopped,
        running_unknown: view.container.clone().err(),
        services: view.services.clone(),
        paused: view.paused.as_ref().map(paused),
        needs_operator: view.needs_operator.clone(),
        current: listed(&view.current),
        waiting: listed(&view.waiting),
        last: listed(&view.last),
    }
}

fn paused(paused: &Paused) -> wire_service::Paused {
    wire_service::Paused {
        why: paused.why.clone(),
        since: timestamp(paused.since),
    }
}

/// The same status on the wire.
pub(super) fn status(status: Status) -> wire::Status {
    match status {
        Status::Queued => wire::Status::Queued,
        Status::Pulling => wire::Status::Pulling,
        Status::Staging => wire::Status::Staging,
        Status::Switching => wire::Status::Switching,
        Status::Verifying => wire::Status::Verifying,
        Status::Committed => wire::Status::Committed,
        Status::RollingBack => wire::Status::RollingBack,
        Status::Succeeded => wire::Status::Succeeded,
        Status::Unchanged => wire::Status::Unchanged,
        Status::Failed => wire::Status::Failed,
        Status::RolledBack => wire::Status::RolledBack,
        Status::RollbackFailed => wire::Status::RollbackFailed,
        Status::Cancelled => wire::Status::Cancelled,
    }
}

/// The moment as the wire has it; the nearest one that can be written, for a clock gone mad.
fn timestamp(at: UnixMillis) -> Timestamp {
    Timestamp::from_millisecond(at.0).unwrap_or(if at.0 < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

fn recreated_again(recreated: &Recreated) -> String {
    let from = match recreated.from {
        Origin::SameConfiguration => "its recorded configuration",
        Origin::PreviousImage => "its image, in the present definition of the service",
    };
    format!(
        "the previous container {} was created again, as {}, from {from}",
        recreated.replica.name,
        short(&recreated.replica.container)
    )
}

/// What happened, as a sentence fragment for a person.
fn message(event: &Event, status: Status) -> String {
    match event {
        Event::Requested(request) => requested(request),
        Event::PullStarted { reference } => {
            format!("making sure that {reference} is on the machine")
        }
        Event::ImagePinned(image) => pinned(image),
        Event::FoundUnchanged { container, proof } => format!(
            "this very image already runs in container {}{}; no action needed",
            short(container),
            seen(*proof)
        ),
        Event::StageStarted { old, .. } => stage_started(old),
        Event::Staged { new, jobs } => staged(new, jobs),
        Event::JobStarted { service } if status == Status::Committed => {
            format!("the job {service} runs, after the commit")
        }
        Event::JobStarted { service } => format!("the job {service} runs; nothing is stopped yet"),
        Event::JobEnded { service, code } => format!("the job {service} ended with code {code}"),
        Event::DependentsRestarted { services } => format!(
            "restarted what is to be restarted with the service (`restart: true`): {}",
            services.join(", ")
        ),
        Event::Held {
            connections,
            longest_ms,
        } => held(*connections, *longest_ms),
        Event::SwitchStarted => "switching to the new container".to_owned(),
        Event::Switched { service, outage_ms } => switched(service, *outage_ms),
        Event::VerifyStarted { checks } => format!("watching the new container: {checks}"),
        Event::Committed { proof, .. } => {
            format!("the new release is final{}; cleaning up", seen(*proof))
        }
        Event::Succeeded => "the new release runs and is recorded".to_owned(),
        Event::Failed(failure) => format!("{}; nothing was changed", failure.cause.detail),
        Event::RollbackStarted(failure) => format!(
            "the new release failed: {}; putting the previous one back",
            failure.cause.detail
        ),
        Event::Restored { outage_ms: 0 } => {
            "the previous container is back as it was found".to_owned()
        }
        Event::Restored { outage_ms } => format!(
            "the previous container is back as it was found; it did not run for {outage_ms} ms"
        ),
        Event::Recreated(recreated) => recreated_again(recreated),
        Event::RolledBack {
            condition: Some(condition),
            ..
        } if !condition.is_good() => format!(
            "the previous release is in its place again, in the state it was in before: {}",
            condition.as_str()
        ),
        Event::RolledBack { proof, .. } => {
            format!("the previous release is in its place again{}", seen(*proof))
        }
        Event::RollbackFailed { cause, runs } => {
            format!("{}; what runs now: {runs}", cause.detail)
        }
        Event::Cancelled { why } => format!("cancelled: {why}; nothing was changed"),
        Event::RecoveryStarted => "the restarted daemon took this deployment up again".to_owned(),
        Event::Warned { what } => what.clone(),
    }
}

/// What was seen, as the end of a sentence fragment.
fn seen(proof: Option<Proof>) -> String {
    proof.map_or_else(String::new, |proof| format!(" ({proof})"))
}

fn staged(new: &[Replica], jobs: &[Replica]) -> String {
    let ids = new.iter().chain(jobs).map(|new| short(&new.container));
    let ids: Vec<_> = ids.collect();
    match ids.as_slice() {
        [only] => format!("container {only} was created and is not started yet"),
        _ => format!(
            "containers {} were created and are not started yet",
            ids.join(", ")
        ),
    }
}

fn stage_started(old: &[Replica]) -> String {
    if old.is_empty() {
        return "creating the container; nothing ran before".to_owned();
    }
    let found: Vec<_> = old
        .iter()
        .map(|old| {
            let condition = old.condition.as_str();
            format!("{}, of {}, was found {condition}", old.name, old.image)
        })
        .collect();
    format!("creating the new container; {}", found.join("; "))
}

fn requested(request: &Request) -> String {
    match &request.rollback_to {
        None => format!("{} asked for {}", request.actor, request.tag),
        Some(earlier) => format!(
            "{} asked for {} again, the release that deployment {earlier} brought or found running",
            request.actor, request.tag
        ),
    }
}

fn pinned(image: &PinnedImage) -> String {
    match &image.digest {
        Some(digest) => format!("{} is on the machine, digest {digest}", image.reference),
        None => format!("{} is on the machine, image {}", image.reference, image.id),
    }
}

fn short(id: &str) -> &str {
    id.get(..SHORT_ID_LEN).unwrap_or(id)
}

#[cfg(test)]
mod tests;
