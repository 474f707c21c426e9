//! What containers write.

use cutover_api::event::OutputLine;
use cutover_daemon::docker::output::OutputLimits;
use cutover_testkit::images::ImageSpec;
use futures_util::StreamExt as _;

use crate::bench::{Bench, PATIENCE, eventually};

pub(crate) const LIMITS: OutputLimits = OutputLimits {
    lines_max: 100,
    bytes_max: 10_000,
};

fn stderr(line: &str) -> OutputLine {
    OutputLine {
        stream: "stderr".to_owned(),
        line: line.to_owned(),
    }
}

#[tokio::test]
async fn the_output_is_followed_to_its_end_and_read_back() {
    let bench = Bench::new();
    let spec = ImageSpec::new("1").env("EXIT_AT_ONCE", "3");
    let id = bench.container(&spec, &[]);
    bench.docker.ensure_started(&id).await.expect("started");
    let expected = [
        stderr("shopd 1: starting"),
        stderr("shopd 1: reading the configuration"),
        stderr("shopd 1: fatal: cannot connect to the database"),
    ];
    let follow = bench.docker.follow_output(&id).collect::<Vec<_>>();
    let followed = tokio::time::timeout(PATIENCE, follow)
        .await
        .expect("it ends");
    assert_eq!(followed, expected);
    let read = bench
        .docker
        .last_output(&id, LIMITS)
        .await
        .expect("readable");
    assert_eq!(read, expected);
    let few = OutputLimits {
        lines_max: 1,
        ..LIMITS
    };
    assert_eq!(
        bench.docker.last_output(&id, few).await.expect("readable"),
        expected[2..]
    );
    let short = OutputLimits {
        bytes_max: 60,
        ..LIMITS
    };
    assert_eq!(
        bench
            .docker
            .last_output(&id, short)
            .await
            .expect("readable"),
        expected[2..]
    );
}

#[tokio::test]
async fn standard_output_and_error_are_told_apart_but_not_on_a_terminal() {
    let bench = Bench::new();
    let print = ImageSpec::new("1").cmd(&["/shopd", "cat", "/etc/hosts"]);
    let print = bench.image(&print);
    let complain = bench.image(&ImageSpec::new("1").env("EXIT_AT_ONCE", "3"));
    for (image, options, stream, words) in [
        (&print, &[][..], "stdout", "127.0.0.1\tlocalhost"),
        (&complain, &[][..], "stderr", "shopd 1: starting"),
        (&complain, &["--tty"][..], "stdout", "shopd 1: starting"),
    ] {
        let id = bench.create(image, options);
        bench.docker.ensure_started(&id).await.expect("started");
        eventually("the output", async || {
            let read = bench
                .docker
                .last_output(&id, LIMITS)
                .await
                .expect("readable");
            read.first()
                .is_some_and(|line| (line.stream.as_str(), line.line.as_str()) == (stream, words))
        })
        .await;
    }
}

#[tokio::test]
async fn output_that_cannot_be_read_back_is_no_output() {
    let bench = Bench::new();
    let id = bench.container(&ImageSpec::new("1"), &["--log-driver", "none"]);
    bench.docker.ensure_started(&id).await.expect("started");
    let error = bench
        .docker
        .last_output(&id, LIMITS)
        .await
        .expect_err("none");
    assert!(
        error.to_string().contains("does not support reading"),
        "{error}"
    );
    let follow = bench.docker.follow_output(&id).collect::<Vec<_>>();
    let followed = tokio::time::timeout(PATIENCE, follow)
        .await
        .expect("it ends");
    assert_eq!(followed, []);
}
