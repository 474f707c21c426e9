//! No peer holds a connection, a seat or the daemon's end for longer than its bound.

use std::time::Instant;

use cutover_daemon::http::Limits;

use crate::served::{Served, short_limits};
use crate::wire::PATIENCE;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_head_that_trickles_in_is_answered_when_its_time_is_over() {
    let served = Served::plain(short_limits());
    let began = Instant::now();
    let mut raw = served.connect().await;
    let head = b"GET / HTTP/1.1\r\nHost: somewhere.example";
    let answer = raw.trickle(head, short_limits().head_time / 4).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (408, "request_timeout")
    );
    assert!(raw.ended().await);
    assert!(began.elapsed() >= short_limits().head_time);
}

#[tokio::test]
async fn a_later_request_has_no_more_time_for_its_head_than_the_first() {
    let served = Served::plain(Limits {
        idle_time: PATIENCE * 4,
        ..short_limits()
    });
    let mut raw = served.connect().await;
    raw.send(REQUEST).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 200);
    raw.send(b"GET / HTTP/1.1\r\n").await;
    let answer = raw.answer().await.expect("the head's time is over");
    assert_eq!(answer.code(), "request_timeout");
    assert!(raw.ended().await);
}

#[tokio::test]
async fn a_connection_that_says_nothing_ends_without_an_answer() {
    let served = Served::plain(short_limits());
    let mut silent = served.connect().await;
    assert!(silent.answer().await.is_none());
    let mut idle = served.connect().await;
    idle.send(REQUEST).await;
    assert_eq!(idle.answer().await.expect("an answer").status, 200);
    assert!(idle.answer().await.is_none());
}

#[tokio::test]
async fn an_answer_may_take_longer_than_any_silence_of_the_client() {
    let served = Served::plain(short_limits());
    let mut raw = served.connect().await;
    raw.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(raw.answer().await.expect("an answer").body, "slow");
    raw.send(REQUEST).await;
    let next = raw
        .answer()
        .await
        .expect("the time between two requests begins after the answer");
    assert_eq!(next.body, "fine");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let limits = Limits {
        stop_time: PATIENCE * 4,
        ..short_limits()
    };
    let mut served = Served::plain(limits);
    let mut raw = served.connect().await;
    raw.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    raw.io.readable().await.expect("the answer begins");
    // The listener ends when its connections have ended; this one has a long answer to finish.
    served.stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, &mut served.task).await;
    ended
        .expect("the connection is cut")
        .expect("it does not panic");
}

#[tokio::test]
async fn a_flood_of_silent_connections_does_not_keep_a_request_out() {
    let limits = Limits {
        connections_max: 8,
        head_time: PATIENCE * 2,
        ..short_limits()
    };
    let served = Served::plain(limits);
    let mut flood = Vec::new();
    for _ in 0..40 {
        let mut raw = served.connect().await;
        raw.send(b"GET").await;
        flood.push(raw);
    }
    assert_eq!(served.ask(REQUEST).await.status, 200);
    assert!(flood[0].ended().await, "the oldest gave way");
}

#[tokio::test]
async fn a_flood_from_one_host_does_not_end_the_request_of_another() {
    let limits = Limits {
        connections_max: 8,
        head_time: PATIENCE * 2,
        ..short_limits()
    };
    let served = Served::plain(limits);
    let (begun, rest) = REQUEST.split_at(7);
    let mut honest = served.connect_from([127, 0, 0, 2]).await;
    honest.send(begun).await;
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(served.connect_from([127, 0, 0, 1]).await);
    }
    for raw in &mut flood[..33] {
        assert!(raw.ended().await, "the flood takes seats of its own");
    }
    honest.send(rest).await;
    assert_eq!(honest.answer().await.expect("an answer").status, 200);
    let counted = served.metrics.encode(&[]).expect("text");
    assert!(
        counted.contains("cutover_connections_evicted_total 33"),
        "{counted}"
    );
}

#[tokio::test]
async fn a_listener_that_is_told_to_stop_finishes_its_answers_and_accepts_nothing_more() {
    let limits = Limits {
        stop_time: PATIENCE,
        idle_time: PATIENCE * 2,
        ..short_limits()
    };
    let mut served = Served::plain(limits);
    let mut idle = served.connect().await;
    idle.send(REQUEST).await;
    assert!(idle.answer().await.is_some());
    let mut busy = served.connect().await;
    busy.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // The request is being answered once the connection behind it is.
    assert_eq!(served.ask(REQUEST).await.status, 200);
    served.stop.cancel();
    let answer = busy.answer().await.expect("the answer under way");
    assert_eq!(answer.body, "slow");
    assert!(idle.answer().await.is_none());
    let ended = tokio::time::timeout(PATIENCE, &mut served.task).await;
    ended.expect("it ends").expect("it does not panic");
    assert!(
        tokio::net::TcpStream::connect(served.address)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever_for_an_answer() {
    let limits = Limits {
        stall_time: PATIENCE * 2,
        ..short_limits()
    };
    let mut served = Served::plain(limits);
    let mut raw = served.connect().await;
    raw.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    raw.io.readable().await.expect("the answer begins");
    served.stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, &mut served.task).await;
    ended.expect("it ends").expect("it does not panic");
}
