//! The other services of a project whose definition changes with the tag of the release.
//!
//! The env file names the tag for the whole project. A service that uses the same variable, or gets its environment from
//! that file, has another definition after each deployment, and `docker compose up -d` by hand recreates it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::file::WrittenFile;

/// Why the definition of another service changes with the tag. `Display` says it for a person, with the line that
/// keeps them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Neighbour {
    /// Its image line has the same variable.
    SameImageVariable {
        /// The service.
        service: String,
        /// The variable.
        variable: String,
    },
    /// Another part of its definition has the variable.
    SameVariable {
        /// The service.
        service: String,
        /// The variable.
        variable: String,
    },
    /// Its environment comes from the env file.
    ReadsEnvFile {
        /// The service.
        service: String,
        /// The variable.
        variable: String,
        /// The file.
        file: PathBuf,
    },
}

impl std::fmt::Display for Neighbour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SameImageVariable { service, variable } => write!(
                f,
                "the image of service `{service}` uses {variable} as well: `docker compose up -d` by hand gives it each release of this service, which nobody has proven there; write another variable in its image line"
            ),
            Self::SameVariable { service, variable } => write!(
                f,
                "service `{service}` uses {variable} as well: `docker compose up -d` by hand recreates it after each deployment of this service; take the variable out of its definition"
            ),
            Self::ReadsEnvFile {
                service,
                variable,
                file,
            } => write!(
                f,
                "service `{service}` gets its environment from {}, which names the tag: `docker compose up -d` by hand recreates it after each deployment of this service; write `{variable}: \"\"` under its `environment`, or give it an `env_file` of its own",
                file.display()
            ),
        }
    }
}

/// A project in which every service is compared as a whole.
#[derive(Deserialize)]
pub(super) struct WholeFile {
    #[serde(default)]
    services: BTreeMap<String, Map<String, Value>>,
}

/// The neighbours of the release that consists of `own`, given the project rendered for two tags and, where it can be read so, as written.
pub(super) fn neighbours(
    own: &[&str],
    variable: &str,
    env_file: &Path,
    rendered: [&WholeFile; 2],
    written: Option<&WrittenFile>,
) -> Vec<Neighbour> {
    let [one, other] = rendered;
    let mut found = Vec::new();
    for (name, of_one) in one
        .services
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
    {
        let of_other = other.services.get(name);
        let (service, variable) = (name.clone(), variable.to_owned());
        let differs = |key: &str| of_one.get(key) != of_other.and_then(|other| other.get(key));
        let described = written.and_then(|file| file.services.get(name));
        if differs("image") {
            found.push(Neighbour::SameImageVariable { service, variable });
        } else if of_other != Some(of_one) {
            found.push(Neighbour::SameVariable { service, variable });
        } else if described.is_some_and(|described| {
            reads(&described.rest, env_file) && !sets(&described.rest, &variable)
        }) {
            found.push(Neighbour::ReadsEnvFile {
                service,
                variable,
                file: env_file.to_owned(),
            });
        }
    }
    found
}

/// Whether a service gets its environment from the file.
pub(super) fn reads(written: &Map<String, Value>, file: &Path) -> bool {
    let is_file = |path: &Value| path.as_str().is_some_and(|path| Path::new(path) == file);
    match written.get("env_file") {
        Some(Value::Array(files)) => files
            .iter()
            .any(|one| is_file(one) || one.get("path").is_some_and(is_file)),
        Some(one) => is_file(one),
        None => false,
    }
}

/// Whether a service's own `environment` sets the variable, which goes before its env files.
fn sets(written: &Map<String, Value>, variable: &str) -> bool {
    let is_line = |line: &Value| {
        let name = line.as_str().and_then(|line| line.split_once('='));
        name.is_some_and(|(name, _)| name == variable)
    };
    match written.get("environment") {
        Some(Value::Object(map)) => map.contains_key(variable),
        Some(Value::Array(lines)) => lines.iter().any(is_line),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_whose_definition_changes_with_the_tag_is_a_neighbour() {
        let rendered = |tag: &str| -> WholeFile {
            serde_json::from_value(json!({ "services": {
                "app": { "image": format!("shop:{tag}") },
                "worker": { "image": format!("shop:{tag}"), "environment": { "RELEASE": tag } },
                "proxy": { "image": "proxy:1", "environment": { "RELEASE": tag } },
                "db": { "image": "db:1", "environment": { "TAG": "v0" } },
                "apart": { "image": "db:1", "environment": { "TAG": "" } },
                "apart2": { "image": "db:1", "environment": { "TAG": "" } },
                "other": { "image": "db:1" },
            }}))
            .expect("a project")
        };
        let file = json!([{ "path": "/srv/.env", "required": true }]);
        let written = json!({ "name": "shop", "services": {
            "db": { "image": "db:1", "env_file": file },
            "apart": { "image": "db:1", "env_file": file, "environment": { "TAG": "" } },
            "apart2": { "image": "db:1", "env_file": file, "environment": ["TAG="] },
            "other": { "image": "db:1", "env_file": [{ "path": "/srv/other.env" }] },
        }});
        let written: WrittenFile = serde_json::from_value(written).expect("a project");
        let (one, other) = (rendered("0"), rendered("1"));
        let found = neighbours(
            &["app"],
            "TAG",
            Path::new("/srv/.env"),
            [&one, &other],
            Some(&written),
        );
        let variable = || "TAG".to_owned();
        assert_eq!(
            found,
            [
                Neighbour::ReadsEnvFile {
                    service: "db".to_owned(),
                    variable: variable(),
                    file: "/srv/.env".into()
                },
                Neighbour::SameVariable {
                    service: "proxy".to_owned(),
                    variable: variable()
                },
                Neighbour::SameImageVariable {
                    service: "worker".to_owned(),
                    variable: variable()
                },
            ]
        );
    }
}
