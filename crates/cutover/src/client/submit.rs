//! Sending a request until it is accepted, without ever deploying twice.
//!
//! ```text
//! accepted (202), ended (a stored or final answer), or under way (409 in_progress, 500 not_ended)  -> done
//! busy (409 deployment_in_progress, 429, 503)  -> wait as told, send again with a new timestamp
//! not reached                                  -> over the network, try again for a short while
//! answer lost, or a proxy answered in trouble  -> send the very same bytes again
//! something else answered (a redirect, a 404)  -> done, nothing was changed
//! refused                                      -> done, nothing was changed
//! ```
//!
//! Once an answer was lost the daemon may have accepted the request: from then on the bytes stay the same,
//! but for a timestamp that would get too old, so that the daemon recognizes them. A request without a
//! delivery id is not sent again then.

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
    Astray(Failure),
    Over(Failure),
}

/// Whether the daemon may have accepted an attempt whose answer did not come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    CertainlyNotAccepted,
    Unknown,
}

/// How long to go on without an answer.
struct Patience {
    give_up_after: Duration,
    /// Since when nobody, or only a proxy, answers.
    troubled_since: Option<Instant>,
    /// The same, but at least until a connection was lost that somebody had accepted.
    without_contact: Duration,
}

impl Patience {
    fn new(give_up_after: Duration) -> Self {
        Self {
            give_up_after,
            troubled_since: None,
            without_contact: FIRST_CONTACT.min(give_up_after),
        }
    }

    /// An answer was lost: somebody is there, and may only be restarting.
    fn met(&mut self) {
        self.without_contact = self.give_up_after;
    }

    /// The daemon answered.
    fn answered(&mut self) {
        self.troubled_since = None;
    }

    /// How much longer to try.
    fn left(&mut self) -> Duration {
        let since = self.troubled_since.get_or_insert_with(Instant::now);
        self.without_contact.saturating_sub(since.elapsed())
    }
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
    let mut patience = Patience::new(give_up_after);
    let mut fate = Fate::CertainlyNotAccepted;
    let mut backoff = PAUSE_MIN;
    loop {
        match fate {
            Fate::CertainlyNotAccepted => submission.stamp_again(),
            Fate::Unknown => submission.keep_fresh(),
        }
        let (pause, failure, left) = match attempt(client, submission).await? {
            Verdict::Accepted(accepted) => return Ok(*accepted),
            Verdict::Over(failure) => return Err(failure),
            Verdict::Astray(failure) => return Err(astray(failure, fate, submission)),
            Verdict::Busy { pause, failure } => {
                patience.answered();
                let left = give_up_after.saturating_sub(began.elapsed());
                (pause, failure, left)
            }
            Verdict::NotReached(failure) => {
                if fate == Fate::CertainlyNotAccepted && !worth_another_try(client, &failure) {
                    return Err(failure);
                }
                (backoff, failure, patience.left())
            }
            Verdict::Unknown(failure) => {
                fate = Fate::Unknown;
                if matches!(failure, Failure::Lost { .. }) {
                    patience.met();
                }
                (backoff, failure, patience.left())
            }
        };
        let must_not_repeat = fate == Fate::Unknown && submission.delivery_id().is_none();
        if must_not_repeat || pause > left {
            return Err(given_up(failure, fate, submission));
        }
        note(&announcement(&failure, fate, pause));
        tokio::time::sleep(pause).await;
        backoff = (backoff * 2).min(PAUSE_MAX);
    }
}

/// Sends the request once.
async fn attempt(client: &Client, submission: &Submission) -> Result<Verdict, Failure> {
    let reply = client.transmit(submission.to_request(client)?).await;
    Ok(match reply {
        Ok(reply) => judge(reply, submission),
        Err(failure @ Failure::NotReached { .. }) => Verdict::NotReached(failure),
        Err(failure @ Failure::Usage { .. }) => Verdict::Over(failure),
        Err(failure) => Verdict::Unknown(failure),
    })
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
        let failure = reply.foreign();
        return match is_passed_on(reply.status) {
            true => Verdict::Unknown(failure),
            false => Verdict::Astray(failure),
        };
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

/// Whether the request may have reached cutover although something else answered: it was in trouble, or
/// has put a page of its own in the place of cutover's word. A redirect, a `404` and the like come from
/// whoever did not know where the request belongs.
fn is_passed_on(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
        || status == StatusCode::CONFLICT
        || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether a problem tells of this request's own deployment, and not of a refusal.
fn is_about_this(problem: &Problem, status: StatusCode, submission: &Submission) -> bool {
    if ["in_progress", "not_ended"].contains(&problem.code.as_str()) {
        return true;
    }
    let Some(deployment) = &problem.deployment else {
        return false;
    };
    match submission.delivery_id() {
        Some(id) => deployment.delivery_id.as_deref() == Some(id),
        // What stands in the way is shown with a 409 only. One that has not ended goes on without us, and a
        // request without a delivery id must not be sent twice.
        None => status != StatusCode::CONFLICT,
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

/// The failure of an attempt that did not come to cutover. An earlier one may have.
fn astray(failure: Failure, fate: Fate, submission: &Submission) -> Failure {
    match fate {
        Fate::CertainlyNotAccepted => Failure::Foreign {
            what: format!("{failure}; nothing was changed"),
            hint: failure.hint().to_owned(),
        },
        Fate::Unknown => given_up(failure, fate, submission),
    }
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
