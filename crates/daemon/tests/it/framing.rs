//! What is one request and what is not, and that hyper never sees the latter.

use cutover_daemon::http::Limits;
use tokio::io::AsyncReadExt as _;

use crate::served::Served;

#[tokio::test]
async fn a_head_that_could_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    let served = Served::plain(Limits::default());
    let long = format!("x-long: {}\r\n", "a".repeat(17 * 1024));
    let many: String = (0..65).map(|i| format!("x-{i}: 1\r\n")).collect();
    for (headers, status, code) in [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            400,
            "bad_request",
        ),
        (
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            400,
            "bad_request",
        ),
        (
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            400,
            "bad_request",
        ),
        ("Content-Length: -4\r\n", 400, "bad_request"),
        (
            "Content-Length: 18446744073709551615\r\n",
            413,
            "body_too_large",
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", 400, "bad_request"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            400,
            "bad_request",
        ),
        ("Bad Name: 1\r\n", 400, "bad_request"),
        ("x: \0\r\n", 400, "bad_request"),
        ("x: a\n", 400, "bad_request"),
        (&many, 431, "headers_too_large"),
        (&long, 431, "headers_too_large"),
    ] {
        let mut raw = served.connect().await;
        raw.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{headers}\r\nabcd").as_bytes())
            .await;
        let answer = raw.answer().await.expect("an answer");
        let shown: String = headers.chars().take(60).collect();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{shown:?}"
        );
        assert_eq!(answer.header("connection"), Some("close"), "{shown:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert!(raw.ended().await, "{shown:?}");
    }
    let counted = served.metrics.encode(&[]).expect("text");
    for line in [
        r#"cutover_http_refusals_total{code="bad_request"} 9"#,
        r#"cutover_http_requests_total{method="other",route="none",status="400"} 9"#,
        r#"cutover_http_requests_total{method="other",route="none",status="413"} 1"#,
    ] {
        assert!(counted.contains(line), "{line} not in:\n{counted}");
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_in_words() {
    let served = Served::plain(Limits::default());
    let answer = served.ask(b"GET /<x> HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "bad_request")
    );
}

#[tokio::test]
async fn an_endless_head_is_refused_before_it_ends() {
    let served = Served::plain(Limits::default());
    let answer = served.ask(&[b'a'; 20 * 1024]).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (431, "headers_too_large")
    );
}

#[tokio::test]
async fn requests_follow_each_other_on_a_connection_each_with_its_own_body() {
    let served = Served::plain(Limits::default());
    let mut raw = served.connect().await;
    // Sent in one go, so that heads and bodies share packets.
    raw.send(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
          GET / HTTP/1.1\r\nHost: a\r\n\r\n\
          \r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nthree",
    )
    .await;
    for expected in ["one", "fine", "three"] {
        let answer = raw.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    }
    raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(raw.answer().await.expect("an answer").body, "fine");
}

#[tokio::test]
async fn a_bad_head_after_a_good_request_does_not_spoil_the_answer_to_it() {
    let served = Served::plain(Limits::default());
    let mut raw = served.connect().await;
    raw.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")
        .await;
    let first = raw.answer().await.expect("an answer");
    assert_eq!((first.status, first.body.as_str()), (200, "slow"));
    let second = raw.answer().await.expect("an answer");
    assert_eq!(
        (second.status, second.code().as_str()),
        (400, "bad_request")
    );
    assert!(raw.ended().await);
}

#[tokio::test]
async fn a_chunked_body_is_read_whole_and_nothing_behind_it_is() {
    let served = Served::plain(Limits::default());
    let mut raw = served.connect().await;
    raw.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    raw.send(b"3\r\ntwo\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(answer.body, "onetwo");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(raw.ended().await);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let served = Served::plain(Limits::default());
    let mut raw = served.connect().await;
    raw.send(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    let mut told = [0; 25];
    raw.io
        .read_exact(&mut told)
        .await
        .expect("an interim answer");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    raw.send(b"one").await;
    assert_eq!(raw.answer().await.expect("an answer").body, "one");
}
