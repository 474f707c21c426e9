//! Hooks are run where Compose would run them, and by cutover where it stops or starts a container itself. What follows the
//! start of a new container is bounded: its hooks by the trial's deadline, its end by two seconds.

use cutover_testkit::faults::Fault;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{PROMPT_PROBE, SERVICE, Scene, Wishes};
use serde_json::{Value, json};

use crate::{CUTOVER, identity, newest_ended, said};

/// A service that notes in a file of the machine that its hooks were run.
const NOTING: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    stop_grace_period: 50s
    ports: [\"127.0.0.1:{port}:8080\"]
    volumes: [\"./notes:/notes\"]
    tmpfs: /ready
";

/// A hook that notes `NOTE`.
fn note(note: &str) -> String {
    format!("{{ command: [/shopd, note, /notes/all], environment: {{ NOTE: {note} }} }}")
}

/// A hook that never ends.
const HANGS: &str = "{ command: [/shopd, serve], environment: { LISTEN: \"8099\" } }";

/// A hook that fails.
const FAILS: &str = "{ command: [/shopd, cat, /no/such/file] }";

/// The project with these hooks of its service.
fn with(hooks: &[(&str, &[&str])]) -> String {
    let mut project = NOTING.to_owned();
    for (key, commands) in hooks {
        project.push_str(&format!("    {key}: [{}]\n", commands.join(", ")));
    }
    project
}

/// The scene of this project, where the release `one` runs.
fn noting(compose: &str, service: &str) -> Scene {
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose,
            service,
            ..Wishes::default()
        },
    );
    scene.write("project/notes/all", "");
    let one = scene.push(&ImageSpec::new("one"));
    drop(scene.deploy(&one).expect("succeeded"));
    scene
}

/// What was noted since the last time: version, note, directory and user.
fn notes(scene: &Scene) -> Vec<String> {
    let path = scene.project_directory().join("notes/all");
    let text = std::fs::read_to_string(&path).expect("the notes");
    scene.write("project/notes/all", "");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn pre_stop_hooks_are_run_in_the_old_container_before_it_is_stopped() {
    let first = "{ command: [/shopd, note, /notes/all], user: \"7\", working_dir: /notes, environment: { NOTE: $$5 } }";
    let secret = "{ command: [/shopd, note, /notes/all], environment: { NOTE: b, SECRET_TOKEN: hunter2-hunter2 } }";
    let project = with(&[("pre_stop", &[first, secret])]);
    let mut scene = noting(&project, PROMPT_PROBE);
    let notes_file = scene.project_directory().join("notes/all");
    std::os::unix::fs::chown(&notes_file, Some(7), None).expect("an owner");
    assert_eq!(notes(&scene), [""; 0], "nothing was stopped yet");
    let two = scene.push(&ImageSpec::new("two"));
    let ended = scene.deploy(&two).expect("succeeded");
    assert_eq!(notes(&scene), ["one $5 /notes 7", "one b / 0"]);
    let shown = format!("{}{}", ended.stdout, ended.stderr);
    let line = "app pre_stop | shopd one: noting b with token ***";
    assert!(shown.contains(line), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let life = identity(&scene);
    scene.compose(&["up", "-d"]);
    assert_eq!(identity(&scene), life, "up by hand changes nothing");
    drop(scene.deploy(&two).expect("unchanged"));
    assert_eq!(notes(&scene), [""; 0]);
}

#[test]
fn a_release_that_failed_gets_no_pre_stop_and_the_previous_one_its_post_start_again() {
    let (before, after) = (note("before"), note("after"));
    let ready = "{ command: [/shopd, note, /ready/it] }";
    let project = with(&[("pre_stop", &[&before]), ("post_start", &[&after, ready])]);
    let project = project.replace(
        "    ports",
        "    environment: { HEALTHY_WITH: /ready/it }\n    ports",
    );
    let mut scene = noting(&project, PROMPT_PROBE);
    assert_eq!(notes(&scene), ["one after / 0"]);
    let old = identity(&scene).0;
    let bad = scene.push(&ImageSpec::new("bad").env("NEVER_HEALTHY", "1"));
    drop(scene.deploy(&bad).expect("rolled_back"));
    let noted = ["one before / 0", "bad after / 0", "one after / 0"];
    assert_eq!(notes(&scene), noted);
    assert_eq!(identity(&scene).0, old);
    assert_eq!(scene.ask("/healthz"), "healthy");
}

#[test]
fn a_pre_stop_hook_that_fails_or_does_not_end_leaves_the_old_container_running() {
    let mut scene = noting(NOTING, PROMPT_PROBE);
    let before = identity(&scene);
    for (hook, told) in [
        (
            FAILS,
            "the `pre_stop` hook `/shopd` of service `app` ended with code 1",
        ),
        (HANGS, "did not end within the `stop_grace_period` of 1s"),
        (
            "{ command: [/none] }",
            "the `pre_stop` hook `/none` of service `app` ",
        ),
    ] {
        let project = with(&[("pre_stop", &[hook])]);
        let grace = if hook == HANGS { "1s" } else { "50s" };
        scene.write_compose(&project.replace(
            "stop_grace_period: 50s",
            &format!("stop_grace_period: {grace}"),
        ));
        let two = scene.push(&ImageSpec::new("two"));
        let ended = scene.deploy(&two).expect("rolled_back");
        assert_eq!(ended.cause(), "switch_failed");
        let detail = ended.deployment()["cause"]["detail"].to_string();
        assert!(detail.contains(told), "{detail}");
        assert_eq!(identity(&scene), before, "{hook}");
        if hook == FAILS {
            let log = ended.deployment()["log"].to_string();
            assert!(
                log.contains("app pre_stop | shopd: /no/such/file: "),
                "{log}"
            );
        }
    }
    scene.write_compose(&with(&[("pre_stop", &[&note("mended")])]));
    let three = scene.push(&ImageSpec::new("three"));
    drop(scene.deploy(&three).expect("succeeded"));
    assert_eq!(notes(&scene), ["one mended / 0"]);
}

#[test]
fn a_daemon_that_is_killed_in_a_pre_stop_hook_leaves_the_old_container_running() {
    let project = with(&[("pre_stop", &[&note("begun"), HANGS])]);
    let mut scene = noting(&project, PROMPT_PROBE);
    let before = identity(&scene);
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.begin(&two));
    scene.wait_until("the hooks run", || !notes(&scene).is_empty());
    scene.kill_daemon();
    scene.start_daemon();
    let deployment = newest_ended(&scene);
    assert_eq!(
        deployment["outcome"],
        "rolled_back",
        "{}",
        said(&deployment)
    );
    assert_eq!(deployment["cause"]["code"], "interrupted");
    assert_eq!(identity(&scene), before);
    assert_eq!(scene.serves(), "one");
}

#[test]
fn whatever_happens_at_a_call_of_a_hook_one_release_runs() {
    let project = with(&[("pre_stop", &[&note("begun")])]);
    let project = project.replace("stop_grace_period: 50s", "stop_grace_period: 2s");
    let mut scene = noting(&project, PROMPT_PROBE);
    let mut serves = "one";
    for call in ["/exec", "/start"] {
        for fault in [
            Fault::Error,
            Fault::LoseAnswer,
            Fault::Hang,
            Fault::StrikeBefore,
            Fault::StrikeAfter,
        ] {
            let version = if serves == "one" { "two" } else { "one" };
            let next = scene.push(&ImageSpec::new(version));
            let is_it = move |path: &str| path.contains("/exec") && path.ends_with(call);
            scene.docker.arm_every(is_it, fault);
            let mut client = scene.begin(&next);
            scene.wait_until("the fault, or the end", || {
                !scene.daemon_runs() || client.try_wait().expect("waited").is_some()
            });
            assert!(scene.docker.struck() > 0, "{call}, {fault:?}");
            scene.docker.disarm();
            if !scene.daemon_runs() {
                scene.start_daemon();
            }
            client.wait().expect("it ends");
            let deployment = newest_ended(&scene);
            let outcome = deployment["outcome"].as_str().expect("an outcome");
            match outcome {
                "succeeded" => serves = version,
                "rolled_back" => {}
                _ => panic!("{call}, {fault:?}: {deployment:#}"),
            }
            assert_eq!(scene.serves(), serves, "{call}, {fault:?}");
        }
    }
}

/// Three services, one after another.
const SEVERAL: &str = "\
x-service: &service
  image: {image}
  restart: unless-stopped
  stop_grace_period: 50s
  volumes: [\"./notes:/notes\"]
name: {project}
services:
  app: {<<: *service, pre_stop: [{command: [/shopd, note, /notes/all], environment: {NOTE: app}}]}
  worker: {<<: *service, depends_on: [app], pre_stop: [{hook}]}
  proxy:
    image: {tool}
    stop_grace_period: 50s
    volumes: [\"./notes:/notes\"]
    depends_on: {app: {condition: service_started, restart: true}}
    pre_stop: [{command: [/shopd, note, /notes/all], environment: {NOTE: stop}}]
    post_start: [{command: [/shopd, note, /notes/all], environment: {NOTE: start}}]
";

#[test]
fn each_service_of_a_release_has_its_hooks_and_so_has_what_is_restarted_with_it() {
    let compose = SEVERAL.replace("{hook}", &note("worker"));
    let wishes = Wishes {
        compose: &compose,
        service: "monitor = \"1s\"\n",
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let tool = scene.push(&ImageSpec::new("tool"));
    let one = scene.push(&ImageSpec::new("one"));
    let tool = format!("{}:{tool}", scene.repository());
    let project = SEVERAL.replace("{tool}", &tool);
    scene.write_compose(&project.replace("{hook}", &note("worker")));
    scene.write("project/notes/all", "");
    scene.write("project/.env", &format!("APP_IMAGE_TAG={one}\n"));
    scene.compose(&["up", "-d"]);
    assert_eq!(notes(&scene), ["tool start / 0"]);
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&two).expect("succeeded"));
    let restarted = ["tool stop / 0", "tool start / 0"];
    let switched = ["one app / 0", "one worker / 0"];
    assert_eq!(notes(&scene), [switched, restarted].concat());

    scene.write_compose(&project.replace("{hook}", FAILS));
    let three = scene.push(&ImageSpec::new("three"));
    let ended = scene.deploy(&three).expect("rolled_back");
    let detail = ended.deployment()["cause"]["detail"].to_string();
    assert!(
        detail.contains("hook `/shopd` of service `worker`"),
        "{detail}"
    );
    let back = ["two app / 0"].into_iter().chain(restarted);
    assert_eq!(
        notes(&scene),
        back.collect::<Vec<_>>(),
        "the worker was not stopped"
    );
    let runs = |one: &Value| one["State"]["Running"] == json!(true);
    assert!(scene.containers().iter().all(runs));
}

#[test]
fn start_first_pre_stop_hooks_are_run_after_the_commit_and_one_that_fails_is_a_warning() {
    let project = |hooks: &str| {
        let project = NOTING.replace("    ports: [\"127.0.0.1:{port}:8080\"]\n", "");
        let grace = if hooks.contains(HANGS) { "3s" } else { "50s" };
        let project = project.replace(
            "stop_grace_period: 50s",
            &format!("stop_grace_period: {grace}"),
        );
        format!("{project}    pre_stop: [{hooks}]\n")
    };
    let service = format!("{PROMPT_PROBE}order = \"start-first\"\nshared_volumes = \"allowed\"\n");
    let mut scene = noting(&project(&note("stop")), &service);
    let bad = scene.push(&ImageSpec::new("bad").env("NEVER_HEALTHY", "1"));
    drop(scene.deploy(&bad).expect("rolled_back"));
    assert_eq!(notes(&scene), [""; 0], "nothing that served was stopped");
    let mut noted = "one";
    for (version, hooks, warned) in [
        ("two", note("stop"), None),
        (
            "three",
            format!("{}, {FAILS}", note("stop")),
            Some("ended with code 1; the container was stopped all the same"),
        ),
        (
            "four",
            format!("{}, {HANGS}", note("stop")),
            Some("did not end within the `stop_grace_period` of 3s; "),
        ),
    ] {
        scene.write_compose(&project(&hooks));
        let next = scene.push(&ImageSpec::new(version));
        drop(scene.deploy(&next).expect("succeeded"));
        let deployment = newest_ended(&scene);
        assert_eq!(notes(&scene), [format!("{noted} stop / 0")]);
        let said = said(&deployment);
        assert!(warned.is_none_or(|warned| said.contains(warned)), "{said}");
        assert_eq!(said.contains("hook"), warned.is_some(), "{said}");
        assert_eq!(scene.containers().len(), 1);
        noted = version;
    }
}

#[test]
fn a_post_start_hook_that_never_ends_is_bounded_by_the_trials_deadline_and_named() {
    let wishes = Wishes {
        service: PROMPT_PROBE,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let (good, next) = (
        scene.push(&ImageSpec::new("good")),
        scene.push(&ImageSpec::new("next")),
    );
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene).0;
    scene.write_compose(&format!("{SERVICE}    post_start: [{HANGS}]\n"));
    drop(scene.begin(&next));
    scene.wait_until("the new release is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    let deployment = newest_ended(&scene);
    assert_eq!(
        deployment["outcome"],
        "rolled_back",
        "{}",
        said(&deployment)
    );
    let detail = deployment["cause"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("post_start"), "{detail}");
    assert_eq!(identity(&scene).0, before);
    assert_eq!(scene.serves(), "good");
}

/// What failed is not worth the time that a good release gets to end in.
#[test]
fn a_new_container_that_failed_is_not_given_its_whole_grace_period() {
    let wishes = Wishes {
        compose: &SERVICE.replace("stop_grace_period: 5s", "stop_grace_period: 50s"),
        service: PROMPT_PROBE,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let good = scene.push(&ImageSpec::new("good"));
    let stubborn = ImageSpec::new("bad")
        .env("NEVER_HEALTHY", "1")
        .env("IGNORE_SIGTERM", "1");
    let bad = scene.push(&stubborn);
    drop(scene.deploy(&good).expect("succeeded"));
    let ended = scene.deploy(&bad).expect("rolled_back");
    // Five seconds of trial and two of grace; fifty are far from both on any machine.
    let outage = ended.deployment()["outage_ms"].as_u64();
    assert!(outage.is_some_and(|outage| outage < 30_000), "{outage:?}");
    assert_eq!(scene.serves(), "good");
}

#[test]
fn a_rollback_that_a_restarted_daemon_goes_on_with_is_no_error() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let stubborn = ImageSpec::new("bad").env("EXIT_AFTER_MS", "500");
    let stubborn = stubborn.env("NEVER_HEALTHY", "1");
    let bad = scene.push(&stubborn);
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene).0;
    let start_of_old = format!("/containers/{}/start", before.as_str().expect("an id"));
    let is_it = move |call: &str| call.ends_with(&start_of_old);
    scene
        .docker
        .arm_every(is_it, cutover_testkit::faults::Fault::StrikeBefore);
    drop(scene.begin(&bad));
    scene.wait_until("the daemon is struck", || !scene.daemon_runs());
    scene.docker.disarm();
    scene.start_daemon();
    let deployment = newest_ended(&scene);
    assert_eq!(
        deployment["outcome"],
        "rolled_back",
        "{}",
        said(&deployment)
    );
    assert_eq!(identity(&scene).0, before);
    let log = std::fs::read_to_string(scene.log()).expect("a log");
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" ERROR "))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
