//! The GitHub side against the live daemon: the action's script, and the `curl` of the documentation.

use std::process::{Command, Output};

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Network, SECRET, Scene, Wishes};

use crate::{CUTOVER, identity};

const ACTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../action/deploy.sh");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/github-actions.md");

fn scene() -> Scene {
    Scene::new(
        CUTOVER,
        &Wishes {
            network: Network::Loopback,
            ..Wishes::default()
        },
    )
}

/// Runs the action's script as a runner does; `run_id` makes the delivery.
fn action(scene: &Scene, sha: &str, run_id: &str) -> (Output, String) {
    let summary = scene.dir().join(format!("summary-{run_id}.md"));
    let output = Command::new("bash")
        .arg(ACTION)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([
            ("CUTOVER_URL", scene.url().as_str()),
            ("CUTOVER_SERVICE", "app"),
            ("CUTOVER_SHA", sha),
            ("CUTOVER_SECRET", SECRET),
            ("CUTOVER_TIMEOUT_MINUTES", "2"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY_ID", "1"),
            ("GITHUB_RUN_ID", run_id),
            ("GITHUB_RUN_ATTEMPT", "1"),
        ])
        .env("GITHUB_STEP_SUMMARY", &summary)
        .env("GITHUB_OUTPUT", scene.dir().join("output"))
        .output()
        .expect("bash runs");
    (output, std::fs::read_to_string(summary).unwrap_or_default())
}

#[test]
fn the_action_shows_every_outcome_and_passes_or_fails_by_it() {
    let mut scene = scene();
    let good = scene.push(&ImageSpec::new("good"));
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    for (sha, run, exit, word) in [
        (good.as_str(), "1", 0, "succeeded"),
        (good.as_str(), "2", 0, "unchanged"),
        (bad.as_str(), "3", 3, "rolled_back"),
        (&"d".repeat(40), "4", 1, "failed"),
    ] {
        let (output, summary) = action(&scene, sha, run);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{word}: {text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let outputs = std::fs::read_to_string(scene.dir().join("output")).expect("outputs");
        assert!(outputs.contains(&format!("outcome={word}")), "{outputs}");
        assert!(!summary.is_empty());
        assert_eq!(text.contains("::error"), exit != 0, "{text}");
        assert!(text.contains("::group::"), "{text}");
    }
    assert_eq!(scene.serves(), "good");
    let (_, summary) = action(&scene, &bad, "5");
    assert!(
        summary.contains("cannot connect to the database"),
        "{summary}"
    );
}

#[test]
fn the_action_sent_twice_deploys_once() {
    let mut scene = scene();
    let one = scene.push(&ImageSpec::new("one"));
    let (first, _) = action(&scene, &one, "7");
    let (second, _) = action(&scene, &one, "7");
    assert_eq!(
        (first.status.code(), second.status.code()),
        (Some(0), Some(0))
    );
    assert_eq!(scene.history().len(), 1);
}

#[test]
fn curl_and_openssl_alone_deploy_as_the_documentation_says() {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    let (_, rest) = document
        .split_once("```bash curl-deploy\n")
        .expect("the snippet");
    let (snippet, _) = rest.split_once("```").expect("its end");
    let mut scene = scene();
    let good = scene.push(&ImageSpec::new("good"));
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    let run = |scene: &Scene, sha: &str, secret: &std::path::Path| {
        Command::new("bash")
            .args(["-c", snippet])
            .envs([
                ("URL", scene.url().as_str()),
                ("SERVICE", "app"),
                ("SHA", sha),
            ])
            .env("SECRET_FILE", secret)
            .output()
            .expect("bash runs")
    };
    let output = run(&scene, &good, &scene.secret_file());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The answer holds the token that reads the deployment, and CI's log is read by many.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200\n");
    assert_eq!(scene.serves(), "good");
    let before = identity(&scene);
    scene.write(
        "wrong",
        "a secret that the daemon does not know, long enough",
    );
    let refused = run(&scene, &bad, &scene.dir().join("wrong"));
    assert_eq!(refused.status.code(), Some(22), "curl -f fails on 401");
    assert_eq!(identity(&scene), before);
    let rolled_back = run(&scene, &bad, &scene.secret_file());
    assert_eq!(rolled_back.status.code(), Some(22), "curl -f fails on 500");
    assert_eq!(scene.serves(), "good");
}

#[test]
fn the_client_signs_over_the_network_and_a_wrong_secret_is_refused() {
    let mut scene = scene();
    let good = scene.push(&ImageSpec::new("good"));
    let url = scene.url();
    let secret = scene.secret_file().display().to_string();
    drop(
        scene
            .run(&[
                "deploy",
                "app",
                &good,
                "--url",
                &url,
                "--secret-file",
                &secret,
                "--json",
            ])
            .expect("succeeded"),
    );
    let before = identity(&scene);
    scene.write(
        "wrong",
        "a secret that the daemon does not know, long enough",
    );
    let wrong = scene.dir().join("wrong").display().to_string();
    let refused = scene.run(&[
        "deploy",
        "app",
        &good,
        "--url",
        &url,
        "--secret-file",
        &wrong,
        "--json",
    ]);
    assert_eq!(
        (refused.exit, refused.body["code"].as_str()),
        (1, Some("unauthorized")),
        "{refused:#?}"
    );
    assert_eq!(identity(&scene), before);
}
