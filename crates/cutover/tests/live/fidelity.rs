//! Compose's own features survive a deployment, with the newest and the oldest Compose; and afterwards a
//! plain `docker compose` by hand finds everything as it would have made it.

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{HTTP_PROBE, SERVICE, Scene, Wishes};
use serde_json::{Value, json};

use crate::{CUTOVER, identity};

pub(crate) const BOTH: [ComposeVersion; 2] = [ComposeVersion::Newest, ComposeVersion::Oldest];

/// Deploys two releases of the same project, then asks Compose by hand.
fn deploy_twice(
    version: ComposeVersion,
    compose: &str,
    service: &str,
    prepare: impl Fn(&Scene),
) -> Scene {
    let service = format!("{HTTP_PROBE}{service}");
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose,
            service: &service,
            version,
            ..Wishes::default()
        },
    );
    prepare(&scene);
    let one = scene.push(&ImageSpec::new("one"));
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&one).expect("succeeded"));
    let written = scene.ask("/write?path=/data/kept&text=from-one");
    assert_eq!(written, "written");
    drop(scene.deploy(&two).expect("succeeded"));
    assert_eq!(scene.serves(), "two");
    scene
}

/// `docker compose up -d` recreates nothing, and `down` takes all of it away.
#[track_caller]
pub(crate) fn expect_up_to_date(scene: &Scene, arguments: &[&str]) {
    let before = identity(scene);
    let up = [arguments, &["up", "-d"]].concat();
    let printed = scene.compose(&up);
    assert!(
        !printed.contains("Recreate") && !printed.contains("Created"),
        "{printed}"
    );
    assert_eq!(identity(scene), before, "{printed}");
    scene.compose(&[arguments, &["down"]].concat());
    assert!(scene.containers().is_empty(), "{:#?}", scene.containers());
}

/// Everything at once.
const COMPOSE: &str = "\
name: {project}
services:
  app:
    image: {image}
    container_name: {project}-fixed
    hostname: shop
    init: true
    restart: always
    stop_grace_period: 5s
    ports: [\"127.0.0.1:{port}:8080\"]
    environment: { GREETING: \"${GREETING}\", PLAIN: \"a b\" }
    volumes: [\"named:/data\", \"/anonymous\", \"./conf:/conf:ro\"]
    networks: { front: { aliases: [web] }, back: {} }
    secrets: [from_file, from_environment]
    configs: [{ source: page, target: /page.txt }]
    labels: { team: shop }
networks: { front: {}, back: {} }
volumes: { named: {} }
secrets:
  from_file: { file: ./secret.txt }
  from_environment: { environment: TOKEN }
configs:
  page: { file: ./page.txt }
";

#[test]
fn names_ports_networks_volumes_and_secrets_survive() {
    for version in BOTH {
        let scene = deploy_twice(version, COMPOSE, "", |scene| {
            scene.write("project/secret.txt", "file-secret");
            scene.write("project/page.txt", "a page");
            scene.write("project/conf/a.conf", "bound");
            scene.write("project/.env", "# settings\nGREETING='hello there' # quoted\nTOKEN=env-secret\n\nAPP_IMAGE_TAG=old # the release\n");
        });
        assert_eq!(scene.ask("/env?name=GREETING").trim(), "hello there");
        assert_eq!(
            scene.ask("/file?path=/run/secrets/from_file").trim(),
            "file-secret"
        );
        assert_eq!(
            scene.ask("/file?path=/run/secrets/from_environment").trim(),
            "env-secret"
        );
        assert_eq!(scene.ask("/file?path=/page.txt").trim(), "a page");
        assert_eq!(scene.ask("/file?path=/conf/a.conf").trim(), "bound");
        assert_eq!(scene.ask("/file?path=/data/kept").trim(), "from-one");
        let container = scene.container();
        assert_eq!(
            container["Name"],
            json!(format!("/{}-fixed", scene.project()))
        );
        assert_eq!(container["HostConfig"]["RestartPolicy"]["Name"], "always");
        assert_eq!(container["HostConfig"]["Init"], true);
        assert_eq!(container["Config"]["Labels"]["team"], "shop");
        let networks = container["NetworkSettings"]["Networks"]
            .as_object()
            .expect("networks");
        assert_eq!(networks.len(), 2);
        let front = &networks[&format!("{}_front", scene.project())];
        assert!(
            front["Aliases"]
                .as_array()
                .is_some_and(|aliases| aliases.contains(&json!("web"))),
            "{front}"
        );
        let env =
            std::fs::read_to_string(scene.project_directory().join(".env")).expect("an env file");
        let tag = scene.history()[0]["image_sha"]
            .as_str()
            .expect("a tag")
            .to_owned();
        assert_eq!(
            env,
            format!(
                "# settings\nGREETING='hello there' # quoted\nTOKEN=env-secret\n\nAPP_IMAGE_TAG={tag} # the release\n"
            )
        );
        expect_up_to_date(&scene, &[]);
    }
}

#[test]
fn an_anonymous_volume_keeps_its_data() {
    let compose = format!("{SERVICE}    volumes: [\"/data\"]\n");
    for version in BOTH {
        let scene = deploy_twice(version, &compose, "", |_| ());
        assert_eq!(scene.ask("/file?path=/data/kept").trim(), "from-one");
        expect_up_to_date(&scene, &[]);
    }
}

#[test]
fn several_files_an_override_and_an_include_are_one_project() {
    let dir_service = |scene: &Scene| {
        scene.write("project/override.yaml", "services:\n  app:\n    environment: { LAYER: override }\n    labels: { layer: override }\n");
        scene.write(
            "project/more/compose.yaml",
            "services:\n  neighbor:\n    image: nothing-to-pull\n",
        );
    };
    for version in BOTH {
        let compose = format!(
            "{SERVICE}    environment: {{ LAYER: base, BASE: \"1\" }}\ninclude: [more/compose.yaml]\n"
        );
        let wishes = Wishes {
            compose: &compose,
            version,
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        dir_service(&scene);
        let files = format!(
            "compose_files = [{:?}, {:?}]",
            scene.project_directory().join("compose.yaml"),
            scene.project_directory().join("override.yaml")
        );
        let configuration =
            std::fs::read_to_string(scene.configuration()).expect("a configuration");
        let changed: String = configuration
            .lines()
            .map(|line| {
                if line.starts_with("compose_files") {
                    files.as_str()
                } else {
                    line
                }
            })
            .collect::<Vec<_>>()
            .join("\n");
        scene.write("cutover.toml", &changed);
        scene.stop_daemon();
        scene.start_daemon();
        let one = scene.push(&ImageSpec::new("one"));
        let two = scene.push(&ImageSpec::new("two"));
        drop(scene.deploy(&one).expect("succeeded"));
        drop(scene.deploy(&two).expect("succeeded"));
        assert_eq!(scene.ask("/env?name=LAYER").trim(), "override");
        assert_eq!(scene.ask("/env?name=BASE").trim(), "1");
        let before = identity(&scene);
        scene.compose(&[
            "-f",
            "compose.yaml",
            "-f",
            "override.yaml",
            "up",
            "-d",
            "app",
        ]);
        assert_eq!(identity(&scene), before);
    }
}

#[test]
fn profiles_and_env_files_are_passed_on() {
    for version in BOTH {
        let compose = format!(
            "{SERVICE}    profiles: [prod]\n    environment: {{ COLOR: \"${{COLOR}}\" }}\n"
        );
        let wishes = Wishes {
            compose: &compose,
            version,
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        scene.write("project/first.env", "COLOR=red\n");
        scene.write(
            "project/last.env",
            "COLOR=\"deep blue\"\nAPP_IMAGE_TAG='none' # set by cutover\n",
        );
        let at = |name: &str| scene.project_directory().join(name);
        let lines = format!(
            "profiles = [\"prod\"]\nenv_files = [{:?}, {:?}]\n",
            at("first.env"),
            at("last.env")
        );
        let configuration =
            std::fs::read_to_string(scene.configuration()).expect("a configuration");
        scene.write(
            "cutover.toml",
            &configuration.replace("compose_files", &format!("{lines}compose_files")),
        );
        scene.stop_daemon();
        scene.start_daemon();
        let one = scene.push(&ImageSpec::new("one"));
        drop(scene.deploy(&one).expect("succeeded"));
        assert_eq!(scene.ask("/env?name=COLOR").trim(), "deep blue");
        let last = std::fs::read_to_string(scene.project_directory().join("last.env"))
            .expect("an env file");
        assert_eq!(
            last,
            format!("COLOR=\"deep blue\"\nAPP_IMAGE_TAG='{one}' # set by cutover\n")
        );
        expect_up_to_date(
            &scene,
            &[
                "--profile",
                "prod",
                "--env-file",
                "first.env",
                "--env-file",
                "last.env",
            ],
        );
    }
}

#[test]
fn what_the_service_depends_on_is_left_alone() {
    for version in BOTH {
        let wishes = Wishes {
            version,
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        let one = scene.push(&ImageSpec::new("one"));
        let two = scene.push(&ImageSpec::new("two"));
        scene.write_compose(&format!(
            "{SERVICE}    depends_on: [store]\n  store:\n    image: {}:{one}\n    environment: {{ LISTEN: \"9000\" }}\n",
            scene.repository()
        ));
        scene.write("project/.env", &format!("APP_IMAGE_TAG={one}\n"));
        scene.compose(&["up", "-d"]);
        let of = |scene: &Scene, service: &str| {
            let of_service = |container: &&Value| {
                container["Config"]["Labels"]["com.docker.compose.service"] == service
            };
            let containers = scene.containers();
            let found = containers.iter().find(of_service).expect("its container");
            (found["Id"].clone(), found["State"]["StartedAt"].clone())
        };
        let store = of(&scene, "store");
        drop(scene.deploy(&two).expect("succeeded"));
        assert_eq!(scene.serves(), "two");
        assert_eq!(of(&scene, "store"), store);
        let app = of(&scene, "app");
        drop(scene.deploy(&two).expect("unchanged"));
        assert_eq!(
            (of(&scene, "app"), of(&scene, "store")),
            (app.clone(), store.clone())
        );
        // Compose before 2.29.3 counts `depends_on` in when it compares, and leaves out of the label what it is not told of.
        let printed = scene.compose(&["up", "-d"]);
        assert_eq!(
            (of(&scene, "app"), of(&scene, "store")),
            (app, store),
            "{printed}"
        );
    }
}

#[test]
fn post_start_hooks_run_and_one_that_fails_is_rolled_back() {
    let hook = |file: &str| {
        format!("{SERVICE}    post_start: [{{ command: [\"/shopd\", \"cat\", \"{file}\"] }}]\n")
    };
    let compose = hook("/etc/hosts");
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose: &compose,
            ..Wishes::default()
        },
    );
    let one = scene.push(&ImageSpec::new("one"));
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&one).expect("succeeded"));
    let before = identity(&scene).0;
    scene.write_compose(&hook("/no/such/file"));
    let ended = scene.deploy(&two).expect("rolled_back");
    assert_eq!(ended.cause(), "switch_failed");
    assert_eq!(identity(&scene).0, before);
}

#[test]
fn the_image_for_the_platform_of_the_service_is_deployed() {
    // The program inside is this machine's own, so that it runs whatever the image claims to be for.
    let foreign = ImageSpec::new("foreign").architecture("s390x");
    let members = [ImageSpec::new("own"), foreign];
    let compose = format!("{SERVICE}    platform: linux/s390x\n");
    for version in BOTH {
        let scene = Scene::new(
            CUTOVER,
            &Wishes {
                compose: &compose,
                version,
                ..Wishes::default()
            },
        );
        let tag = "a".repeat(40);
        let index = scene.registry.push_index("shop", &tag, &members);
        let digest = index.expect("an index");
        let ended = scene.deploy(&tag).expect("succeeded");
        assert_eq!(ended.deployment()["digest"], json!(digest));
        assert_eq!(scene.serves(), "foreign");
    }
}

#[test]
fn every_restart_policy_comes_back_after_the_commit() {
    for policy in ["no", "always", "unless-stopped", "on-failure:3"] {
        let compose = SERVICE.replace("restart: unless-stopped", &format!("restart: \"{policy}\""));
        let scene = deploy_twice(ComposeVersion::Newest, &compose, "", |_| ());
        let policy_of = scene.container()["HostConfig"]["RestartPolicy"].clone();
        let (name, retries) = policy.split_once(':').unwrap_or((policy, "0"));
        assert_eq!(policy_of["Name"], name);
        assert_eq!(policy_of["MaximumRetryCount"].to_string(), retries);
        expect_up_to_date(&scene, &[]);
    }
}

#[test]
fn a_network_that_would_have_to_be_replaced_is_refused() {
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose: &format!("{SERVICE}networks: {{ default: {{}} }}\n"),
            ..Wishes::default()
        },
    );
    let one = scene.push(&ImageSpec::new("one"));
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&one).expect("succeeded"));
    let before = identity(&scene);
    scene.write_compose(&format!(
        "{SERVICE}networks: {{ default: {{ internal: true }} }}\n"
    ));
    let ended = scene.deploy(&two).expect("failed");
    assert!(
        ["outside_change", "stage_failed"].contains(&ended.cause()),
        "{:#}",
        ended.body
    );
    assert_eq!(identity(&scene), before);
}
