//! Before the first move the way back is shown to exist. Where the old container could not be started again, the
//! second best is the previous image in the present definition, said beforehand; without either, nothing is changed.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Ended, HTTP_PROBE, Network, SERVICE, Scene, Wishes};
use serde_json::{Value, json};

use crate::{CUTOVER, identity, kinds, newest_ended, said};

/// The service with a file of the project in it.
fn with_mount(source: &str, target: &str) -> String {
    format!("{SERVICE}    volumes: [\"{source}:{target}:ro\"]\n")
}

/// The service's own container: the only one with its label.
fn app(scene: &Scene) -> Value {
    let of_app = |one: &Value| one["Config"]["Labels"]["com.docker.compose.service"] == "app";
    let mut all: Vec<Value> = scene.containers().into_iter().filter(of_app).collect();
    assert_eq!(all.len(), 1, "{}", scene.log_tail());
    all.remove(0)
}

/// A scene in which `old` runs with `page.txt` of the project mounted, which a checkout has moved since.
struct Moved {
    scene: Scene,
    old: Value,
    good: String,
    bad: String,
}

impl Moved {
    fn file(service: &str) -> Self {
        let service = format!("{HTTP_PROBE}{service}");
        let wishes = Wishes {
            compose: &with_mount("./page.txt", "/page.txt"),
            service: &service,
            network: Network::Loopback,
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        scene.write("project/page.txt", "a page");
        // No other test's container keeps this image.
        let unique = scene.project().to_owned();
        let old = scene.push(&ImageSpec::new("old").env("UNIQUE", &unique));
        let good = scene.push(&ImageSpec::new("good"));
        let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
        drop(scene.deploy(&old).expect("succeeded"));
        let old = app(&scene);
        let project = scene.project_directory();
        std::fs::create_dir(project.join("pages")).expect("a directory");
        std::fs::rename(project.join("page.txt"), project.join("pages/page.txt")).expect("moved");
        scene.write_compose(&with_mount("./pages/page.txt", "/page.txt"));
        Self {
            scene,
            old,
            good,
            bad,
        }
    }

    fn missing(&self) -> String {
        self.scene
            .project_directory()
            .join("page.txt")
            .display()
            .to_string()
    }

    /// The deployment is refused, what is missing is named, and nothing was changed.
    #[track_caller]
    fn expect_refused(&self, sha: &str) {
        let before = identity(&self.scene);
        let (status, answer) = self.scene.post(sha);
        assert_eq!(
            (status, answer["code"].as_str()),
            (422, Some("no_way_back")),
            "{answer:#}"
        );
        let deployment = &answer["deployment"];
        assert_eq!(deployment["outcome"], "failed");
        assert_eq!(deployment["nothing_changed"], true);
        let said = said(deployment);
        assert!(said.contains(&self.missing()), "{said}");
        assert_eq!(identity(&self.scene), before);
        assert_eq!(self.scene.serves(), "old");
    }
}

/// The previous image runs in a new container in the old one's place; and that was said before the switch.
#[track_caller]
fn expect_second_best(scene: &Scene, old: &Value, deployment: &Value, missing: &str) {
    let kinds = kinds(deployment);
    let at = |kind| {
        kinds
            .iter()
            .position(|&one| one == kind)
            .expect("the event")
    };
    let events = deployment["events"].as_array().expect("events");
    let before = &events[..at("switch_started")];
    let warned = before.iter().filter(|event| event["kind"] == "warned");
    let mut messages = warned.filter_map(|event| event["message"].as_str());
    let names_it = |message: &str| message.contains(missing) && message.contains("previous image");
    assert!(
        messages.any(names_it),
        "nothing was said of {missing}: {}",
        said(deployment)
    );
    let found = app(scene);
    assert_ne!(found["Id"], old["Id"]);
    for field in ["Image", "Name"] {
        assert_eq!(found[field], old[field]);
    }
    assert_eq!(
        found["HostConfig"]["RestartPolicy"],
        old["HostConfig"]["RestartPolicy"]
    );
    assert_eq!(found["State"]["Running"], true);
    let (_, service) = scene.get("/v1/services/app").expect("an answer");
    assert!(service["needs_operator"].is_null(), "{service:#}");
}

#[test]
fn where_a_mounted_file_has_moved_the_previous_image_comes_back_in_the_present_definition() {
    let moved = Moved::file("");
    let (scene, missing) = (&moved.scene, moved.missing());
    let configuration = scene.configuration().display().to_string();
    let plan = scene.run(&["plan", "app", &moved.bad, "--config", &configuration]);
    let ended = scene.deploy(&moved.bad).expect("rolled_back");
    expect_second_best(scene, &moved.old, ended.deployment(), &missing);
    assert_eq!(scene.serves(), "old");
    assert_eq!(scene.ask("/file?path=/page.txt"), "a page");
    assert!(!std::path::Path::new(&missing).exists(), "it was made up");
    assert!(plan.stdout.contains(&missing), "{plan:#?}");
    // Nothing is left to do for whoever types this, and nothing in the way of the next release.
    let back = identity(scene);
    scene.compose(&["up", "-d"]);
    assert_eq!(identity(scene), back);
    drop(scene.deploy(&moved.good).expect("succeeded"));
    assert_eq!(app(scene)["State"]["Running"], true);
    assert_eq!(scene.serves(), "good");
}

/// Docker would make an empty one, and the service would run without what was in it.
#[test]
fn where_a_mounted_directory_is_gone_no_old_container_is_started_with_an_empty_one() {
    let wishes = Wishes {
        compose: &with_mount("./assets", "/assets"),
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    scene.write("project/assets/page.txt", "a page");
    let old = scene.push(&ImageSpec::new("old"));
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    drop(scene.deploy(&old).expect("succeeded"));
    let old = app(&scene);
    let (assets, public) = (
        scene.project_directory().join("assets"),
        scene.project_directory().join("public"),
    );
    std::fs::rename(&assets, &public).expect("moved");
    scene.write_compose(&with_mount("./public", "/assets"));
    let ended = scene.deploy(&bad).expect("rolled_back");
    assert_eq!(scene.ask("/file?path=/assets/page.txt"), "a page");
    expect_second_best(
        &scene,
        &old,
        ended.deployment(),
        &assets.display().to_string(),
    );
    assert!(!assets.exists(), "it was made up");
}

/// Both share a network, and the other one was created anew since.
#[test]
fn where_a_shared_namespace_is_gone_the_previous_image_comes_back_in_the_present_one() {
    let wishes = Wishes {
        service: "monitor = \"1s\"\n",
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let vpn = scene.push(&ImageSpec::new("vpn").env("LISTEN", "9000"));
    let old = scene.push(&ImageSpec::new("old"));
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    let image = format!("{}:{vpn}", scene.repository());
    let compose = SERVICE.replace("ports:", "network_mode: \"service:vpn\" #");
    scene.write_compose(&format!(
        "{compose}  vpn: {{ image: \"{image}\", ports: [\"127.0.0.1:{{port}}:8080\"] }}\n"
    ));
    scene.write("project/.env", &format!("APP_IMAGE_TAG={old}\n"));
    scene.compose(&["up", "-d", "vpn"]);
    drop(scene.deploy(&old).expect("succeeded"));
    scene.wait_until("the old release answers", || scene.serves() == "old");
    let old = app(&scene);
    scene.compose(&["up", "-d", "--no-deps", "--force-recreate", "vpn"]);
    let network = old["HostConfig"]["NetworkMode"].as_str().expect("a mode");
    let shared = network.strip_prefix("container:").expect("a container");
    let ended = scene.deploy(&bad).expect("rolled_back");
    expect_second_best(&scene, &old, ended.deployment(), &shared[..12]);
    scene.wait_until("the old release answers", || scene.serves() == "old");
}

#[test]
fn without_the_mounted_file_and_the_previous_image_nothing_is_changed() {
    let moved = Moved::file("");
    let scene = &moved.scene;
    let id = moved.old["Id"].as_str().expect("an id");
    let image = moved.old["Image"].as_str().expect("an image");
    // While it runs Docker does not let go of its image; and it would not start again without the file.
    std::fs::write(moved.missing(), "a page").expect("back for a moment");
    for (method, path) in [
        ("POST", format!("/containers/{id}/stop")),
        ("DELETE", format!("/images/{image}?force=1")),
        ("POST", format!("/containers/{id}/start")),
    ] {
        let (status, answer) = scene.call_docker(method, &path).expect("an answer");
        assert!(status < 300, "{path}: {status} {answer}");
    }
    assert_eq!(scene.ask_docker(&format!("/images/{image}/json")), None);
    std::fs::remove_file(moved.missing()).expect("gone again");
    // Nor is this a file to mount.
    std::fs::create_dir(moved.missing()).expect("a directory");
    scene.wait_until("the old release answers", || scene.serves() == "old");
    moved.expect_refused(&moved.good);
}

#[test]
fn a_service_that_wants_the_same_container_back_or_nothing_is_not_changed_unless_an_operator_says_so()
 {
    let moved = Moved::file("way_back = \"same-container\"\n");
    let scene = &moved.scene;
    moved.expect_refused(&moved.good);
    // Whoever signs requests is no operator.
    let before = identity(scene);
    let (url, secret) = (scene.url(), scene.secret_file().display().to_string());
    let signed = ["--url", &url, "--secret-file", &secret];
    let forced = ["deploy", "app", &moved.good, "--no-way-back", "--json"];
    let refused = scene.run(&[&forced[..], &signed].concat());
    assert_ne!(refused.exit, 0, "{refused:#?}");
    assert_eq!(identity(scene), before);
    drop(scene.run(&forced).expect("succeeded"));
    assert_eq!(scene.serves(), "good");
}

#[test]
fn an_operators_request_without_a_way_back_may_come_over_the_socket() {
    let moved = Moved::file("way_back = \"same-container\"\n");
    let body = json!({ "service": "app", "image_sha": moved.good, "no_way_back": true });
    let (status, answer) = moved.scene.post_body(&body);
    assert_eq!(status, 200, "{answer:#}");
    assert_eq!(moved.scene.serves(), "good");
}

/// It stands still in the trial, which is what a prune looks for.
#[test]
fn an_old_container_that_was_pruned_in_the_trial_is_created_again() {
    let mut scene = Scene::usual(CUTOVER);
    let slow = ImageSpec::new("slow").env("START_DELAY_MS", "600000");
    let (old, slow) = (scene.push(&ImageSpec::new("old")), scene.push(&slow));
    drop(scene.deploy(&old).expect("succeeded"));
    let old = app(&scene);
    let client = scene.begin(&slow);
    scene.wait_until("the new release is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    let filter = format!(
        "%7B%22label%22%3A%5B%22com.docker.compose.project%3D{}%22%5D%7D",
        scene.project()
    );
    let pruned = scene.call_docker("POST", &format!("/containers/prune?filters={filter}"));
    let (_, pruned) = pruned.expect("an answer");
    assert_eq!(pruned["ContainersDeleted"], json!([old["Id"]]), "{pruned}");
    let new = app(&scene)["Id"].as_str().expect("an id").to_owned();
    drop(scene.call_docker("POST", &format!("/containers/{new}/kill")));
    drop(Ended::of(&client.wait_with_output().expect("an end")).expect("rolled_back"));
    let said = said(&newest_ended(&scene));
    assert!(said.contains("created again"), "{said}");
    scene.wait_until("the old release answers", || scene.serves() == "old");
    let found = app(&scene);
    for field in ["Image", "Name"] {
        assert_eq!(found[field], old[field]);
    }
    for field in ["Env", "Image"] {
        assert_eq!(found["Config"][field], old["Config"][field]);
    }
    // One may be added, which says what it is.
    let labels = old["Config"]["Labels"].as_object().expect("labels");
    for (name, value) in labels {
        assert_eq!(found["Config"]["Labels"][name], *value, "{name}");
    }
    assert_eq!(found["HostConfig"], old["HostConfig"]);
    let aliases = |one: &Value| {
        one["NetworkSettings"]["Networks"]
            .as_object()
            .map(|networks| {
                let of =
                    |(name, network): (&String, &Value)| (name.clone(), network["Aliases"].clone());
                networks.iter().map(of).collect::<Vec<_>>()
            })
    };
    assert_eq!(aliases(&found), aliases(&old));
    // Compose takes it for its own.
    scene.compose(&["up", "-d"]);
    assert_eq!(app(&scene)["Id"], found["Id"]);
}
