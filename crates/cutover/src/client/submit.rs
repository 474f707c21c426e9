//! Sending a request until it is accepted, without ever deploying twice.
//!
//! ```text
//! accepted (202), ended (a stored or final answer), or already under way (409 in_progress)  -> done
//! busy (409 deployment_in_progress, 429, 503)  -> wait as told, send again with a new timestamp
//! not reached                                  -> over the network, try again for a short while
//! answer lost, or a proxy answered             -> send the very same bytes again while they are fresh
//! refused                                      -> done, nothing was changed
//! ```
//!
//! Once an answer was lost the daemon may have accepted the request: from then on the bytes never change,
//! so that the daemon recognizes them.

use std::time::{Duration, Instant};

use cutover_api::deploy::DeployAnswer;
use cutover_api::deployment::Deployment;
use cutover_api::problem::Problem;
use reqwest::StatusCode;

use crate::client::Client;
use crate::client::credentials::Secret;
use crate::client::failure::{Failure, Outlook};
use crate::client::reply::{Origin, Reply};
use crate::client::submission::Submission;

/// How long to try where nobody answers or only a proxy does: enough for a restart of the daemon,
/// short enough for a wrong address.
const FIRST_CONTACT: Duration = Duration::from_secs(30);

/// The first pause between attempts; it doubles up to [`PAUSE_MAX`].
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause between attempts, so that a daemon that came back is noticed soon.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long to wait where the daemon is busy and does not say for how long.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause that the daemon may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// A deployment that the daemon knows of.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Its id.
    pub(crate) id: String,
    /// Reads it over the network.
    pub(crate) watch_token: Option<Secret>,
    /// Where it stood when the daemon answered, if it said so.
    pub(crate) deployment: Option<Deployment>,
    /// The body of the answer.
    pub(crate) body: Vec<u8>,
    /// Whether this request began it.
    pub(crate) origin: Origin,
}

/// What one attempt came to.
enum Verdict {
    Accepted(Box<Accepted>),
    Busy { pause: Duration, failure: Failure },
    NotReached(Failure),
    Unknown(Failure),
    Over(Failure),
}

/// Whether the daemon may have accepted an attempt whose answer did not come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    CertainlyNotAccepted,
    Unknown,
}

/// Sends `submission` until it is accepted, at most for `give_up_after`; `note` is told of every wait.
///
/// # Errors
/// The refusal, or why it could not be found out whether the request was accepted.
pub(crate) async fn submit(
    client: &Client,
    submission: &mut Submission,
    give_up_after: Duration,
    note: &mut dyn FnMut(&str),
) -> Result<Accepted, Failure> {
    let began = Instant::now();
    let mut troubled_since: Option<Instant> = None;
    let mut fate = Fate::CertainlyNotAccepted;
    let mut backoff = PAUSE_MIN;
    loop {
        if fate == Fate::CertainlyNotAccepted {
            submission.stamp_again();
        }
        let attempt = match client.transmit(submission.to_request(client)?).await {
            Ok(reply) => judge(reply, submission),
            Err(failure @ Failure::NotReached { .. }) => Verdict::NotReached(failure),
            Err(failure) => Verdict::Unknown(failure),
        };
        let (pause, failure, bound) = match attempt {
            Verdict::Accepted(accepted) => return Ok(*accepted),
            Verdict::Over(failure) => return Err(failure),
            Verdict::Busy { pause, failure } => {
                troubled_since = None;
                (
                    pause,
                    failure,
                    give_up_after.saturating_sub(began.elapsed()),
                )
            }
            Verdict::NotReached(failure) => {
                if fate == Fate::CertainlyNotAccepted && !worth_another_try(client, &failure) {
                    return Err(failure);
                }
                (
                    backoff,
                    failure,
                    contact_bound(&mut troubled_since, give_up_after),
                )
            }
            Verdict::Unknown(failure) => {
                fate = Fate::Unknown;
                (
                    backoff,
                    failure,
                    contact_bound(&mut troubled_since, give_up_after),
                )
            }
        };
        let bound = match fate {
            Fate::CertainlyNotAccepted => bound,
            Fate::Unknown => bound.min(submission.fresh_for()),
        };
        if pause > bound {
            return Err(given_up(failure, fate, submission));
        }
        note(&announcement(&failure, fate, pause));
        tokio::time::sleep(pause).await;
        backoff = (backoff * 2).min(PAUSE_MAX);
    }
}

/// How much longer to try without contact.
fn contact_bound(troubled_since: &mut Option<Instant>, give_up_after: Duration) -> Duration {
    FIRST_CONTACT
        .min(give_up_after)
        .saturating_sub(troubled_since.get_or_insert_with(Instant::now).elapsed())
}

/// A local daemon that does not run will not start by itself; one over the network may be restarting.
fn worth_another_try(client: &Client, failure: &Failure) -> bool {
    let may_pass = matches!(
        failure,
        Failure::NotReached {
            outlook: Outlook::MayPass,
            ..
        }
    );
    may_pass && matches!(client.endpoint(), super::endpoint::Endpoint::Network(_))
}

/// What an answer means for the request.
fn judge(reply: Reply, submission: &Submission) -> Verdict {
    if reply.status.is_success() {
        return match serde_json::from_slice::<DeployAnswer>(&reply.body) {
            Ok(answer) => Verdict::Accepted(Box::new(Accepted {
                id: answer.deployment.id.clone(),
                watch_token: Some(Secret::from(answer.watch_token)),
                deployment: Some(answer.deployment),
                body: reply.body,
                origin: reply.origin,
            })),
            Err(_) => match (reply.status, &reply.located) {
                (StatusCode::ACCEPTED, Some(_)) => accepted_without_view(reply),
                _ => Verdict::Over(reply.foreign()),
            },
        };
    }
    let Some(problem) = reply.problem() else {
        return Verdict::Unknown(reply.foreign());
    };
    if is_about_this(&problem, reply.status, submission) {
        return accepted_already(reply, problem);
    }
    let busy = reply.status == StatusCode::TOO_MANY_REQUESTS
        || reply.status == StatusCode::SERVICE_UNAVAILABLE && reply.retry_after.is_some()
        || problem.code == "deployment_in_progress";
    let pause = reply
        .retry_after
        .unwrap_or(BUSY_PAUSE)
        .clamp(PAUSE_MIN, RETRY_AFTER_MAX);
    let failure = reply.into_failure();
    if busy {
        Verdict::Busy { pause, failure }
    } else {
        Verdict::Over(failure)
    }
}

/// Whether a problem tells of this request's own deployment, and not of a refusal.
fn is_about_this(problem: &Problem, status: StatusCode, submission: &Submission) -> bool {
    if problem.code == "in_progress" {
        return true;
    }
    let Some(deployment) = &problem.deployment else {
        return false;
    };
    match submission.delivery_id() {
        Some(id) => deployment.delivery_id.as_deref() == Some(id),
        None => status != StatusCode::CONFLICT && deployment.outcome.is_some(),
    }
}

/// Accepted, by an answer that names only the resource.
fn accepted_without_view(reply: Reply) -> Verdict {
    Verdict::Accepted(Box::new(Accepted {
        id: reply.located.unwrap_or_default(),
        watch_token: None,
        deployment: None,
        body: reply.body,
        origin: reply.origin,
    }))
}

/// Accepted earlier: under way, or ended with a problem.
fn accepted_already(reply: Reply, problem: Problem) -> Verdict {
    let id = match (&problem.deployment, &reply.located) {
        (Some(deployment), _) => deployment.id.clone(),
        (None, Some(id)) => id.clone(),
        (None, None) => return Verdict::Over(reply.into_failure()),
    };
    let origin = match problem.code.as_str() {
        "in_progress" => Origin::Replayed,
        _ => reply.origin,
    };
    Verdict::Accepted(Box::new(Accepted {
        id,
        watch_token: problem.watch_token.map(Secret::from),
        deployment: problem.deployment.map(|deployment| *deployment),
        body: reply.body,
        origin,
    }))
}

/// The failure after the last attempt: what is certain, and where to look.
fn given_up(failure: Failure, fate: Fate, submission: &Submission) -> Failure {
    if fate == Fate::CertainlyNotAccepted {
        return failure;
    }
    let service = submission.service();
    let again = match submission.delivery_id() {
        Some(_) => "",
        None => " before asking again",
    };
    Failure::Lost {
        what: format!(
            "{failure}; whether the request was accepted is not known, and a deployment may be under way"
        ),
        hint: format!(
            "{}; look on the server with `cutover status {service}`{again}",
            failure.hint()
        ),
    }
}

/// What to say before a pause.
fn announcement(failure: &Failure, fate: Fate, pause: Duration) -> String {
    let next = match (failure, fate) {
        (Failure::Refused { .. }, _) => "asking again",
        (_, Fate::CertainlyNotAccepted) => "trying again",
        (_, Fate::Unknown) => "sending the same request again",
    };
    if pause < Duration::from_secs(1) {
        format!("{failure}; {next}")
    } else {
        format!("{failure}; {next} in {} s", pause.as_secs())
    }
}
