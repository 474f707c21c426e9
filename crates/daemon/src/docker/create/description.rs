//! From the description of a container to the order that creates it again. Pure.
//!
//! Docker describes a container by the fields that it was created with, merged with those of the image, and
//! adds what it chose itself. Everything is carried over as it stands, fields that this client does not know
//! as well, except for what would be refused or would be wrong in a second container:
//!
//! | field | why it is changed |
//! |---|---|
//! | `Hostname` | Docker's own choice, or that of the namespace that the container shares |
//! | `ExposedPorts` beside a shared network | those of the image, which Docker refuses as the container's |
//! | `Entrypoint` that is none | Docker would take the image's |
//! | volumes without a name | by the name that Docker gave them, so that their content stays |
//! | `Links` | described in another form than they are ordered in |
//! | addresses, identities of endpoints, MAC addresses that Docker chose | a new endpoint gets its own |
//! | `RestartPolicy` | `no`: who creates it decides when it starts |

use serde_json::{Map, Value, json};

use super::CreateConfiguration;

/// How many digits of its id Docker takes for a container's host name and alias.
const SHORT_ID_LEN: usize = 12;

/// What Docker writes into an endpoint by itself. `MacAddress` is among them because Docker shows its own
/// choice there as well; a configured one of the main network stands in `Config`.
const CHOSEN_BY_DOCKER: &[&str] = &[
    "DNSNames",
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
    "NetworkID",
];

type Object = Map<String, Value>;

/// Reads Docker's description of a container; none if it lacks what every description has. `host_name` is the
/// machine's, which a container in its network bears.
pub(super) fn read(described: &Value, host_name: Option<&str>) -> Option<CreateConfiguration> {
    let id = described["Id"].as_str()?;
    let image_id = described["Image"].as_str()?.to_owned();
    let mut config = described["Config"].as_object()?.clone();
    let mut host = described["HostConfig"].as_object()?.clone();
    let short_id = id.get(..SHORT_ID_LEN).unwrap_or(id);
    let mode = text(&host, "NetworkMode").to_owned();

    let hostname = text(&config, "Hostname");
    let shares_name = mode.starts_with("container:") || text(&host, "UTSMode") == "host";
    if shares_name || hostname == short_id || (mode == "host" && Some(hostname) == host_name) {
        config.remove("Hostname");
    }
    if mode.starts_with("container:") {
        config.remove("ExposedPorts");
    }
    if config.get("Entrypoint").is_none_or(Value::is_null) {
        config.insert("Entrypoint".into(), json!([""]));
    }
    let mut volumes = Vec::new();
    for mount in described["Mounts"].as_array().into_iter().flatten() {
        volumes.extend(keep_volume(&mut host, mount).map(str::to_owned));
    }
    if let Some(links) = host.get_mut("Links").and_then(Value::as_array_mut) {
        for link in links {
            *link = json!(ordered_link(link.as_str()?));
        }
    }
    host.insert(
        "RestartPolicy".into(),
        json!({ "Name": "no", "MaximumRetryCount": 0 }),
    );
    let (main_network, endpoints) = endpoints(described, &mode, short_id, &mut config);
    config.insert("HostConfig".into(), host.into());
    Some(CreateConfiguration {
        image_id,
        platform: platform(described),
        main_network,
        endpoints,
        volumes,
        body: config,
    })
}

fn text<'a>(object: &'a Object, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// If this is the mount of a volume: its name, which the order has now even if it left the name to Docker.
fn keep_volume<'a>(host: &mut Object, mount: &'a Value) -> Option<&'a str> {
    if mount["Type"] != json!("volume") {
        return None;
    }
    let name = mount["Name"].as_str()?;
    let destination = mount["Destination"].as_str()?;
    let is_it = |path: &str| path.trim_end_matches('/') == destination.trim_end_matches('/');
    if let Some(binds) = host.get_mut("Binds").and_then(Value::as_array_mut) {
        if binds.iter().any(|bind| target(bind).is_some_and(is_it)) {
            return Some(name);
        }
        // `/data` alone: a volume to which Docker gives a name.
        binds.retain(|bind| !bind.as_str().is_some_and(is_it));
    }
    let mounts = host.entry("Mounts").or_insert(Value::Null);
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let mounts = mounts.as_array_mut()?;
    let ordered = mounts
        .iter_mut()
        .find(|ordered| ordered["Target"].as_str().is_some_and(is_it));
    match ordered {
        Some(ordered) if ordered["Source"].as_str().unwrap_or_default().is_empty() => {
            ordered["Source"] = json!(name);
        }
        Some(_named) => {}
        None => mounts.push(json!({
            "Type": "volume",
            "Source": name,
            "Target": destination,
            "ReadOnly": mount["RW"] == json!(false),
            // One that was emptied is not filled from the image again.
            "VolumeOptions": { "NoCopy": true },
        })),
    }
    Some(name)
}

/// Where `source:target:options` mounts its source.
fn target(bind: &Value) -> Option<&str> {
    bind.as_str()?.split(':').nth(1)
}

/// `/db:/web/alias` as it is ordered: `db:alias`.
fn ordered_link(described: &str) -> String {
    let Some((from, to)) = described.split_once(':') else {
        return described.to_owned();
    };
    let alias = to.rsplit('/').next().unwrap_or(to);
    format!("{}:{alias}", from.trim_start_matches('/'))
}

/// The network that the container is created in, and how it is connected to each of its networks.
fn endpoints(
    described: &Value,
    mode: &str,
    short_id: &str,
    config: &mut Object,
) -> (Option<String>, Object) {
    let mut endpoints = Object::new();
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        return (None, endpoints);
    }
    let mut main_network = None;
    let networks = described["NetworkSettings"]["Networks"].as_object();
    for (name, described) in networks.into_iter().flatten() {
        let mut endpoint = described.as_object().cloned().unwrap_or_default();
        let is_main = match mode {
            "" | "default" | "bridge" => name == "bridge",
            mode => name == mode || endpoint.get("NetworkID") == Some(&json!(mode)),
        };
        for key in CHOSEN_BY_DOCKER {
            endpoint.remove(*key);
        }
        if let Some(aliases) = endpoint.get_mut("Aliases").and_then(Value::as_array_mut) {
            aliases.retain(|alias| alias.as_str() != Some(short_id));
        }
        if is_main {
            if let Some(mac) = config.remove("MacAddress") {
                endpoint.insert("MacAddress".into(), mac);
            }
            main_network = Some(name.clone());
        }
        endpoints.insert(name.clone(), endpoint.into());
    }
    (main_network, endpoints)
}

/// The platform, where the image holds several and Docker says which one this container has.
fn platform(described: &Value) -> Option<String> {
    let platform = &described["ImageManifestDescriptor"]["platform"];
    let part = |name: &str| platform[name].as_str().filter(|part| !part.is_empty());
    let platform = format!("{}/{}", part("os")?, part("architecture")?);
    Some(match part("variant") {
        Some(variant) => format!("{platform}/{variant}"),
        None => platform,
    })
}

#[cfg(test)]
mod tests;
