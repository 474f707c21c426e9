//! What nobody may see, however it comes to the container or into an error.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Ended, HTTP_PROBE, SERVICE, Scene, Wishes};

use super::{CUTOVER, identity};

/// The service prints its secret, which Compose takes from a variable with an innocent name, and ends.
const TELLTALE: &str = "
    command: [\"/shopd\", \"cat\", \"/run/secrets/tok\"]
    secrets: [tok]
secrets:
  tok: { environment: SHOP_CARD }
";

const SECRET: &str = "4929-nobody-may-see";

/// That neither the client, nor the daemon's log, nor any of its files shows the secret.
#[track_caller]
fn expect_hidden(scene: &Scene, ended: &Ended) {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!said.contains("nobody-may-see"), "{said}");
    let state = std::fs::read_dir(scene.dir().join("state")).expect("the state directory");
    let files = state.map(|entry| entry.expect("an entry").path());
    let kept = files.filter(|path| path.is_file()).chain([scene.log()]);
    for path in kept {
        let bytes = std::fs::read(&path).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("nobody-may-see"), "{}", path.display());
    }
}

#[test]
fn a_compose_secret_from_an_env_file_or_the_daemons_environment_is_masked() {
    // `.env`, a configured env file, and a variable of the daemon that is passed on.
    let path = std::env::var("PATH").expect("a variable that the daemon has as well");
    let passed = TELLTALE.replace("SHOP_CARD", "PATH");
    let in_env = format!("SHOP_CARD='{SECRET}'\n");
    for (file, setting, telltale, secret) in [
        (".env", "", TELLTALE, SECRET),
        (
            "shop.env",
            "env_files = [\"{at}/shop.env\"]\n",
            TELLTALE,
            SECRET,
        ),
        (
            ".env",
            "pass_environment = [\"PATH\"]\n",
            passed.as_str(),
            path.as_str(),
        ),
    ] {
        let mut scene = Scene::usual(CUTOVER);
        let good = scene.push(&ImageSpec::new("good"));
        let bad = scene.push(&ImageSpec::new("bad"));
        scene.write(&format!("project/{file}"), &in_env);
        let at = scene.project_directory().display().to_string();
        let configuration = std::fs::read_to_string(scene.configuration()).expect("readable");
        let configuration = configuration.replace(HTTP_PROBE, &format!("{HTTP_PROBE}{setting}"));
        scene.write("cutover.toml", &configuration.replace("{at}", &at));
        scene.stop_daemon();
        scene.start_daemon();
        drop(scene.deploy(&good).expect("succeeded"));

        scene.write_compose(&format!("{}{telltale}", SERVICE.trim_end()));
        let ended = scene.deploy(&bad).expect("rolled_back");
        assert_eq!(ended.cause(), "container_exited");
        let log = ended.deployment()["log"].to_string();
        assert!(log.contains("***") && !log.contains(secret), "{log}");
        expect_hidden(&scene, &ended);
        assert_eq!(scene.serves(), "good");
    }
}

#[test]
fn a_mistake_in_an_env_file_is_told_without_what_stands_there() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    for (line, told) in [
        (
            "CARD=\"4929 nobody-may-see\n",
            "line 2: unterminated quoted value",
        ),
        (
            "MY CARD!4929 nobody-may-see\n",
            "line 1: unexpected character \"!\" in variable name",
        ),
        ("CARD=${4929 nobody-may-see\n", "Invalid template:"),
    ] {
        scene.write("project/.env", line);
        let ended = scene.deploy(&next).expect("failed");
        assert_eq!(ended.cause(), "invalid_compose");
        let detail = &ended.deployment()["cause"]["detail"];
        let detail = detail.as_str().unwrap_or_default();
        assert!(
            detail.contains("project/.env: ") && detail.contains(told),
            "{detail}"
        );
        expect_hidden(&scene, &ended);
    }
    assert_eq!(identity(&scene), before);
}

#[test]
fn what_is_shown_of_the_output_is_for_the_service_to_say() {
    for (output, shown) in [
        ("masked", Some("***")),
        ("full", Some(SECRET)),
        ("none", None),
    ] {
        let service = format!("{HTTP_PROBE}output = \"{output}\"\n");
        let mut scene = Scene::new(
            CUTOVER,
            &Wishes {
                service: &service,
                ..Wishes::default()
            },
        );
        let good = scene.push(&ImageSpec::new("good"));
        let bad = scene.push(&ImageSpec::new("bad"));
        scene.write("project/.env", &format!("SHOP_CARD='{SECRET}'\n"));
        drop(scene.deploy(&good).expect("succeeded"));
        scene.write_compose(&format!("{}{TELLTALE}", SERVICE.trim_end()));
        let ended = scene.deploy(&bad).expect("rolled_back");
        let log = ended.deployment()["log"].as_array().expect("a list");
        match shown {
            Some(shown) => assert!(log[0].to_string().contains(shown), "{output}: {log:?}"),
            None => assert!(log.is_empty(), "{output}: {log:?}"),
        }
        if output != "full" {
            expect_hidden(&scene, &ended);
        }
    }
}
