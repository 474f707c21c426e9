//! Settings of a project, and Docker Engines, to which Compose has an answer of its own.

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{SERVICE, Scene, Wishes};
use serde_json::json;

use crate::fidelity::{BOTH, expect_up_to_date};
use crate::{CUTOVER, identity};

/// Adds `lines` to `[services.app]` in the daemon's configuration.
fn configure(scene: &mut Scene, lines: &str) {
    let configuration = std::fs::read_to_string(scene.configuration()).expect("a configuration");
    let changed = configuration.replace("compose_files", &format!("{lines}\ncompose_files"));
    scene.write("cutover.toml", &changed);
    scene.stop_daemon();
    scene.start_daemon();
}

/// The usual scene with this Compose, and two releases.
fn scene_of(version: ComposeVersion) -> (Scene, [String; 2]) {
    let wishes = Wishes {
        version,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let releases = ["one", "two"].map(|release| scene.push(&ImageSpec::new(release)));
    (scene, releases)
}

#[test]
fn two_networks_with_aliases_survive_on_a_docker_that_connects_them_one_by_one() {
    let compose = format!(
        "{SERVICE}    networks: {{ front: {{ aliases: [web] }}, back: {{ aliases: [inner] }} }}\nnetworks: {{ front: {{}}, back: {{}} }}\n"
    );
    for version in BOTH {
        let wishes = Wishes {
            compose: &compose,
            version,
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        // Engine 24: before 1.44, a container is created in one network only.
        scene.docker.become_api("1.43");
        let one = scene.push(&ImageSpec::new("one"));
        let two = scene.push(&ImageSpec::new("two"));
        drop(scene.deploy(&one).expect("succeeded"));
        drop(scene.deploy(&two).expect("succeeded"));
        assert_eq!(scene.serves(), "two");
        let connected = scene.docker.calls();
        assert!(
            connected.iter().any(|call| call.ends_with("/connect")),
            "{connected:#?}"
        );
        let networks = scene.container()["NetworkSettings"]["Networks"].clone();
        for (network, alias) in [("front", "web"), ("back", "inner")] {
            let aliases = &networks[format!("{}_{network}", scene.project())]["Aliases"];
            assert!(aliases.to_string().contains(alias), "{networks:#}");
        }
        expect_up_to_date(&scene, &[]);
    }
}

#[test]
fn a_restart_policy_without_a_condition_is_none_and_one_that_docker_refuses_changes_nothing() {
    let with = |policy: &str| format!("{SERVICE}    deploy: {{ restart_policy: {policy} }}\n");
    for version in BOTH {
        let compose = with("{ delay: 5s, max_attempts: 3 }");
        let wishes = Wishes {
            compose: &compose,
            version,
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        let one = scene.push(&ImageSpec::new("one"));
        let two = scene.push(&ImageSpec::new("two"));
        drop(scene.deploy(&one).expect("succeeded"));
        drop(scene.deploy(&two).expect("succeeded"));
        let policy = scene.container()["HostConfig"]["RestartPolicy"].clone();
        assert_eq!(policy, json!({ "Name": "no", "MaximumRetryCount": 0 }));
        let before = identity(&scene);
        scene.write_compose(&with("{ condition: any, max_attempts: 3 }"));
        let ended = scene.deploy(&one).expect("failed");
        assert_eq!(ended.cause(), "unsupported_strategy");
        assert_eq!(identity(&scene), before);
        scene.write_compose(&compose);
        expect_up_to_date(&scene, &[]);
    }
}

#[test]
fn a_service_whose_network_another_one_shares_by_its_containers_name_is_refused_and_the_other_stays_connected()
 {
    for version in BOTH {
        let (scene, [one, two]) = scene_of(version);
        drop(scene.deploy(&one).expect("succeeded"));
        scene.write_compose(&format!(
            "{SERVICE}  sidecar:\n    image: {{image}}\n    network_mode: container:{{project}}-app-1\n    environment: {{ LISTEN: \"9000\" }}\n"
        ));
        scene.compose(&["up", "-d", "sidecar"]);
        let started = |scene: &Scene| {
            let containers = scene.containers();
            let all = containers.iter();
            let mut all: Vec<_> = all
                .map(|one| (one["Id"].to_string(), one["State"]["StartedAt"].to_string()))
                .collect();
            all.sort();
            all
        };
        let before = started(&scene);
        assert_eq!(before.len(), 2);
        let ended = scene.deploy(&two).expect("failed");
        assert_eq!(ended.cause(), "unsupported_strategy");
        assert!(
            ended.body.to_string().contains("sidecar"),
            "{:#}",
            ended.body
        );
        assert_eq!(started(&scene), before);
    }
}

#[test]
fn a_project_that_cannot_be_read_without_its_variables_is_deployed_with_a_tag_variable() {
    let include = format!("{SERVICE}include: [\"${{DIR:-more}}/compose.yaml\"]\n");
    let extends = format!(
        "{SERVICE}    extends: {{ file: \"${{DIR:-more}}/compose.yaml\", service: neighbor }}\n"
    );
    let limits = format!("{SERVICE}    ulimits: {{ nofile: \"${{FILES:-100}}\" }}\n");
    let volumes = format!("{SERVICE}    volumes: [\"${{DIR:-./more}}:/more:${{MODE:-ro}}\"]\n");
    for version in BOTH {
        let mut scene = Scene::new(
            CUTOVER,
            &Wishes {
                compose: &include,
                version,
                ..Wishes::default()
            },
        );
        scene.write(
            "project/more/compose.yaml",
            "services:\n  neighbor:\n    image: nothing-to-pull\n",
        );
        let one = scene.push(&ImageSpec::new("one"));
        let refused = scene.deploy(&one).expect("failed");
        assert_eq!(refused.cause(), "invalid_compose");
        let said = refused.body.to_string();
        assert!(said.contains("set `services.app.tag_variable`"), "{said}");
        configure(&mut scene, "tag_variable = \"APP_IMAGE_TAG\"");
        // Before anything was deployed, and with no memory of an earlier one.
        let (status, shown) = scene.get("/v1/services/app").expect("an answer");
        assert_eq!(status, 200);
        assert_eq!(shown["running_unknown"], json!(null), "{shown:#}");
        for compose in [&include, &extends, &limits, &volumes] {
            scene.write_compose(compose);
            let next = scene.push(&ImageSpec::new("next"));
            drop(scene.deploy(&next).expect("succeeded"));
        }
    }
}

/// Unfilled, `${STACK}` would read as the name of a project `stack`, and another one may have that.
#[test]
fn the_project_is_the_one_that_the_filled_in_name_means() {
    for name in ["${STACK:-web}", "${STACK}"] {
        let (mut scene, [one, two]) = scene_of(BOTH[0]);
        let mine = scene.project().to_owned();
        scene.write_compose(&SERVICE.replace("{project}", name));
        scene.write("project/.env", &format!("STACK={mine}\n"));
        drop(scene.deploy(&one).expect("succeeded"));
        // A daemon that has not read the project for a deployment yet.
        scene.kill_daemon();
        scene.start_daemon();
        let (status, shown) = scene.get("/v1/services/app").expect("an answer");
        assert_eq!(status, 200);
        let container = &shown["running"]["name"];
        assert_eq!(*container, json!(format!("{mine}-app-1")), "{shown:#}");
        drop(scene.deploy(&two).expect("succeeded"));
    }
}

#[test]
fn orphans_are_left_alone_also_where_the_env_file_wants_them_removed() {
    for version in BOTH {
        let (scene, [one, two]) = scene_of(version);
        scene.write(
            "project/.env",
            &format!("COMPOSE_REMOVE_ORPHANS=true\nAPP_IMAGE_TAG={one}\n"),
        );
        drop(scene.deploy(&one).expect("succeeded"));
        scene.write_compose(&format!(
            "{SERVICE}  former:\n    image: {{image}}\n    environment: {{ LISTEN: \"9000\" }}\n"
        ));
        scene.compose(&["up", "-d", "former"]);
        scene.compose(&["run", "-d", "--no-deps", "app"]);
        scene.write_compose(SERVICE);
        let others = |scene: &Scene| {
            let containers = scene.containers();
            let all = containers.iter();
            let mut others: Vec<_> = all
                .filter(|one| {
                    let labels = &one["Config"]["Labels"];
                    labels["com.docker.compose.service"] != "app"
                        || labels["com.docker.compose.oneoff"] == "True"
                })
                .map(|one| (one["Id"].to_string(), one["State"]["StartedAt"].to_string()))
                .collect();
            others.sort();
            others
        };
        let before = others(&scene);
        assert_eq!(before.len(), 2);
        drop(scene.deploy(&two).expect("succeeded"));
        assert_eq!(scene.serves(), "two");
        assert_eq!(others(&scene), before);
    }
}

/// Each is something that the container gets and that its definition does not show.
#[test]
fn the_same_release_is_deployed_again_when_the_content_of_a_file_it_gets_is_another() {
    let compose = format!(
        "{SERVICE}    secrets: [of_file, of_variable]\n    configs: [inline]\n    volumes: [\"./app.conf:/app.conf:ro\"]\n\
         secrets:\n  of_file: {{file: ./secret}}\n  of_variable: {{environment: SHOP_TOKEN}}\nconfigs:\n  inline: {{content: \"${{COLOR}}\"}}\n"
    );
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose: &compose,
            ..Wishes::default()
        },
    );
    scene.write("project/secret", "one");
    scene.write("project/app.conf", "one");
    scene.write("project/.env", "COLOR=red\nSHOP_TOKEN=first-token\n");
    let one = scene.push(&ImageSpec::new("one"));
    drop(scene.deploy(&one).expect("succeeded"));
    let env = |scene: &Scene, color: &str, token: &str| {
        scene.write(
            "project/.env",
            &format!("COLOR={color}\nSHOP_TOKEN={token}\nAPP_IMAGE_TAG={one}\n"),
        );
    };
    type Change<'a> = (&'a str, &'a dyn Fn(&Scene));
    let changes: [Change<'_>; 4] = [
        ("a secret's file", &|scene| {
            scene.write("project/new", "two");
            let [from, to] = ["new", "secret"].map(|name| scene.project_directory().join(name));
            std::fs::rename(from, to).expect("renamed");
        }),
        ("a secret from the environment", &|scene| {
            env(scene, "red", "second-token");
        }),
        ("an inline config", &|scene| {
            env(scene, "blue", "second-token");
        }),
        ("a mounted file", &|scene| {
            scene.write("project/app.conf", "two");
        }),
    ];
    for (what, change) in changes {
        let before = identity(&scene);
        drop(scene.deploy(&one).expect("unchanged"));
        assert_eq!(identity(&scene), before, "before {what} was changed");
        change(&scene);
        drop(scene.deploy(&one).expect("succeeded"));
        assert_ne!(identity(&scene), before, "{what} was changed");
    }
    let before = identity(&scene);
    drop(
        scene
            .run(&["deploy", "app", &one, "--json", "--force"])
            .expect("succeeded"),
    );
    assert_ne!(identity(&scene), before, "an operator wants a new one");
}

#[test]
fn the_same_release_with_an_env_file_is_unchanged_until_that_file_is_changed() {
    let compose = format!("{SERVICE}    env_file: [app.env]\n");
    for version in BOTH {
        let mut scene = Scene::new(
            CUTOVER,
            &Wishes {
                compose: &compose,
                version,
                ..Wishes::default()
            },
        );
        scene.write("project/app.env", "COLOR=red\n");
        let one = scene.push(&ImageSpec::new("one"));
        drop(scene.deploy(&one).expect("succeeded"));
        let before = identity(&scene);
        scene.docker.disarm();
        drop(scene.deploy(&one).expect("unchanged"));
        assert_eq!(identity(&scene), before);
        let calls = scene.docker.calls();
        assert!(
            calls.iter().all(|call| call.contains("/images/")),
            "{calls:#?}"
        );
        scene.write("project/app.env", "COLOR=blue\n");
        drop(scene.deploy(&one).expect("succeeded"));
        assert_eq!(scene.ask("/env?name=COLOR").trim(), "blue");
        expect_up_to_date(&scene, &[]);
    }
}
