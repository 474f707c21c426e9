//! The documents say what the readers do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::known_keys;
use super::Place;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first columns of the tables in `docs/configuration.md` that name a key.
fn documented_keys() -> Vec<String> {
    document("configuration.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once('`'))
        .map(|(key, _)| key.to_owned())
        .collect()
}

#[test]
fn the_tables_list_every_key_and_no_other() {
    let documented = documented_keys();
    let known = known_keys();
    let sets = (
        documented.iter().collect::<BTreeSet<_>>(),
        known.iter().collect::<BTreeSet<_>>(),
    );
    assert_eq!(sets.0, sets.1);
    assert_eq!(documented.len(), known.len(), "a key is listed twice");
}

#[test]
fn the_example_loads_as_it_is_and_with_all_that_is_commented_out() {
    let place = Place::new();
    for (name, text) in [
        ("shop/compose.yaml", "services: {}\n"),
        ("shop/compose.prod.yaml", "services: {}\n"),
        ("shop/.env", "SEARCH_IMAGE_TAG=1\n"),
        ("etc/tls.crt", "a certificate"),
        ("etc/tls.key", "a key"),
        ("etc/webhook.secret", "0123456789abcdef0123456789abcdef\n"),
        (
            "etc/operator-alice.token",
            "abcdefghijklmnopqrstuvwxyz012345\n",
        ),
        ("docker-compose", ""),
        ("cosign", ""),
    ] {
        fs::create_dir_all(place.path(name).parent().expect("a directory")).expect(name);
        place.write(
            name,
            text,
            if ["docker-compose", "cosign"].contains(&name) {
                0o755
            } else {
                0o600
            },
        );
    }
    let example = document("cutover.example.toml")
        .replace("/etc/cutover/", "$DIR/etc/")
        .replace("/srv/shop", "$DIR/shop")
        .replace(
            "/usr/libexec/docker/cli-plugins/docker-compose",
            "$DIR/docker-compose",
        )
        .replace("/usr/local/bin/cosign", "$DIR/cosign")
        .replace("\"/root/.docker\"", "\"$DIR\"");
    let settings = place
        .read(&example)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(settings.services.len(), 2);
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(example, uncommented);
    place
        .read(&uncommented)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    for key in known_keys() {
        let name = key.rsplit('.').next().expect("a name");
        assert!(
            uncommented.contains(&format!("{name} = ")),
            "the example lacks {key}"
        );
    }
}

#[test]
fn what_the_example_shows_as_a_default_is_one() {
    let text = document("cutover.example.toml");
    for default in [
        "#socket = \"/run/cutover/cutover.sock\"",
        "#state_directory = \"/var/lib/cutover\"",
        "#shutdown_deadline = \"5m\"",
        "#history_days = 90",
        "#require_freshness = true",
        "#socket = \"/var/run/docker.sock\"",
        "#min_healthy_time = \"0s\"",
        "#hold = \"30s\"",
        "#drain = \"2s\"",
        "#progress_deadline = \"15m\"",
        "#keep_releases = 3",
        "#require_revision_label = false",
        "#when_busy = \"wait\"",
        "#way_back = \"previous-image\"",
        "#unset_variables = \"warn\"",
        "#output = \"masked\"",
    ] {
        assert!(text.contains(&format!("\n{default}\n")), "{default}");
    }
}
