//! Every outcome of a deployment, and what is on the machine after each.

use cutover_testkit::images::{HealthCheck, ImageSpec};
use cutover_testkit::prober::Prober;
use cutover_testkit::registry::{Auth, Login};
use cutover_testkit::scene::{HTTP_PROBE, Network, PATIENCE, PROMPT_PROBE, Scene, Wishes};

use crate::{CUTOVER, identity, kinds};

#[test]
fn the_first_deployment_creates_the_container() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    let ended = scene.deploy(&one).expect("succeeded");
    assert_eq!(scene.serves(), "one");
    let container = scene.container();
    assert_eq!(container["Id"], ended.deployment()["container"]);
    assert_eq!(container["Image"], ended.deployment()["image_id"]);
    assert_eq!(
        container["HostConfig"]["RestartPolicy"]["Name"],
        "unless-stopped"
    );
    assert_eq!(ended.deployment()["previous"], serde_json::Value::Null);
    assert_eq!(
        kinds(ended.deployment()),
        [
            "requested",
            "pull_started",
            "image_pinned",
            "stage_started",
            "staged",
            "switch_started",
            "switched",
            "verify_started",
            "committed",
            "succeeded"
        ]
    );
}

#[test]
fn a_good_release_replaces_the_old_one_and_is_remembered_in_the_env_file() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&one).expect("succeeded"));
    let (old, _) = identity(&scene);
    let prober = Prober::start(scene.address());
    prober.wait_for_answer(PATIENCE).expect("an answer");
    let ended = scene.deploy(&two).expect("succeeded");
    assert_eq!(scene.serves(), "two");
    prober
        .wait_for_next_answer(PATIENCE)
        .expect("another answer");
    let seen = prober.stop().expect("observations");
    assert_eq!(seen.versions(), ["one", "two"]);
    assert_eq!(ended.deployment()["previous"]["container"], old);
    assert!(
        ended.deployment()["outage_ms"].as_u64() > Some(0),
        "{:#}",
        ended.body
    );
    let env = std::fs::read_to_string(scene.project_directory().join(".env")).expect("an env file");
    assert_eq!(env, format!("APP_IMAGE_TAG={two}\n"));
}

#[test]
fn the_same_release_again_is_unchanged() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    drop(scene.deploy(&one).expect("succeeded"));
    let before = identity(&scene);
    drop(scene.deploy(&one).expect("unchanged"));
    assert_eq!(identity(&scene), before);
}

#[test]
fn a_changed_compose_file_is_deployed_although_the_tag_is_the_same() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    drop(scene.deploy(&one).expect("succeeded"));
    scene.write_compose(&format!(
        "{}    environment: {{ NEW: \"1\" }}\n",
        cutover_testkit::scene::SERVICE
    ));
    drop(scene.deploy(&one).expect("succeeded"));
    assert_eq!(scene.ask("/env?name=NEW").trim(), "1");
}

#[test]
fn an_image_that_exits_at_once_is_rolled_back_and_its_output_shown_masked() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let bad = scene.push(
        &ImageSpec::new("bad")
            .env("EXIT_AT_ONCE", "3")
            .env("SECRET_TOKEN", "tok-3n-that-nobody-may-see"),
    );
    drop(scene.deploy(&good).expect("succeeded"));
    let (id, _) = identity(&scene);
    let ended = scene.deploy(&bad).expect("rolled_back");
    assert_eq!(ended.cause(), "container_exited");
    let (status, body) = scene.post(&bad);
    assert_eq!(
        (status, body["code"].as_str()),
        (500, Some("rolled_back")),
        "{body:#}"
    );
    assert_eq!(
        scene.container()["Id"],
        id,
        "the very same container runs again"
    );
    assert_eq!(
        scene.container()["HostConfig"]["RestartPolicy"]["Name"],
        "unless-stopped"
    );
    assert_eq!(scene.serves(), "good");
    let log = ended.deployment()["log"].to_string();
    assert!(log.contains("cannot connect to the database"), "{log}");
    assert!(log.contains("with token ***"), "{log}");
    assert!(!ended.stdout.contains("nobody-may-see") && !ended.stderr.contains("nobody-may-see"));
    let daemon_log = std::fs::read_to_string(scene.log()).expect("a log");
    assert!(
        !daemon_log.contains("nobody-may-see"),
        "the daemon's own log shows a secret"
    );
}

#[test]
fn an_image_that_never_becomes_healthy_is_rolled_back_at_the_deadline() {
    let service = PROMPT_PROBE;
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            service,
            ..Wishes::default()
        },
    );
    let good = scene.push(&ImageSpec::new("good"));
    let bad = scene.push(&ImageSpec::new("bad").env("NEVER_HEALTHY", "1"));
    drop(scene.deploy(&good).expect("succeeded"));
    let (id, _) = identity(&scene);
    let ended = scene.deploy(&bad).expect("rolled_back");
    assert_eq!(ended.cause(), "unhealthy");
    assert_eq!(scene.container()["Id"], id);
    assert_eq!(scene.serves(), "good");
}

#[test]
fn dockers_own_health_check_decides_where_there_is_one() {
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            service: "",
            ..Wishes::default()
        },
    );
    let check = HealthCheck::default();
    let good = scene.push(&ImageSpec::new("good").health_check(check.clone()));
    let bad = scene.push(
        &ImageSpec::new("bad")
            .health_check(check)
            .env("NEVER_HEALTHY", "1"),
    );
    drop(scene.deploy(&good).expect("succeeded"));
    assert_eq!(scene.container()["State"]["Health"]["Status"], "healthy");
    let ended = scene.deploy(&bad).expect("rolled_back");
    assert_eq!(ended.cause(), "unhealthy");
    assert_eq!(scene.serves(), "good");
}

#[test]
fn without_any_check_the_container_must_run_for_the_monitor_time() {
    let service = "monitor = \"3s\"\n";
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            service,
            ..Wishes::default()
        },
    );
    let good = scene.push(&ImageSpec::new("good"));
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AFTER_MS", "100"));
    let ended = scene.deploy(&good).expect("succeeded");
    let seen = "ran for 3 s; it has no health check";
    assert_eq!(ended.deployment()["proof"], seen);
    assert!(!ended.stdout.contains("healthy "), "{}", ended.stdout);
    let ended = scene.deploy(&bad).expect("rolled_back");
    assert_eq!(ended.cause(), "container_exited");
    assert_eq!(ended.deployment()["proof"], seen, "of what is back");
    assert_eq!(scene.serves(), "good");
    let ended = scene.deploy(&good).expect("unchanged");
    let seen = ended.deployment()["proof"].as_str().unwrap_or_default();
    assert!(seen.ends_with("; it has no health check"), "{seen}");
}

/// It takes two seconds until it answers, new and when it is put back: whoever asks it gets no answer meanwhile.
#[test]
fn the_outage_lasts_until_the_service_answers() {
    let mut scene = Scene::usual(CUTOVER);
    let slow = |version| ImageSpec::new(version).env("START_DELAY_MS", "2000");
    let (one, two) = (scene.push(&slow("one")), scene.push(&slow("two")));
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    drop(scene.deploy(&one).expect("succeeded"));
    for (release, outcome) in [(&two, "succeeded"), (&bad, "rolled_back")] {
        let prober = Prober::start(scene.address());
        prober.wait_for_answer(PATIENCE).expect("an answer");
        let ended = scene.deploy(release).expect(outcome);
        let next = prober.wait_for_next_answer(PATIENCE);
        next.expect("another answer");
        let seen = prober.stop().expect("observations").outage();
        let told = |field: &str| ended.deployment()[field].as_u64().unwrap_or_default();
        let (outage, switch) = (told("outage_ms"), told("switch_ms"));
        assert!(outage >= 2_000, "{outage} ms told, {seen:?} seen");
        assert!(switch > 0 && switch < outage, "{switch} ms of {outage} ms");
    }
}

/// Its health check says so at once, and then it ends.
#[test]
fn a_release_that_is_healthy_at_once_and_ends_while_it_is_watched_is_rolled_back() {
    let service = format!("monitor = \"5s\"\n{HTTP_PROBE}");
    let wishes = Wishes {
        service: &service,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let good = scene.push(&ImageSpec::new("good"));
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AFTER_MS", "3000"));
    let ended = scene.deploy(&good).expect("succeeded");
    assert_eq!(ended.deployment()["proof"], "healthy for 5 s");
    let ended = scene.deploy(&bad).expect("rolled_back");
    assert_eq!(ended.cause(), "container_exited");
    assert_eq!(scene.serves(), "good");
}

#[test]
fn a_sha_that_does_not_exist_changes_nothing() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    let ended = scene.deploy(&"f".repeat(40)).expect("failed");
    assert_eq!(ended.cause(), "image_not_found");
    let (status, body) = scene.post(&"f".repeat(40));
    assert_eq!(
        (status, body["code"].as_str()),
        (422, Some("image_not_found")),
        "{body:#}"
    );
    assert_eq!(ended.deployment()["nothing_changed"], true);
    assert_eq!(identity(&scene), before);
}

#[test]
fn a_registry_that_is_down_changes_nothing_and_may_be_tried_again() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    scene.registry.stop().expect("a stop");
    let ended = scene.deploy(&next).expect("failed");
    assert_eq!(ended.cause(), "registry_unavailable");
    assert_eq!(ended.deployment()["cause"]["retriable"], true);
    assert_eq!(identity(&scene), before);
}

#[test]
fn a_registry_that_wants_a_login_gets_the_one_from_dockers_configuration() {
    let auth = Auth::Basic(Login::Symbols);
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            auth,
            ..Wishes::default()
        },
    );
    let good = scene.push(&ImageSpec::new("good"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    scene.write("docker/config.json", "{}");
    let ended = scene.deploy(&next).expect("failed");
    assert_eq!(ended.cause(), "registry_denied");
    let (status, body) = scene.post(&next);
    assert_eq!(
        (status, body["code"].as_str()),
        (424, Some("registry_denied")),
        "{body:#}"
    );
    assert_eq!(identity(&scene), before);
}

#[test]
fn an_image_for_another_platform_changes_nothing() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let foreign = scene.push(&ImageSpec::new("foreign").architecture("s390x"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    let ended = scene.deploy(&foreign).expect("failed");
    assert_eq!(ended.cause(), "platform_mismatch");
    assert_eq!(identity(&scene), before);
}

#[test]
fn a_first_deployment_that_fails_leaves_nothing_behind_and_the_next_one_may_come() {
    let network = Network::Loopback;
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            network,
            ..Wishes::default()
        },
    );
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    let good = scene.push(&ImageSpec::new("good"));
    let (url, secret) = (scene.url(), scene.secret_file().display().to_string());
    let signed = |sha: &str| {
        let ended = scene.run(&[
            "deploy",
            "app",
            sha,
            "--url",
            &url,
            "--secret-file",
            &secret,
            "--json",
        ]);
        assert!(!ended.outcome().is_empty(), "{ended:#?}");
        ended
    };
    let ended = signed(&bad).expect("rollback_failed");
    assert_eq!(ended.cause(), "no_rollback_target");
    assert!(scene.containers().is_empty());
    drop(signed(&good).expect("succeeded"));
    assert_eq!(scene.serves(), "good");
}

#[test]
fn a_service_that_was_stopped_is_put_back_as_it_was() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    drop(scene.deploy(&good).expect("succeeded"));
    scene.compose(&["stop"]);
    let (id, _) = identity(&scene);
    let ended = scene.deploy(&bad).expect("rolled_back");
    assert_eq!(ended.deployment()["previous"]["condition"], "stopped");
    let container = scene.container();
    assert_eq!(container["Id"], id);
    assert_eq!(container["State"]["Running"], false);
    // Nobody is told that it runs.
    let shown = scene.run(&["show", ended.deployment()["id"].as_str().expect("an id")]);
    assert!(!shown.stdout.contains("verified"), "{shown:#?}");
}

#[test]
fn a_host_port_taken_by_somebody_else_is_rolled_back() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let (id, _) = identity(&scene);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    scene.write_compose(&cutover_testkit::scene::SERVICE.replace("{port}", &port.to_string()));
    let ended = scene.deploy(&next).expect("rolled_back");
    assert_eq!(ended.cause(), "switch_failed");
    assert_eq!(scene.container()["Id"], id);
    assert_eq!(scene.serves(), "good");
}

#[test]
fn a_process_that_ignores_its_stop_signal_is_killed_after_its_grace_period() {
    let compose =
        cutover_testkit::scene::SERVICE.replace("stop_grace_period: 5s", "stop_grace_period: 1s");
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose: &compose,
            ..Wishes::default()
        },
    );
    let stubborn = scene.push(&ImageSpec::new("stubborn").env("IGNORE_SIGTERM", "1"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&stubborn).expect("succeeded"));
    drop(scene.deploy(&next).expect("succeeded"));
    assert_eq!(scene.serves(), "next");
}

#[test]
fn what_is_not_supported_yet_is_refused_with_nothing_changed() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    for deploy in ["replicas: 2", "update_config: { order: start-first }"] {
        scene.write_compose(&format!(
            "{}    deploy: {{ {deploy} }}\n",
            cutover_testkit::scene::SERVICE
        ));
        let ended = scene.deploy(&next).expect("failed");
        assert_eq!(ended.cause(), "unsupported_strategy", "{deploy}");
        assert_eq!(identity(&scene), before, "{deploy}");
    }
}

#[test]
fn a_release_that_runs_and_does_not_answer_any_more_is_not_unchanged() {
    // What runs is given up at the deadline too.
    let wishes = Wishes {
        service: PROMPT_PROBE,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let sick = scene.push(&ImageSpec::new("sick").env("UNHEALTHY_AFTER_MS", "10000"));
    drop(scene.deploy(&sick).expect("succeeded"));
    let (before, _) = identity(&scene);
    scene.wait_until("it is not healthy any more", || {
        scene.ask("/healthz") == "unhealthy"
    });
    let ended = scene.deploy(&sick).expect("succeeded");
    assert_eq!(ended.deployment()["previous"]["container"], before);
}

#[test]
fn a_restart_policy_that_docker_lacks_is_refused_with_nothing_changed() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    let service = cutover_testkit::scene::SERVICE;
    assert!(service.contains("restart: unless-stopped"), "{service}");
    scene.write_compose(&service.replace("unless-stopped", "unless-stoped"));
    let ended = scene.deploy(&next).expect("failed");
    assert_eq!(ended.cause(), "unsupported_strategy");
    assert_eq!(identity(&scene), before);
}
