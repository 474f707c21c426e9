//! Watching a deployment to its end, over connections that come and go.
//!
//! The stream of events is opened again where it was cut, and after each cut the deployment's view is
//! read once, so that a proxy that holds streams back only delays what is shown and never the outcome.

use std::time::{Duration, Instant};

use cutover_api::deployment::{Deployment, EventLine};
use cutover_api::event::{
    JOURNAL_EVENT, OUTCOME_EVENT, OUTPUT_EVENT, OutputLine, PROGRESS_EVENT, PullProgress,
};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, StatusCode};

use crate::client::credentials::Secret;
use crate::client::failure::Failure;
use crate::client::reply::Reply;
use crate::client::stream::{EventParser, ServerEvent};
use crate::client::submit::{PAUSE_MAX, PAUSE_MIN};
use crate::client::{Answer, Client, transport};

/// A stream that is silent for longer is taken for lost: the daemon sends a comment every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// An answer that is no stream is read for at most this long: a refusal is short and comes in one piece.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What is told while a deployment is watched.
#[derive(Debug)]
pub(crate) enum Sight<'a> {
    /// A journal event, each exactly once and in order.
    Event(&'a EventLine),
    /// How far the pull is.
    Progress(PullProgress),
    /// A line of the new container's output, and the bytes that it came in.
    Output(&'a OutputLine, &'a str),
    /// Something about the connection.
    Note(&'a str),
}

/// One deployment being watched.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    client: Client,
    id: &'a str,
    last_seq: u64,
    last_contact: Instant,
    backoff: Duration,
}

/// How one stream ended.
enum End {
    Outcome(Box<Answer<Deployment>>),
    Cut(Failure),
    Over(Failure),
}

impl<'a> Follower<'a> {
    /// Watches deployment `id`, which `watch_token` reads over the network.
    pub(crate) fn new(client: &Client, id: &'a str, watch_token: Option<Secret>) -> Self {
        Self {
            client: client.with_token(watch_token),
            id,
            last_seq: 0,
            last_contact: Instant::now(),
            backoff: PAUSE_MIN,
        }
    }

    /// Follows until the deployment has ended and returns its final view.
    ///
    /// # Errors
    /// That the daemon could not be reached for `give_up_after`, or does not show the deployment.
    pub(crate) async fn follow(
        &mut self,
        give_up_after: Duration,
        tell: &mut dyn FnMut(Sight<'_>),
    ) -> Result<Answer<Deployment>, Failure> {
        let mut cuts: u32 = 0;
        loop {
            let cut = match self.read_stream(tell).await {
                End::Outcome(answer) => return Ok(self.conclude(*answer, tell).await),
                End::Over(failure) => return Err(self.out_of_sight(&failure)),
                End::Cut(failure) => failure,
            };
            if let Ok(view) = self.view().await {
                self.last_contact = Instant::now();
                self.catch_up(&view.value, tell);
                if view.value.outcome.is_some() {
                    return Ok(view);
                }
            }
            if self.last_contact.elapsed() + self.backoff > give_up_after {
                return Err(self.out_of_sight(&cut));
            }
            cuts += 1;
            if cuts == 1 || self.backoff >= PAUSE_MAX {
                tell(Sight::Note(&format!(
                    "{cut}; the deployment goes on there, attaching to it again"
                )));
            }
            tokio::time::sleep(self.backoff).await;
            self.backoff = (self.backoff * 2).min(PAUSE_MAX);
        }
    }

    /// Reads one stream until it ends in whatever way.
    async fn read_stream(&mut self, tell: &mut dyn FnMut(Sight<'_>)) -> End {
        let mut request = self
            .client
            .request(Method::GET, &["v1", "deployments", self.id, "events"])
            .header(ACCEPT, "text/event-stream");
        if self.last_seq > 0 {
            request = request.header("last-event-id", self.last_seq.to_string());
        }
        let endpoint = self.client.endpoint().clone();
        let mut response = match tokio::time::timeout(SILENCE_MAX, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return End::Cut(transport::explain(&error, &endpoint)),
            Err(_) => return End::Cut(silent()),
        };
        if response.status() != StatusCode::OK {
            return self.read_refusal(response).await;
        }
        if !is_event_stream(response.headers()) {
            // A maintenance page is no sign of life from the daemon, however many bytes it has.
            let page = Reply::new(response.status(), response.headers(), Vec::new());
            return End::Cut(page.foreign());
        }
        let mut parser = EventParser::default();
        loop {
            let chunk = match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return End::Cut(ended_early()),
                Ok(Err(error)) => return End::Cut(transport::explain(&error, &endpoint)),
                Err(_) => return End::Cut(silent()),
            };
            self.last_contact = Instant::now();
            for event in parser.take(&chunk) {
                self.backoff = PAUSE_MIN;
                if let Some(outcome) = self.see(&event, tell) {
                    return End::Outcome(Box::new(outcome));
                }
            }
        }
    }

    /// Reads an answer that is no stream. Whoever gave it need not end it.
    async fn read_refusal(&self, response: Response) -> End {
        let status = response.status();
        match tokio::time::timeout(REFUSAL_TIMEOUT, self.client.receive(response)).await {
            Ok(Ok(reply)) => refusal(reply),
            Ok(Err(failure)) => End::Cut(failure),
            Err(_) => End::Cut(Failure::Lost {
                what: format!("an answer with the status {status} did not come to its end"),
                hint: String::new(),
            }),
        }
    }

    /// Passes an event on; returns the outcome if it is that. What is not understood is of a newer daemon
    /// and left out.
    fn see(
        &mut self,
        event: &ServerEvent,
        tell: &mut dyn FnMut(Sight<'_>),
    ) -> Option<Answer<Deployment>> {
        match event.name.as_str() {
            JOURNAL_EVENT => {
                if let Ok(line) = serde_json::from_str(&event.payload) {
                    self.see_journal(&line, tell);
                }
            }
            PROGRESS_EVENT => {
                if let Ok(progress) = serde_json::from_str(&event.payload) {
                    tell(Sight::Progress(progress));
                }
            }
            OUTPUT_EVENT => {
                if let Ok(line) = serde_json::from_str(&event.payload) {
                    tell(Sight::Output(&line, &event.payload));
                }
            }
            OUTCOME_EVENT => {
                return serde_json::from_str(&event.payload)
                    .ok()
                    .map(|value| Answer {
                        value,
                        body: event.payload.clone().into_bytes(),
                    });
            }
            _ => {}
        }
        None
    }

    /// Passes a journal event on unless it was seen before.
    fn see_journal(&mut self, line: &EventLine, tell: &mut dyn FnMut(Sight<'_>)) {
        if line.seq > self.last_seq {
            self.last_seq = line.seq;
            tell(Sight::Event(line));
        }
    }

    /// Passes on the events of a view that the stream did not bring.
    fn catch_up(&mut self, view: &Deployment, tell: &mut dyn FnMut(Sight<'_>)) {
        for line in &view.events {
            self.see_journal(line, tell);
        }
    }

    /// The deployment's view.
    async fn view(&self) -> Result<Answer<Deployment>, Failure> {
        self.client.get(&["v1", "deployments", self.id], &[]).await
    }

    /// The final view of a deployment known to have ended; `known` where it cannot be read any more.
    pub(crate) async fn conclude(
        &mut self,
        known: Answer<Deployment>,
        tell: &mut dyn FnMut(Sight<'_>),
    ) -> Answer<Deployment> {
        let view = match self.view().await {
            Ok(view) if view.value.outcome.is_some() => view,
            _ => known,
        };
        self.catch_up(&view.value, tell);
        view
    }

    /// The failure of having lost sight of a deployment that goes on.
    fn out_of_sight(&self, last: &Failure) -> Failure {
        let id = self.id;
        Failure::Lost {
            what: format!(
                "{last}; how deployment {id} ends is not known here: it goes on on the server"
            ),
            hint: format!("look on the server with `cutover show {id}`"),
        }
    }
}

/// What a stream's answer other than 200 means: come back, or never. Only cutover itself can say that it
/// does not show a deployment; what a proxy answers may be for the time of a restart.
fn refusal(reply: Reply) -> End {
    let passing = reply.status.is_server_error()
        || reply.status == StatusCode::TOO_MANY_REQUESTS
        || reply.status == StatusCode::REQUEST_TIMEOUT;
    match reply.into_failure() {
        refused @ Failure::Refused { .. } if !passing => End::Over(refused),
        failure => End::Cut(failure),
    }
}

/// Whether an answer is a stream of events, as cutover's are.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// A stream without a sign of life.
fn silent() -> Failure {
    Failure::Lost {
        what: format!(
            "no sign of life from the daemon for {} s",
            SILENCE_MAX.as_secs()
        ),
        hint: String::new(),
    }
}

/// A stream that ended without an outcome.
fn ended_early() -> Failure {
    Failure::Lost {
        what: "the daemon's stream of events ended early".to_owned(),
        hint: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_events_is_known_by_its_type_alone() {
        let of = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().expect("a value"));
            is_event_stream(&headers)
        };
        assert!(of("text/event-stream"));
        assert!(of("Text/Event-Stream ; charset=utf-8"));
        assert!(!of("text/html"));
        assert!(!of("text/event-stream-like"));
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
