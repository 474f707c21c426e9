//! What `plan` says is what a deployment does.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{SERVICE, Scene, Wishes};

use crate::{CUTOVER, said};

/// The strategy of a plan, and the outcome and the code of the deployment that does it.
fn expect(scene: &Scene, sha: &str, what: &str, strategy: &str, outcome: &str) {
    let configuration = scene.configuration().display().to_string();
    let planned = scene.run(&["plan", "app", sha, "--config", &configuration, "--json"]);
    let plan: serde_json::Value =
        serde_json::from_str(&planned.stdout).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(plan["strategy"], strategy, "{what}: {plan:#}");
    let refused = plan["refused_because"].as_array().expect("a list");
    let because = plan["because"].as_array().expect("a list");
    assert_eq!(
        refused.is_empty(),
        strategy != "refused",
        "{what}: {plan:#}"
    );
    assert_eq!(
        because.is_empty(),
        strategy == "refused",
        "{what}: {plan:#}"
    );
    assert_eq!(planned.exit != 0, strategy == "refused", "{what}");
    drop(scene.deploy(sha).expect(outcome));
}

#[test]
fn a_plan_and_the_deployment_agree() {
    let compose = format!("{SERVICE}    volumes: [\"./app.conf:/app.conf:ro\"]\n");
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose: &compose,
            ..Wishes::default()
        },
    );
    scene.write("project/app.conf", "one");
    let one = scene.push(&ImageSpec::new("one"));
    let unchanged = |scene: &Scene| expect(scene, &one, "again", "unchanged", "unchanged");
    let switched = |scene: &Scene, what| expect(scene, &one, what, "stop-first", "succeeded");
    switched(&scene, "the first deployment");
    unchanged(&scene);

    let moved = ImageSpec::new("one, moved").label("scene", scene.project());
    scene.registry.push("shop", &one, &moved).expect("a push");
    switched(&scene, "a tag that was moved");
    unchanged(&scene);

    scene.write_compose(&format!("{compose}    environment: {{COLOR: red}}\n"));
    switched(&scene, "another definition");
    unchanged(&scene);

    scene.write("project/app.conf", "two");
    switched(&scene, "another content of a mounted file");
    unchanged(&scene);

    let id = scene.containers()[0]["Id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let stopped = scene.call_docker("POST", &format!("/containers/{id}/stop"));
    assert!(stopped.is_some_and(|(status, _)| status == 204));
    switched(&scene, "a container that was stopped by hand");

    scene.write_compose(&format!("{compose}    scale: 2\n"));
    expect(&scene, &one, "two replicas", "refused", "failed");
    scene.write_compose(&compose);
    expect(
        &scene,
        &"e".repeat(40),
        "an image that nobody pushed",
        "refused",
        "failed",
    );
}

#[test]
fn what_compose_warns_of_is_told_by_check_plan_and_answer() {
    let compose = format!(
        "version: \"3\"\n{SERVICE}    environment: {{DB_PASSWORD: \"${{DB_PASSWORD}}\"}}\n"
    );
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose: &compose,
            ..Wishes::default()
        },
    );
    let one = scene.push(&ImageSpec::new("one"));
    let configuration = scene.configuration().display().to_string();
    let told = |text: &str| {
        for words in ["the variable `DB_PASSWORD` is set nowhere", "is obsolete"] {
            assert_eq!(text.matches(words).count(), 1, "{words}: {text}");
        }
    };
    told(&scene.run(&["check", "--config", &configuration]).stdout);
    let plan = ["plan", "app", &one, "--config", &configuration];
    told(&scene.run(&plan).stdout);
    let deployed = scene.deploy(&one).expect("succeeded");
    told(&said(deployed.deployment()));
    scene.write("project/.env", "DB_PASSWORD=long-and-secret\n");
    let plan = scene.run(&plan).stdout;
    assert!(!plan.contains("DB_PASSWORD"), "{plan}");
}

#[test]
fn what_the_previous_container_had_by_a_variable_is_not_lost_without_it() {
    let compose = format!(
        "{SERVICE}    environment: [\"URL=pg://${{DB_PASSWORD}}@db\", PASSED]\n    volumes: [\"${{DATA_DIR}}/db:/db\"]\n"
    );
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose: &compose,
            ..Wishes::default()
        },
    );
    let one = scene.push(&ImageSpec::new("one"));
    let data = scene.project_directory().join("data");
    std::fs::create_dir_all(data.join("db")).expect("a directory");
    let set = format!(
        "DB_PASSWORD=long-and-secret\nPASSED=as-secret\nDATA_DIR={}\n",
        data.display()
    );
    scene.write("project/.env", &set);
    expect(&scene, &one, "everything is set", "stop-first", "succeeded");
    let before = scene.container();

    let two = scene.push(&ImageSpec::new("two"));
    for (left, lost) in [
        ("DB_PASSWORD", "environment variable URL"),
        ("PASSED", "environment variable PASSED"),
        ("DATA_DIR", "mount at /db"),
    ] {
        let without: String = set
            .lines()
            .filter(|line| !line.starts_with(left))
            .map(|line| format!("{line}\n"))
            .collect();
        scene.write("project/.env", &without);
        expect(&scene, &two, left, "refused", "failed");
        let refused = scene.history().remove(0);
        assert_eq!(refused["cause"]["code"], "unset_variable", "{refused:#}");
        let detail = refused["cause"]["detail"].to_string();
        assert!(
            detail.contains(left) && detail.contains(lost) && !detail.contains("secret"),
            "{detail}"
        );
        assert_eq!(scene.container()["Id"], before["Id"], "{left}");
    }
    scene.write("project/.env", &set);
    expect(
        &scene,
        &two,
        "everything is set again",
        "stop-first",
        "succeeded",
    );
}
