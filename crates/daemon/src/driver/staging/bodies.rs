//! What a body of Compose must be like before it is passed to Docker.
//!
//! Docker is written in Go, whose JSON takes a key in any case, and the last of several: `{"Container": NEW,
//! "container": OTHER}` is about OTHER. Here keys are taken as they are written, so a body with another spelling of a key
//! that is looked at here is not passed on.

use std::collections::BTreeMap;

use serde_json::Value;

/// A volume of the project, as Compose renders it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeclaredVolume {
    /// Its driver; empty for Docker's own.
    pub driver: String,
    /// What the driver is told: for Docker's own, which directory of the machine it is, perhaps.
    pub options: BTreeMap<String, String>,
}

/// The keys that are looked at or changed, by the object that they are in.
const KNOWN: [(&str, &[&str]); 3] = [
    (
        "",
        &[
            "Container",
            "Driver",
            "DriverOpts",
            "HostConfig",
            "Labels",
            "Name",
        ],
    ),
    ("/HostConfig", &["RestartPolicy"]),
    ("/HostConfig/RestartPolicy", &["Name", "MaximumRetryCount"]),
];

/// The first key that Docker would take for one that is looked at here, and that is not written as it is.
pub(super) fn other_spelling(body: &Value) -> Option<String> {
    KNOWN.iter().find_map(|(place, known)| {
        let object = body.pointer(place)?.as_object()?;
        let is_other = |key: &&String| {
            let folded = folded(key);
            let mut known = known.iter();
            known.any(|known| folded == known.to_ascii_lowercase() && key.as_str() != *known)
        };
        object.keys().find(is_other).cloned()
    })
}

/// As Go compares keys: with the two letters outside ASCII that have a small letter inside it.
fn folded(key: &str) -> String {
    let small = key.chars().map(|c| match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        c => c.to_ascii_lowercase(),
    });
    small.collect()
}

/// Whether a volume that Compose wants to create is one of the project's, with the driver and the options that are
/// declared there; if not, what it is.
pub(super) fn undeclared_volume(
    body: &Value,
    declared: &BTreeMap<String, DeclaredVolume>,
) -> Option<String> {
    let name = body["Name"].as_str().unwrap_or_default();
    let wanted = DeclaredVolume {
        driver: driver(body["Driver"].as_str().unwrap_or_default()),
        options: options(&body["DriverOpts"]),
    };
    let is_declared = declared.get(name).is_some_and(|declared| {
        driver(&declared.driver) == wanted.driver && declared.options == wanted.options
    });
    (!is_declared).then(|| {
        format!("create the volume `{name}`, which the project does not declare with this driver and these options")
    })
}

/// Docker's own driver has a name, too.
fn driver(name: &str) -> String {
    match name {
        "" => "local".to_owned(),
        name => name.to_owned(),
    }
}

fn options(value: &Value) -> BTreeMap<String, String> {
    let options = value.as_object().into_iter().flatten();
    options
        .map(|(name, value)| {
            let text = value.as_str().map(str::to_owned);
            (name.clone(), text.unwrap_or_else(|| value.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_spelling_of_a_known_key_is_found_where_docker_would_take_it() {
        for (body, found) in [
            (
                json!({"Container": "new", "container": "other"}),
                Some("container"),
            ),
            (json!({"CONTAINER": "other"}), Some("CONTAINER")),
            (json!({"Label\u{17f}": {}}), Some("Label\u{17f}")),
            (json!({"labels": {}}), Some("labels")),
            (
                json!({"HostConfig": {"restartPolicy": {}}}),
                Some("restartPolicy"),
            ),
            (
                json!({"HostConfig": {"RestartPolicy": {"name": "always"}}}),
                Some("name"),
            ),
            (json!({"hostConfig": {}}), Some("hostConfig")),
            (json!({"driveropts": {}}), Some("driveropts")),
            (
                json!({"Labels": {"container": "a label", "Container": "another"}}),
                None,
            ),
            (
                json!({"Container": "new", "EndpointConfig": {"name": "x"}}),
                None,
            ),
            (json!([]), None),
        ] {
            assert_eq!(other_spelling(&body).as_deref(), found, "{body}");
        }
        assert_eq!(folded("\u{212a}ey"), "key");
    }

    #[test]
    fn a_volume_is_created_as_the_project_declares_it() {
        let bound = [("type", "none"), ("o", "bind"), ("device", "/srv/data")];
        let bound = bound.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let declared = BTreeMap::from([
            ("shop_data".to_owned(), DeclaredVolume::default()),
            (
                "shop_bound".to_owned(),
                DeclaredVolume {
                    driver: "local".to_owned(),
                    options: bound.into(),
                },
            ),
        ]);
        let options = |device: &str| json!({"type": "none", "o": "bind", "device": device});
        for (body, fine) in [
            (json!({"Name": "shop_data"}), true),
            (
                json!({"Name": "shop_data", "Driver": "local", "DriverOpts": null}),
                true,
            ),
            (
                json!({"Name": "shop_data", "DriverOpts": options("/")}),
                false,
            ),
            (json!({"Name": "shop_data", "Driver": "nfs"}), false),
            (
                json!({"Name": "shop_bound", "DriverOpts": options("/srv/data")}),
                true,
            ),
            (
                json!({"Name": "shop_bound", "DriverOpts": options("/")}),
                false,
            ),
            (json!({"Name": "other", "Driver": "local"}), false),
            (json!({}), false),
        ] {
            assert_eq!(
                undeclared_volume(&body, &declared).is_none(),
                fine,
                "{body}"
            );
        }
    }
}
