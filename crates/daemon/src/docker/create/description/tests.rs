//! The order that follows from a description, field by field.

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn described() -> Value {
    json!({
        "Id": ID,
        "Image": "sha256:aa",
        "Config": {
            "Image": "shop:1", "Hostname": "0123456789ab", "Env": ["TOKEN=secret"], "Cmd": ["/shopd"],
            "Entrypoint": null, "Labels": { "a": "b" }, "ExposedPorts": { "8080/tcp": {} },
            "Volumes": { "/data": {} }, "FieldOfTheFuture": { "kept": true },
        },
        "HostConfig": {
            "NetworkMode": "shop_default", "Binds": null, "RestartPolicy": { "Name": "always", "MaximumRetryCount": 0 },
            "FieldOfTheFuture": [1, 2],
        },
        "Mounts": [],
        "NetworkSettings": { "Networks": { "shop_default": {
            "IPAMConfig": { "IPv4Address": "10.1.2.3" }, "Aliases": ["shop-app-1", "app", "0123456789ab"],
            "Links": ["shop-db-1:db"], "DriverOpts": { "o": "1" }, "GwPriority": 5, "FieldOfTheFuture": "x",
            "NetworkID": "n", "EndpointID": "e", "MacAddress": "02:42:0a:01:02:03", "IPAddress": "10.1.2.3",
            "IPPrefixLen": 24, "Gateway": "10.1.2.1", "DNSNames": ["app"],
        } } },
    })
}

/// What follows from the description after `change`.
#[track_caller]
fn order(change: impl FnOnce(&mut Value)) -> CreateConfiguration {
    let mut described = described();
    change(&mut described);
    read(&described, Some("machine")).expect("it has what it needs")
}

#[test]
fn everything_is_carried_over_but_what_docker_chose() {
    let order = order(|_| {});
    assert_eq!(order.image_id, "sha256:aa");
    assert_eq!(order.main_network.as_deref(), Some("shop_default"));
    assert_eq!(
        Value::from(order.body),
        json!({
            "Image": "shop:1", "Env": ["TOKEN=secret"], "Cmd": ["/shopd"], "Entrypoint": [""],
            "Labels": { "a": "b" }, "ExposedPorts": { "8080/tcp": {} }, "Volumes": { "/data": {} },
            "FieldOfTheFuture": { "kept": true },
            "HostConfig": {
                "NetworkMode": "shop_default", "Binds": null, "FieldOfTheFuture": [1, 2],
                "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
            },
        })
    );
    assert_eq!(
        Value::from(order.endpoints),
        json!({ "shop_default": {
            "IPAMConfig": { "IPv4Address": "10.1.2.3" }, "Aliases": ["shop-app-1", "app"],
            "Links": ["shop-db-1:db"], "DriverOpts": { "o": "1" }, "GwPriority": 5, "FieldOfTheFuture": "x",
        } })
    );
}

#[test]
fn a_description_without_an_image_or_a_configuration_is_none() {
    for missing in ["Id", "Image", "Config", "HostConfig"] {
        let mut described = described();
        described[missing] = Value::Null;
        assert_eq!(read(&described, None), None, "{missing}");
    }
}

#[test]
fn a_host_name_stays_unless_docker_chose_it() {
    for (mode, uts, name, stays) in [
        ("shop_default", "", "0123456789ab", false),
        ("shop_default", "", "web", true),
        ("shop_default", "host", "web", false),
        ("host", "", "machine", false),
        ("host", "", "web", true),
        ("container:abc", "", "other", false),
    ] {
        let order = order(|described| {
            described["HostConfig"]["NetworkMode"] = json!(mode);
            described["HostConfig"]["UTSMode"] = json!(uts);
            described["Config"]["Hostname"] = json!(name);
        });
        let found = order.body.contains_key("Hostname");
        assert_eq!(found, stays, "{mode} {uts} {name}");
    }
}

#[test]
fn a_container_in_anothers_network_has_neither_ports_nor_networks_of_its_own() {
    let order = order(|described| described["HostConfig"]["NetworkMode"] = json!("container:abc"));
    assert!(!order.body.contains_key("ExposedPorts"));
    assert!(order.endpoints.is_empty() && order.main_network.is_none());
}

#[test]
fn a_mac_address_is_kept_if_it_was_configured() {
    let order = order(|described| described["Config"]["MacAddress"] = json!("02:00:00:00:00:01"));
    assert!(!order.body.contains_key("MacAddress"));
    let endpoint = &order.endpoints["shop_default"];
    assert_eq!(endpoint["MacAddress"], json!("02:00:00:00:00:01"));
}

#[test]
fn a_volume_without_a_name_gets_the_one_that_docker_gave_it() {
    let volume = |destination: &str| json!({ "Type": "volume", "Name": "v0", "Destination": destination, "RW": true });
    let added = json!([{
        "Type": "volume", "Source": "v0", "Target": "/data", "ReadOnly": false, "VolumeOptions": { "NoCopy": true }
    }]);
    // Of the image, or of `docker create -v /data`.
    let of_the_image = order(|described| described["Mounts"] = json!([volume("/data")]));
    assert_eq!(of_the_image.body["HostConfig"]["Mounts"], added);
    assert_eq!(of_the_image.volumes, ["v0"]);
    // The same in other places.
    let of_binds = order(|described| {
        described["Mounts"] = json!([volume("/data")]);
        described["HostConfig"]["Binds"] = json!(["/data", "/srv:/srv:ro"]);
    });
    assert_eq!(of_binds.body["HostConfig"]["Mounts"], added);
    assert_eq!(
        of_binds.body["HostConfig"]["Binds"],
        json!(["/srv:/srv:ro"])
    );
    let of_mounts = order(|described| {
        described["Mounts"] = json!([volume("/data")]);
        described["HostConfig"]["Mounts"] =
            json!([{ "Type": "volume", "Target": "/data/", "ReadOnly": true }]);
    });
    assert_eq!(
        of_mounts.body["HostConfig"]["Mounts"],
        json!([{ "Type": "volume", "Source": "v0", "Target": "/data/", "ReadOnly": true }])
    );
}

#[test]
fn a_volume_with_a_name_stays_as_it_was_ordered() {
    for (key, ordered) in [
        ("Binds", json!(["v0:/data:rw"])),
        (
            "Mounts",
            json!([{ "Type": "volume", "Source": "v0", "Target": "/data" }]),
        ),
    ] {
        let order = order(|described| {
            described["Mounts"] =
                json!([{ "Type": "volume", "Name": "v0", "Destination": "/data", "RW": true }]);
            described["HostConfig"][key] = ordered.clone();
        });
        assert_eq!(order.body["HostConfig"][key], ordered);
        assert_eq!(order.volumes, ["v0"]);
    }
}

#[test]
fn a_legacy_link_is_ordered_in_another_form_than_it_is_described_in() {
    let order = order(|described| {
        described["HostConfig"]["Links"] = json!(["/shop-db-1:/shop-app-1/db"]);
    });
    assert_eq!(order.body["HostConfig"]["Links"], json!(["shop-db-1:db"]));
}

#[test]
fn an_older_docker_gets_one_network_and_the_mac_address_in_its_old_place() {
    let order = order(|described| {
        described["Config"]["MacAddress"] = json!("02:00:00:00:00:01");
        described["NetworkSettings"]["Networks"]["back"] = json!({ "Aliases": ["app"] });
    });
    let networks = |api: &str| {
        let api = super::super::ApiVersion::parse(api).expect("a version");
        let body = order.request(api, "shop:1", &[("a", "c"), ("d", "e")]);
        assert_eq!(body["Labels"], json!({ "a": "c", "d": "e" }));
        let endpoints = body["NetworkingConfig"]["EndpointsConfig"].as_object();
        let names: Vec<String> = endpoints.expect("networks").keys().cloned().collect();
        (names, body["MacAddress"].clone())
    };
    assert_eq!(
        networks("1.43"),
        (vec!["shop_default".to_owned()], json!("02:00:00:00:00:01"))
    );
    let all = vec!["back".to_owned(), "shop_default".to_owned()];
    assert_eq!(networks("1.44"), (all, Value::Null));
}

#[test]
fn the_platform_is_said_where_the_image_has_several() {
    let platform = |platform: Value| {
        order(|described| {
            described["ImageManifestDescriptor"] = json!({ "platform": platform });
        })
        .platform
    };
    let arm = json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    assert_eq!(platform(arm).as_deref(), Some("linux/arm64/v8"));
    let intel = json!({ "os": "linux", "architecture": "amd64" });
    assert_eq!(platform(intel).as_deref(), Some("linux/amd64"));
    assert_eq!(platform(Value::Null), None);
}

#[test]
fn no_rendering_shows_the_content_and_what_was_kept_is_read_back() {
    let order = order(|_| {});
    assert_eq!(format!("{order:?}"), "CreateConfiguration([hidden])");
    let kept = serde_json::to_string(&order).expect("written");
    assert!(kept.contains("TOKEN=secret"));
    let read: CreateConfiguration = serde_json::from_str(&kept).expect("read");
    assert_eq!(read, order);
}
