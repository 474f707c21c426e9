//! `GET /v1/deployments/{id}/events`: a deployment as it happens.
//!
//! The journal is the source: what is live only tells when to read it again. So a reader that falls
//! behind loses pull progress and output, never an event, and nothing is kept for it. The stream is
//! pulled by the connection; it is never ahead of it by more than one read of the journal.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cutover_api::event::{JOURNAL_EVENT, OUTCOME_EVENT, OUTPUT_EVENT, PROGRESS_EVENT};
use cutover_core::names::DeploymentId;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::broadcast;

use super::auth::{Caller, no_deployment};
use super::document::Resource;
use super::error::{ApiError, RequestCode};
use super::limits::EVENT_COMMENT_EVERY;
use super::streams::EventStream;
use super::{Front, unreadable, wire};
use crate::deployer::Live;

/// Where a reader that was cut off had got to.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx not to collect the stream before it passes it on.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How often the journal is read where nothing live is to be had of a deployment that has not ended:
/// in the moments around its start and its end.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// Follows one deployment.
///
/// Server-sent events: `journal` for every recorded event, with its number as `id`; `progress` and
/// `output`, live only; `outcome` with the whole deployment at the end. `Last-Event-ID` resumes.
#[utoipa::path(
    get,
    path = "/v1/deployments/{id}/events",
    operation_id = "follow_deployment",
    tag = "deployments",
    params(
        ("id" = String, Path, description = "The deployment's id"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The `id` of the last event that was received"),
    ),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        Resource,
    ),
    security(("watch_token" = []), ("operator_token" = []), ()),
)]
pub(super) async fn follow(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = DeploymentId::new(&id).map_err(|_| no_deployment())?;
    caller.may_read(&id)?;
    let found = front.journal().deployment(&id).await.map_err(unreadable)?;
    found.ok_or_else(no_deployment)?;
    let feed = Feed {
        _place: front.event_streams().open(&caller)?,
        live: None,
        sent: last_event_id(&headers)?,
        id,
        pending: VecDeque::new(),
        next: Next::Journal,
        front,
    };
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next_event().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    let keep_alive = KeepAlive::new().interval(EVENT_COMMENT_EVERY);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    response
        .headers_mut()
        .insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<u64, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(0);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(0);
    }
    // The journal counts up to `i64::MAX`.
    let number: Option<u64> = text
        .parse()
        .ok()
        .filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| {
        ApiError::new(
            RequestCode::InvalidParameter,
            "Last-Event-ID must be the number of an event",
        )
    })
}

/// What a feed does when nothing is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Read what was recorded since.
    Journal,
    /// Wait for something to happen.
    Live,
    /// Nothing: the outcome was sent.
    End,
}

/// One reader's position in one deployment.
#[derive(Debug)]
struct Feed {
    front: Front,
    id: DeploymentId,
    /// What happens from now on; taken before the journal is read, so that nothing falls between.
    live: Option<broadcast::Receiver<Live>>,
    /// The number of the last event that was sent.
    sent: u64,
    pending: VecDeque<Event>,
    next: Next,
    _place: EventStream,
}

impl Feed {
    async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            match self.next {
                Next::Journal => {
                    if let Err(error) = self.read_journal().await {
                        // The reader comes back with its Last-Event-ID; the log has the reason.
                        tracing::debug!(code = error.code().as_str(), "event stream cut");
                        return None;
                    }
                }
                Next::Live => match self.happening().await {
                    Some(event) => return Some(event),
                    None => self.next = Next::Journal,
                },
                Next::End => return None,
            }
        }
    }

    /// Takes over what was recorded since, and the outcome if that was the end.
    async fn read_journal(&mut self) -> Result<(), ApiError> {
        if self.live.is_none() {
            self.live = self.front.deployer().watch(&self.id);
        }
        // A disk that fails must not keep anybody waiting for an outcome that is known. Asked before the journal
        // is read, so that no event is left out that is there.
        let unrecorded = self.front.deployer().ended_unrecorded(&self.id);
        let journal = self.front.journal();
        let found = journal.deployment(&self.id).await.map_err(unreadable)?;
        let deployment = found.ok_or_else(no_deployment)?;
        let recorded = self.front.recorded(&self.id, self.sent).await?;
        for recorded in &recorded {
            let line = wire::event_line(recorded);
            self.pending
                .push_back(event(JOURNAL_EVENT, &line)?.id(line.seq.to_string()));
            self.sent = line.seq;
        }
        // An event may have been recorded after the deployment was read: then there is another turn.
        let is_whole = deployment.status().is_end() && self.sent >= deployment.events;
        if let Some(deployment) = unrecorded.or(is_whole.then_some(deployment)) {
            let view = self.front.view(&deployment).await?;
            self.pending.push_back(event(OUTCOME_EVENT, &view)?);
            self.next = Next::End;
        } else {
            self.next = Next::Live;
        }
        Ok(())
    }

    /// The next thing that is live only; `None` when the journal has more.
    async fn happening(&mut self) -> Option<Event> {
        let Some(live) = &mut self.live else {
            tokio::time::sleep(POLL_EVERY).await;
            return None;
        };
        match live.recv().await {
            Ok(Live::Recorded) | Err(broadcast::error::RecvError::Lagged(_)) => None,
            Ok(Live::Progress(progress)) => event(PROGRESS_EVENT, &progress).ok(),
            Ok(Live::Output(line)) => event(OUTPUT_EVENT, &line).ok(),
            Err(broadcast::error::RecvError::Closed) => {
                self.live = None;
                None
            }
        }
    }
}

fn event(name: &str, content: &impl Serialize) -> Result<Event, ApiError> {
    Event::default()
        .event(name)
        .json_data(content)
        .map_err(ApiError::internal)
}
