//! A stream that is cut, and a Docker that says what we do not know.

use std::sync::Mutex;

use super::*;
use crate::docker::fake::{FakeDocker, Reply, container_json};

fn event(action: &str, seconds: i64, attributes: serde_json::Value) -> String {
    let event = serde_json::json!({
        "Type": "container", "Action": action, "time": seconds, "timeNano": seconds * 1_000_000_000,
        "Actor": {"ID": "c", "Attributes": attributes},
    });
    format!("{event}\n")
}

/// A Docker whose event streams the test feeds, one after the other.
fn feeding() -> (FakeDocker, mpsc::Receiver<mpsc::Sender<String>>) {
    let (feeds, feed) = mpsc::channel(16);
    let feeds = Mutex::new(feeds);
    let fake = FakeDocker::start(move |asked| {
        if asked.line.starts_with("GET /events") {
            let (sender, pieces) = mpsc::channel(16);
            let _ = feeds.lock().expect("no panic").try_send(sender);
            return Reply::Pieces(pieces);
        }
        Reply::Json(200, container_json("c", true))
    });
    (fake, feed)
}

async fn next(events: &mut ContainerEvents) -> Change {
    tokio::time::timeout(Duration::from_secs(10), events.next())
        .await
        .expect("an event")
        .change
}

#[tokio::test]
async fn events_are_told_in_order_and_unknown_ones_left_out() {
    let (fake, mut feed) = feeding();
    let mut events = fake
        .client()
        .watch_container("c")
        .await
        .expect("subscribed");
    let feed = feed.recv().await.expect("a stream");
    let text = [
        event("start", 100, serde_json::json!({})),
        event("checkpoint", 100, serde_json::json!({})),
        "not JSON\n".to_owned(),
        event("health_status: healthy", 101, serde_json::json!({})),
        event("kill", 102, serde_json::json!({"signal": "15"})),
        event("die", 103, serde_json::json!({"exitCode": "143"})),
        event(
            "rename",
            104,
            serde_json::json!({"name": "new", "oldName": "/old"}),
        ),
        event("destroy", 105, serde_json::json!({})),
    ]
    .concat();
    // Cut anywhere: the pieces of a chunked answer are not lines.
    for piece in text.as_bytes().chunks(37) {
        let piece = String::from_utf8(piece.to_vec()).expect("ASCII");
        feed.send(piece).await.expect("a reader");
    }
    for expected in [
        Change::Started,
        Change::Health(HealthState::Healthy),
        Change::Signalled {
            signal: "15".to_owned(),
        },
        Change::Died { exit_code: 143 },
        Change::Renamed {
            name: "new".to_owned(),
        },
        Change::Destroyed,
    ] {
        assert_eq!(next(&mut events).await, expected);
    }
}

#[tokio::test]
async fn a_cut_stream_goes_on_where_it_ended_and_the_container_is_looked_at() {
    let (mut fake, mut feeds) = feeding();
    let mut events = fake
        .client()
        .watch_container("c")
        .await
        .expect("subscribed");
    let feed = feeds.recv().await.expect("a stream");
    feed.send(event("start", 100, serde_json::json!({})))
        .await
        .expect("a reader");
    assert_eq!(next(&mut events).await, Change::Started);
    drop(feed);
    fake.go_away();
    fake.come_back();
    let Change::Resync(container) = next(&mut events).await else {
        panic!("the container is described after the gap");
    };
    assert!(container.state.running);
    let feed = feeds.recv().await.expect("another stream");
    let died = event("die", 101, serde_json::json!({"exitCode": "1"}));
    feed.send(died).await.expect("a reader");
    assert_eq!(next(&mut events).await, Change::Died { exit_code: 1 });
    let asked = fake.asked();
    let last = asked
        .iter()
        .rfind(|asked| asked.line.contains("/events"))
        .expect("asked");
    assert!(last.line.contains("since=100.000000001&"), "{}", last.line);
}

#[tokio::test]
async fn a_container_that_is_gone_after_the_gap_counts_as_removed() {
    let (feeds, mut feed) = mpsc::channel(16);
    let feeds = Mutex::new(feeds);
    let fake = FakeDocker::start(move |asked| {
        if asked.line.starts_with("GET /events") {
            let (sender, pieces) = mpsc::channel(16);
            let _ = feeds.lock().expect("no panic").try_send(sender);
            return Reply::Pieces(pieces);
        }
        Reply::error(404, "No such container: c")
    });
    let mut events = fake
        .client()
        .watch_container("c")
        .await
        .expect("subscribed");
    drop(feed.recv().await.expect("a stream"));
    assert_eq!(next(&mut events).await, Change::Destroyed);
}

#[tokio::test]
async fn nobody_to_subscribe_at_is_an_error_at_once() {
    let fake = FakeDocker::start(|_| Reply::error(500, "no events today"));
    let error = fake
        .client()
        .watch_container("c")
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("no events today"), "{error}");
}

#[test]
fn a_query_is_encoded() {
    assert_eq!(
        percent_encoded(r#"{"a":["ä~"]}"#),
        "%7B%22a%22%3A%5B%22%C3%A4~%22%5D%7D"
    );
}
