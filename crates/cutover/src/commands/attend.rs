//! What `deploy` and `rollback` share: a request is sent, its deployment followed, its end told.

use std::cell::{OnceCell, RefCell};
use std::time::Duration;

use cutover_api::deployment::Deployment;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::failure::Failure;
use crate::client::follow::Follower;
use crate::client::submission::Submission;
use crate::client::submit::{Accepted, submit};
use crate::client::{Answer, Client, Origin};
use crate::commands::Format;
use crate::exit::Exit;
use crate::render::conclusion::conclusion;
use crate::render::view::{self, Conclusion, Liveness, View};
use crate::render::{self, Audience};

/// Sends `submission`, follows the deployment to its end and prints how it ended.
///
/// # Errors
/// A refusal, or that the end could not be learned.
pub(super) async fn attend(
    client: &Client,
    mut submission: Submission,
    give_up_after: Duration,
    format: Format,
) -> anyhow::Result<Exit> {
    let service = submission.service().to_owned();
    let view = RefCell::new(view::choose(match format {
        Format::Text => Liveness::WhereItCanBe,
        Format::Json => Liveness::Never,
    }));
    let id = OnceCell::new();
    let ended = tokio::select! {
        ended = see_through(client, &mut submission, give_up_after, &view, &id) => ended,
        () = interruption() => Err(interrupted(&service, id.get())),
    };
    match ended {
        Ok(answer) => {
            view.borrow_mut().ended(
                &answer.value,
                match format {
                    Format::Text => Conclusion::Follows,
                    Format::Json => Conclusion::IsJson,
                },
            );
            let printed = match format {
                Format::Text => {
                    render::print(&conclusion(&answer.value, Audience::of_stdout().columns()))
                }
                Format::Json => render::print_body(&answer.body),
            };
            if let Err(error) = printed {
                // The exit code still says how the deployment ended.
                render::tell(&format!("cutover: the end could not be printed: {error}\n"));
            }
            Ok(Exit::of(&answer.value))
        }
        Err(failure) => {
            view.borrow_mut().failed(&service, &failure);
            Err(failure.into())
        }
    }
}

/// Sends the request and follows its deployment; `id` is set as soon as it is known.
async fn see_through(
    client: &Client,
    submission: &mut Submission,
    give_up_after: Duration,
    view: &RefCell<Box<dyn View>>,
    id: &OnceCell<String>,
) -> Result<Answer<Deployment>, Failure> {
    let note = &mut |text: &str| view.borrow_mut().note(text);
    let accepted = submit(client, submission, give_up_after, note).await?;
    let id = id.get_or_init(|| accepted.id.clone());
    if accepted.origin == Origin::Replayed {
        note("this request was accepted before; nothing is deployed twice");
    }
    view.borrow_mut()
        .accepted(submission.service(), submission.sha(), id);
    let mut follower = Follower::new(client, id, accepted.watch_token.clone());
    let tell = &mut |sight: crate::client::follow::Sight<'_>| view.borrow_mut().see(sight);
    match ended_already(accepted) {
        Some(answer) => Ok(follower.conclude(answer, tell).await),
        None => follower.follow(give_up_after, tell).await,
    }
}

/// The deployment, if it had ended when the daemon answered.
fn ended_already(accepted: Accepted) -> Option<Answer<Deployment>> {
    let value = accepted.deployment?;
    value.outcome?;
    Some(Answer {
        value,
        body: accepted.body,
    })
}

/// Waits for Ctrl-C, or for the signal that CI cancels a step with.
async fn interruption() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without handlers the signals end the command as they always did.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// That the command ends but the deployment does not.
fn interrupted(service: &str, id: Option<&String>) -> Failure {
    match id {
        Some(id) => Failure::Interrupted {
            what: format!("deployment {id} goes on on the server"),
            hint: format!(
                "watch it with `cutover logs {id} -f`, see its end with `cutover show {id}`, \
                 or stop it before it switches with `cutover cancel {id}`"
            ),
        },
        None => Failure::Interrupted {
            what: "the daemon had not answered yet; it may have accepted the request".to_owned(),
            hint: format!("look with `cutover status {service}`"),
        },
    }
}
