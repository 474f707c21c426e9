//! Reading what Docker 28.5 answers, shortened to what is read.

use super::*;

fn container(patch: serde_json::Value) -> Container {
    let mut answer = serde_json::json!({
        "Id": "c".repeat(64),
        "Name": "/shop-app-1",
        "Created": "2026-11-22T21:00:00.123456789Z",
        "Image": "sha256:aa",
        "RestartCount": 0,
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false,
            "OOMKilled": false, "Dead": false, "Pid": 4711, "ExitCode": 0, "Error": "",
            "StartedAt": "2026-11-22T21:00:01.5Z", "FinishedAt": "0001-01-01T00:00:00Z",
            "Health": {"Status": "healthy", "FailingStreak": 0, "Log": [
                {"Start": "2026-11-22T21:00:02Z", "End": "2026-11-22T21:00:02Z", "ExitCode": 1, "Output": "early"},
                {"Start": "2026-11-22T21:00:03Z", "End": "2026-11-22T21:00:03Z", "ExitCode": 0, "Output": "fine\n"}
            ]}
        },
        "HostConfig": {
            "NetworkMode": "shop_default",
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}
        },
        "Config": {
            "Image": "ghcr.io/acme/shop:0a1b",
            "Env": ["TOKEN=abc=def", "EMPTY=", "PATH"],
            "ExposedPorts": {"9000/tcp": {}, "53/udp": {}, "8080/tcp": {}},
            "Labels": {"com.docker.compose.service": "app"},
            "Healthcheck": {"Test": ["CMD", "/check"], "Interval": 1_000_000_000_i64, "StartPeriod": 5_000_000_000_i64},
            "StopTimeout": 25,
            "Tty": false
        },
        "NetworkSettings": {"Networks": {
            "shop_web": {"IPAddress": "172.20.0.3", "GlobalIPv6Address": "fd00::3"},
            "shop_default": {"IPAddress": "172.19.0.2", "GlobalIPv6Address": ""}
        }}
    });
    merge(&mut answer, patch);
    let answer = serde_json::from_value(answer).expect("bollard reads it");
    Container::from_docker(answer).expect("it has an id")
}

fn merge(into: &mut serde_json::Value, patch: serde_json::Value) {
    match (into, patch) {
        (serde_json::Value::Object(into), serde_json::Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

#[test]
fn a_description_is_read_field_by_field() {
    let found = container(serde_json::json!({}));
    assert_eq!(found.name, "shop-app-1");
    assert_eq!(found.image_ref, "ghcr.io/acme/shop:0a1b");
    assert_eq!(found.health, Some(HealthState::Healthy));
    assert_eq!(found.last_health_output.as_deref(), Some("fine"));
    assert_eq!(found.restart_policy.name, "unless-stopped");
    assert_eq!(found.stop_timeout, Some(Duration::from_secs(25)));
    assert_eq!(found.exposed_ports, [8080, 9000]);
    assert_eq!(found.network, NetworkMode::Own);
    let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["172.19.0.2", "172.20.0.3", "fd00::3"]);
    assert_eq!(found.env.len(), 2);
    assert_eq!(found.env[0].value, "abc=def");
    assert_eq!(found.state.finished_at, None);
    assert_eq!(
        found.state.started_at,
        Some("2026-11-22T21:00:01.5Z".parse().expect("a time"))
    );
    assert_eq!(
        found.health_check,
        Some(HealthCheck {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            retries: 3,
            start_period: Duration::from_secs(5)
        })
    );
}

#[test]
fn the_condition_follows_from_state_and_health() {
    for (patch, condition) in [
        (serde_json::json!({}), Condition::Healthy),
        (
            serde_json::json!({"State": {"Health": {"Status": "starting"}}}),
            Condition::Starting,
        ),
        (
            serde_json::json!({"State": {"Health": {"Status": "unhealthy"}}}),
            Condition::Unhealthy,
        ),
        (
            serde_json::json!({"State": {"Health": null}}),
            Condition::Running,
        ),
        (
            serde_json::json!({"State": {"Health": {"Status": "none"}}}),
            Condition::Running,
        ),
        (
            serde_json::json!({"State": {"Restarting": true, "Health": null}}),
            Condition::Restarting,
        ),
        // Docker started it again a moment ago, and long ago.
        (
            serde_json::json!({"RestartCount": 3, "State": {"StartedAt": jiff::Timestamp::now()}}),
            Condition::Restarting,
        ),
        (serde_json::json!({"RestartCount": 3}), Condition::Healthy),
        (
            serde_json::json!({"State": {"Paused": true}}),
            Condition::Unhealthy,
        ),
        (
            serde_json::json!({"State": {"Running": false}}),
            Condition::Stopped,
        ),
    ] {
        let text = patch.to_string();
        assert_eq!(container(patch).condition(), condition, "{text}");
    }
}

#[test]
fn a_probe_goes_to_the_container_itself() {
    for (mode, addresses) in [
        (
            "shop_default",
            ["172.19.0.2", "172.20.0.3", "fd00::3"].as_slice(),
        ),
        ("host", &["127.0.0.1"]),
        ("none", &[]),
        ("container:4711", &[]),
    ] {
        let found = container(serde_json::json!({"HostConfig": {"NetworkMode": mode}}));
        let found: Vec<String> = found
            .probe_addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, addresses, "{mode}");
    }
}

#[test]
fn a_health_checks_output_says_where_it_was_cut() {
    let log = serde_json::json!([{"Output": format!("{}hunter2", "x".repeat(995))}]);
    let health = serde_json::json!({"Status": "unhealthy", "Log": log});
    let found = container(serde_json::json!({"State": {"Health": health}}));
    let output = found.last_health_output.expect("an output");
    assert!(output.ends_with("xhunte…"), "{output}");
}

#[test]
fn debug_shows_no_value_of_the_environment() {
    let text = format!("{:?}", container(serde_json::json!({})));
    assert!(text.contains("TOKEN=[hidden]"));
    assert!(!text.contains("abc=def"));
}

#[test]
fn what_is_absent_gets_dockers_defaults() {
    let answer = serde_json::from_value(serde_json::json!({"Id": "x"})).expect("bollard reads it");
    let found = Container::from_docker(answer).expect("it has an id");
    assert_eq!(found.restart_policy.name, "no");
    assert_eq!(found.condition(), Condition::Stopped);
    assert_eq!(found.stop_timeout, None);
    assert_eq!(found.health_check, None);
}
