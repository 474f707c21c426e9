//! `cutover init`: the whole command, with a program in the place of Compose that says what the project is.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::binary::Cutover;

/// A directory with a Compose file, and with the stand-in for Compose where a plugin of Docker is.
struct Place(TempDir);

impl Place {
    fn new(project: &str) -> Self {
        let place = Self(TempDir::new().expect("a directory"));
        let plugins = place.path("docker/cli-plugins");
        fs::create_dir_all(&plugins).expect("made");
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/docker-compose");
        symlink(stand_in, plugins.join("docker-compose")).expect("linked");
        fs::write(place.path("docker/project.json"), project).expect("written");
        fs::write(place.path("compose.yaml"), "services: {}\n").expect("written");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn init(&self, more: &[&str]) -> Cutover {
        let (directory, output) = (self.0.path().display().to_string(), self.path("etc"));
        let output = output.display().to_string();
        let mut arguments = vec!["init", "--directory", &directory, "--output", &output];
        arguments.extend(more);
        Cutover::new(&arguments)
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("PATH", "/usr/bin:/bin")
    }
}

fn path_of(place: &Place, name: &str) -> String {
    place.path(name).display().to_string()
}

const SHOP: &str =
    r#"{ "services": { "shop": { "image": "ghcr.io/acme/shop:${SHOP_IMAGE_TAG}" } } }"#;

#[test]
fn a_project_gets_everything_that_it_needs() {
    let place = Place::new(SHOP);
    let ended = place.init(&[]).run().with_code(0);
    assert!(
        ended.stdout.contains("Can be deployed: shop\n"),
        "{}",
        ended.stdout
    );
    for name in [
        "cutover.toml",
        "webhook.secret",
        "cutover.service",
        "deploy.yml",
    ] {
        assert!(place.path("etc").join(name).is_file(), "{name}");
    }
    let configuration = fs::read_to_string(place.path("etc/cutover.toml")).expect("written");
    let compose = place.path("docker/cli-plugins/docker-compose");
    assert!(
        configuration.contains(&format!("\ncompose = \"{}\"\n", compose.display())),
        "the daemon would not find this Compose by itself: {configuration}"
    );
}

#[test]
fn what_was_done_is_told_as_json_too() {
    let place = Place::new(SHOP);
    let ended = place.init(&["--json"]).run().with_code(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["services"], serde_json::json!(["shop"]));
    assert_eq!(report["files"][0]["state"], "written");
}

#[test]
fn a_service_that_the_workflow_leaves_out_is_named() {
    let place = Place::new(
        r#"{ "services": { "db": { "image": "postgres:${DB_TAG}" },
            "shop": { "image": "ghcr.io/acme/shop:${SHOP_IMAGE_TAG}" } } }"#,
    );
    let ended = place.init(&[]).run().with_code(0);
    assert!(
        ended
            .stdout
            .contains("Can be deployed: shop, db\nWithout a job in the workflow: db ("),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_mistyped_certificate_or_key_is_refused_before_anything_is_written() {
    let place = Place::new(SHOP);
    let (cert, key) = (path_of(&place, "tls.crt"), path_of(&place, "tls.key"));
    for name in [&cert, &key] {
        fs::write(name, "PEM").expect("written");
        fs::set_permissions(name, fs::Permissions::from_mode(0o600)).expect("changed");
    }
    let (missing, directory) = (path_of(&place, "tls.ctr"), path_of(&place, "docker"));
    for (cert, key, words) in [
        (&missing, &key, "--cert"),
        (&cert, &missing, "--key"),
        (&cert, &directory, "it is not a regular file"),
    ] {
        let ended = place.init(&["--cert", cert, "--key", key]).run();
        let ended = ended.with_code(2);
        for words in [words, "cannot be read", "nothing was written"] {
            assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        }
        assert!(!place.path("etc").exists());
    }
    place
        .init(&["--cert", &cert, "--key", &key])
        .run()
        .with_code(0);
}

#[test]
fn nothing_is_written_for_a_project_that_cannot_be_deployed() {
    let place = Place::new(
        r#"{ "services": { "db": { "image": "postgres:16" }, "shop": { "image": "acme/shop:1" } } }"#,
    );
    let ended = place.init(&[]).run().with_code(2);
    assert!(
        ended.stderr.contains("image: acme/shop:${SHOP_IMAGE_TAG}"),
        "{}",
        ended.stderr
    );
    assert!(!place.path("etc").exists());
}

#[test]
fn a_directory_without_a_compose_file_is_refused() {
    let place = Place::new(SHOP);
    fs::remove_file(place.path("compose.yaml")).expect("it was there");
    let ended = place.init(&[]).run().with_code(2);
    assert!(
        ended.stderr.contains("there is no Compose file in"),
        "{}",
        ended.stderr
    );
}
