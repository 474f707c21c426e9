//! Following a deployment as it happens, and taking up where the connection broke.

use cutover_testkit::images::ImageSpec;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Request, Wishes};

/// One server-sent event: its name, its id and its content.
type Sent = (String, Option<u64>, Value);

fn sent(stream: &str) -> Vec<Sent> {
    let event = |block: &str| {
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_start().to_owned())
        };
        let id = field("id:").map(|id| id.parse().expect("a number"));
        let content = serde_json::from_str(&field("data:")?).expect("JSON");
        Some((field("event:")?, id, content))
    };
    stream.split("\n\n").filter_map(event).collect()
}

async fn follow(daemon: &Daemon, id: &str, last: Option<u64>) -> Vec<Sent> {
    let request = Request::new(&format!("GET /v1/deployments/{id}/events")).by_operator();
    let request = match last {
        Some(last) => request.with("Last-Event-ID", last.to_string()),
        None => request,
    };
    let answer = daemon.ask(&request.to_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    sent(&answer.body)
}

fn journal(sent: &[Sent]) -> Vec<Value> {
    let recorded = sent.iter().filter(|(name, ..)| name == "journal");
    recorded.map(|(_, _, content)| content.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_holds_every_event_once_and_ends_with_the_outcome() {
    let mut daemon = Daemon::start(&Wishes::default()).await;
    let sha = daemon.push(&ImageSpec::new("one"));
    let request = daemon.deployment(&sha).with("Prefer", "respond-async");
    let accepted = daemon.ask(&request.to_bytes()).await.json();
    let id = accepted["deployment"]["id"].as_str().expect("an id");

    let live = follow(&daemon, id, None).await;
    let (name, _, outcome) = live.last().expect("an event");
    assert_eq!(
        (name.as_str(), &outcome["outcome"]),
        ("outcome", &json!("succeeded"))
    );
    assert_eq!(json!(journal(&live)), outcome["events"]);
    let ids: Vec<_> = live.iter().filter_map(|(_, id, _)| *id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());

    let shown = Request::new(&format!("GET /v1/deployments/{id}")).by_operator();
    assert_eq!(daemon.ask(&shown.to_bytes()).await.json(), *outcome);

    let resumed = follow(&daemon, id, Some(3)).await;
    assert_eq!(journal(&resumed), journal(&live)[3..]);
    let at_the_end = follow(&daemon, id, Some(ids.len() as u64)).await;
    assert_eq!(at_the_end.len(), 1);
    assert_eq!(at_the_end[0].0, "outcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_event_id_that_is_no_number_is_refused() {
    let (daemon, sha) = Daemon::deployed().await;
    let answer = daemon.ask(&daemon.deployment(&sha).to_bytes()).await.json();
    let id = answer["deployment"]["id"].as_str().expect("an id");
    let request = Request::new(&format!("GET /v1/deployments/{id}/events")).by_operator();
    let answer = daemon
        .ask(&request.with("Last-Event-ID", "x").to_bytes())
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (422, "invalid_parameter")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_opens_more_streams_than_a_share_of_the_places() {
    let mut daemon = Daemon::start(&Wishes::default()).await;
    let sha = daemon.push(&ImageSpec::new("one"));
    // The deployment does not end before the registry speaks again.
    daemon.registry.hold().expect("holds");
    let request = daemon.deployment(&sha).with("Prefer", "respond-async");
    let accepted = daemon.ask(&request.to_bytes()).await.json();
    let id = accepted["deployment"]["id"].as_str().expect("an id");
    let request = Request::new(&format!("GET /v1/deployments/{id}/events"));
    let token = accepted["watch_token"].as_str().expect("a token");
    let watching = request
        .clone()
        .with("Authorization", format!("Bearer {token}"));
    let mut streams = Vec::new();
    // Neither takes the places of all.
    for (request, share) in [(request.by_operator(), 32), (watching, 8)] {
        for _ in 0..share {
            let mut raw = daemon.connect().await;
            raw.send(&request.to_bytes()).await;
            raw.io.readable().await.expect("the stream begins");
            streams.push(raw);
        }
        let answer = daemon.ask(&request.to_bytes()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "overloaded"),
            "{}",
            answer.body
        );
        assert!(answer.header("retry-after").is_some());
    }
    daemon.registry.go_on().expect("goes on");
    for raw in &mut streams {
        let stream = raw.answer().await.expect("a stream");
        let all = sent(&stream.body);
        assert_eq!(all.last().map(|(name, ..)| name.as_str()), Some("outcome"));
    }
    assert_eq!(
        follow(&daemon, id, None).await.last().expect("an event").0,
        "outcome"
    );
}
