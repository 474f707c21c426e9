//! Whether a container could be started again after it was stopped: looked at before anything is stopped.
//!
//! Docker holds a container to what it was created with: networks by their ids (one that was made again under
//! the same name is another), other containers' namespaces by the ids of these, volumes by name, mounted files by
//! path. For a mounted path that is gone it even makes an empty directory, with which the container starts and is
//! not what it was. The image is not among this: measured with both of Docker's image stores, a container starts
//! after its image was removed.
//!
//! What is not known counts as present. A false alarm would stop every deployment of a service; a miss ends in a
//! rollback that fails as it would have without the look.

mod eyes;
mod kind;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use self::eyes::{Eyes, Seen};
use self::kind::Kind;
use crate::docker::{Docker, DockerError};

/// How long the look at files may take. They answer at once; a network file system that does not counts as
/// present, and must not hold up the deployment.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Networks that Docker makes itself, anew at each of its starts, and joins by name.
const DOCKERS_OWN_NETWORKS: [&str; 3] = ["bridge", "host", "none"];

/// Something without which the container cannot be started as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What, for a person, as part of a sentence: `the file /srv/shop/config.yaml, mounted at /etc/app.yaml, is
    /// gone`.
    pub what: String,
}

/// Everything that is missing for the container to be started again after a stop; it may run or not. Those with the ids
/// `with_it` are started before it.
///
/// # Errors
/// Whatever kept Docker from answering.
pub async fn missing_for_start(
    docker: &Docker,
    container_id: &str,
    with_it: &BTreeSet<String>,
) -> Result<Vec<Missing>, DockerError> {
    let Some(described) = docker.container_description(container_id).await? else {
        let what = format!("the container {} itself is gone", short(container_id));
        return Ok(vec![Missing { what }]);
    };
    let mut missing = missing_networks(docker, &described).await?;
    missing.extend(missing_containers(docker, &described, with_it).await?);
    let (gone, volumes) = volumes(docker, &described).await?;
    missing.extend(gone);
    let places = [places(&described), volumes].concat();
    missing.extend(missing_places(docker, &described, places).await?);
    Ok(missing.into_iter().map(|what| Missing { what }).collect())
}

/// Measured on Engine 28.5: a stopped container does not start when a network of it was removed and made again
/// (`network <id> not found`), its first network or a further one; one that was never started has no id yet and
/// takes the network of the name.
async fn missing_networks(docker: &Docker, described: &Value) -> Result<Vec<String>, DockerError> {
    let mut missing = Vec::new();
    let networks = described["NetworkSettings"]["Networks"].as_object();
    for (name, endpoint) in networks.into_iter().flatten() {
        let recorded = endpoint["NetworkID"].as_str().unwrap_or_default();
        if DOCKERS_OWN_NETWORKS.contains(&name.as_str()) {
            continue;
        }
        let wanted = if recorded.is_empty() { name } else { recorded };
        if docker.network_description(wanted).await?.is_some() {
            continue;
        }
        if docker.network_description(name).await?.is_some() {
            missing.push(format!(
                "the network {name} was removed and made again, and the container belongs to the former one"
            ));
        } else if !docker.is_in_a_swarm().await? {
            // A network of a swarm comes to a machine only when a container there asks for it.
            missing.push(format!("the network {name} is gone"));
        }
    }
    Ok(missing)
}

async fn missing_containers(
    docker: &Docker,
    described: &Value,
    with_it: &BTreeSet<String>,
) -> Result<Vec<String>, DockerError> {
    let mut missing = Vec::new();
    for (field, what) in [
        ("NetworkMode", "network"),
        ("IpcMode", "IPC namespace"),
        ("PidMode", "process namespace"),
    ] {
        let mode = described["HostConfig"][field].as_str().unwrap_or_default();
        let Some(other) = mode.strip_prefix("container:") else {
            continue;
        };
        match docker.container(other).await? {
            Some(found) if found.state.running || with_it.contains(&found.id) => {}
            Some(found) => missing.push(format!(
                "the container {}, whose {what} it shares, does not run",
                found.name
            )),
            None => missing.push(format!(
                "the container {}, whose {what} it shares, is gone",
                short(other)
            )),
        }
    }
    Ok(missing)
}

/// A path on the machine that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    /// Whose it is, in words that follow the path.
    role: String,
    /// Where the container has it, if it shows what kind it was.
    destination: Option<PathBuf>,
}

/// What the container's volumes lack, and the places that they need.
async fn volumes(
    docker: &Docker,
    described: &Value,
) -> Result<(Vec<String>, Vec<Place>), DockerError> {
    let (mut missing, mut places) = (Vec::new(), Vec::new());
    for mount in mounts(described, "volume") {
        let (Some(name), Some(destination)) =
            (mount["Name"].as_str(), mount["Destination"].as_str())
        else {
            continue;
        };
        let found = match docker.volume_description(name).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                missing.push(format!(
                    "the volume {name}, mounted at {destination}, is gone"
                ));
                continue;
            }
            Err(error) if error.is_uncertain() => return Err(error),
            // Its driver has trouble, which may be over by then.
            Err(_) => continue,
        };
        if found["Driver"].as_str() != Some("local") {
            continue;
        }
        let options = &found["Options"];
        let is_bind = options["o"]
            .as_str()
            .is_some_and(|o| o.split(',').any(|o| matches!(o, "bind" | "rbind")));
        let directories = [
            found["Mountpoint"].as_str(),
            options["device"].as_str().filter(|_| is_bind),
        ];
        places.extend(directories.into_iter().flatten().map(|path| Place {
            path: path.into(),
            role: format!("of the volume {name}, mounted at {destination}"),
            destination: None,
        }));
    }
    Ok((missing, places))
}

/// The places that the container has mounted itself, and its devices.
fn places(described: &Value) -> Vec<Place> {
    let binds = mounts(described, "bind").filter_map(|mount| {
        let destination = mount["Destination"].as_str()?;
        Some(Place {
            path: mount["Source"].as_str()?.into(),
            role: format!("mounted at {destination}"),
            destination: Some(destination.into()),
        })
    });
    let devices = described["HostConfig"]["Devices"].as_array();
    let devices = devices.into_iter().flatten().filter_map(|device| {
        Some(Place {
            path: device["PathOnHost"].as_str()?.into(),
            role: "a device of the container".to_owned(),
            destination: None,
        })
    });
    binds.chain(devices).collect()
}

fn mounts<'a>(described: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let mounts = described["Mounts"].as_array().into_iter().flatten();
    mounts.filter(move |mount| mount["Type"].as_str() == Some(kind))
}

/// Looks at the places, if this process sees the machine's files as Docker does.
async fn missing_places(
    docker: &Docker,
    described: &Value,
    places: Vec<Place>,
) -> Result<Vec<String>, DockerError> {
    let (Some(id), false) = (described["Id"].as_str(), places.is_empty()) else {
        return Ok(Vec::new());
    };
    let Some(root) = docker.root_directory().await? else {
        return Ok(Vec::new());
    };
    // Docker has made it for this very container: who does not see it does not see what Docker sees.
    let own = root.join("containers").join(id);
    let id = described["State"]["Running"]
        .as_bool()
        .is_some_and(|runs| runs)
        .then(|| id.to_owned());
    let look = tokio::task::spawn_blocking(move || look(&own, id.as_deref(), &places));
    match tokio::time::timeout(LOOK_TIMEOUT, look).await {
        Ok(Ok(missing)) => Ok(missing),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("a file that a container needs does not answer; it counts as present");
            Ok(Vec::new())
        }
    }
}

/// `running` is the id of the container if it runs.
fn look(own: &Path, running: Option<&str>, places: &[Place]) -> Vec<String> {
    if !own.is_dir() {
        return Vec::new();
    }
    let Some(eyes) = Eyes::of_this_process() else {
        return Vec::new();
    };
    let root = running.and_then(kind::root_of);
    let missing = places.iter().filter_map(|place| {
        let mounted = root.as_ref().zip(place.destination.as_ref());
        let was = mounted.and_then(|(root, destination)| kind::below(root, destination));
        words(place, was, eyes.look(&place.path))
    });
    missing.collect()
}

/// What is wrong with a place that was of this kind, if that is known, and is found like this.
fn words(place: &Place, was: Option<Kind>, seen: Seen) -> Option<String> {
    let Place { path, role, .. } = place;
    let path = path.display();
    match (was, seen) {
        (Some(was), Seen::Gone) => Some(format!("the {was} {path}, {role}, is gone")),
        (None, Seen::Gone) => Some(format!("{path}, {role}, is gone")),
        (Some(was), Seen::Present(now)) if was != now => {
            Some(format!("{path}, {role}, was a {was} and is a {now} now"))
        }
        (_, Seen::Present(_) | Seen::Unknown) => None,
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_reads_what_is_missing() {
        let place = Place {
            path: "/srv/shop/config.yaml".into(),
            role: "mounted at /etc/app.yaml".into(),
            destination: None,
        };
        for (was, seen, expected) in [
            (
                Some(Kind::File),
                Seen::Gone,
                Some("the file /srv/shop/config.yaml, mounted at /etc/app.yaml, is gone"),
            ),
            (
                None,
                Seen::Gone,
                Some("/srv/shop/config.yaml, mounted at /etc/app.yaml, is gone"),
            ),
            (
                Some(Kind::File),
                Seen::Present(Kind::Directory),
                Some(
                    "/srv/shop/config.yaml, mounted at /etc/app.yaml, was a file and is a directory now",
                ),
            ),
            (Some(Kind::File), Seen::Present(Kind::File), None),
            (None, Seen::Present(Kind::Directory), None),
            (Some(Kind::File), Seen::Unknown, None),
        ] {
            assert_eq!(words(&place, was, seen).as_deref(), expected);
        }
    }

    #[test]
    fn mounts_and_devices_are_places_and_volumes_and_memory_are_none() {
        let described = json!({
            "Mounts": [
                { "Type": "bind", "Source": "/a", "Destination": "/b" },
                { "Type": "volume", "Name": "v", "Source": "/c", "Destination": "/d" },
                { "Type": "tmpfs", "Destination": "/e" },
            ],
            "HostConfig": { "Devices": [{ "PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse" }] },
        });
        let found: Vec<PathBuf> = places(&described).into_iter().map(|one| one.path).collect();
        assert_eq!(found, [Path::new("/a"), Path::new("/dev/fuse")]);
        assert_eq!(places(&json!({})), []);
    }

    #[test]
    fn who_does_not_see_dockers_files_judges_none() {
        let place = Place {
            path: "/nonexistent/file".into(),
            role: "mounted at /etc/app.yaml".into(),
            destination: None,
        };
        let directory = tempfile::tempdir().expect("a directory");
        let places = [place];
        assert_eq!(look(&directory.path().join("c1"), None, &places), [""; 0]);
        assert_eq!(look(directory.path(), None, &places).len(), 1);
    }
}
