//! A container that somebody removed is created again from what Docker said of it.

use cutover_core::deployment::RestartPolicy;
use cutover_daemon::docker::{CreateConfiguration, DockerError};
use cutover_testkit::images::ImageSpec;
use serde_json::{Value, json};

use crate::bench::Bench;

const BY_THE_TEST: &[(&str, &str)] = &[("bench.again", "1")];

/// Options of `docker create` that need nothing made for them.
const OPTIONS: &str = "--publish 127.0.0.1::8080 --env TOKEN=secret --volume /more --mount type=volume,dst=/third \
    --tmpfs /scratch:size=1m --user 0:0 --workdir /tmp --cap-add NET_ADMIN --cap-drop MKNOD \
    --ulimit nofile=1000:2000 --memory 64m --pids-limit 50 --log-opt max-size=1m --restart always \
    --stop-timeout 3 --stop-signal SIGINT --health-cmd /shopd --health-retries 7 --add-host db:10.0.0.1 \
    --dns 10.0.0.2 --security-opt no-new-privileges --init --read-only --shm-size 1m \
    --sysctl net.core.somaxconn=512 --annotation a=b";

async fn configuration(bench: &Bench, id: &str) -> CreateConfiguration {
    let configuration = bench.docker.create_configuration(id).await;
    let configuration = configuration.expect("an answer").expect("there");
    // As it comes back from the disk.
    let kept = serde_json::to_string(&configuration).expect("written");
    serde_json::from_str(&kept).expect("read")
}

fn described(bench: &Bench, id: &str) -> Value {
    let text = bench.cli(&["inspect", id]);
    let all: Value = serde_json::from_str(&text).expect("JSON");
    all[0].clone()
}

/// What Docker says of a container, without what is a new one's own.
fn without_its_own(mut described: Value) -> Value {
    for (object, field) in [
        ("Config", "Hostname"),
        ("Config", "Labels"),
        ("HostConfig", "RestartPolicy"),
        // The volumes in it have names the second time. They are in the outer `Mounts` both times.
        ("HostConfig", "Mounts"),
    ] {
        if let Some(object) = described[object].as_object_mut() {
            object.remove(field);
        }
    }
    let networks = described["NetworkSettings"]["Networks"].as_object_mut();
    for network in networks.expect("networks").values_mut() {
        let network = network.as_object_mut().expect("a network");
        network.retain(|field, _| {
            ["Aliases", "IPAMConfig", "Links", "DriverOpts"].contains(&field.as_str())
        });
    }
    let mut mounts: Vec<Value> = described["Mounts"].as_array().cloned().unwrap_or_default();
    for mount in &mut mounts {
        let mount = mount.as_object_mut().expect("a mount");
        // `Mode` repeats options of the order: `z` for a volume that was ordered by `Mounts`.
        mount.remove("Mode");
    }
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    json!({
        "Config": described["Config"], "HostConfig": described["HostConfig"], "Image": described["Image"],
        "Networks": described["NetworkSettings"]["Networks"], "Mounts": mounts,
    })
}

/// Removes the container as `docker container prune` does, creates it again, twice, and starts it.
async fn again(bench: &Bench, id: &str) -> String {
    let configuration = configuration(bench, id).await;
    bench.cli(&["rm", "-f", id]);
    let name = format!("{}-again", bench.name);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let created = bench
            .docker
            .create_again(&configuration, &name, BY_THE_TEST);
        ids.push(created.await.expect("created"));
    }
    assert_eq!(ids[0], ids[1], "the second time it is found");
    bench.docker.ensure_started(&ids[0]).await.expect("started");
    ids.remove(0)
}

#[tokio::test]
async fn a_container_is_created_again_as_it_was_with_its_volumes() {
    let bench = Bench::new();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "content").expect("written");
    let (front, back) = (
        format!("{}-front", bench.name),
        format!("{}-back", bench.name),
    );
    bench.cli(&["network", "create", "--subnet", "10.113.7.0/24", &front]);
    bench.cli(&["network", "create", &back]);
    let image = bench.image(&ImageSpec::new("1").volume("/data"));
    let bind = format!("{}:/etc/app.yaml:ro", file.display());
    let own = format!("name={front},alias=web,ip=10.113.7.9,mac-address=02:42:ac:11:00:09");
    let other = format!("name={back},alias=web-back");
    let named = format!("{}-named:/named", bench.name);
    let mut options = vec!["--network", &own, "--network", &other];
    options.extend(["--volume", &bind, "--volume", &named]);
    options.extend(OPTIONS.split_whitespace());
    let id = bench.create(&image, &options);
    bench.docker.ensure_started(&id).await.expect("started");
    let target = format!("{id}:/data/kept");
    bench.cli(&["cp", &file.display().to_string(), &target]);
    let before = described(&bench, &id);
    let created = again(&bench, &id).await;
    let after = described(&bench, &created);
    assert_eq!(
        without_its_own(after.clone()),
        without_its_own(before.clone())
    );
    assert_eq!(after["Mounts"].as_array().map(Vec::len), Some(5));
    let mac = |described: &Value, network: &str| {
        described["NetworkSettings"]["Networks"][network]["MacAddress"].clone()
    };
    assert_eq!(mac(&after, &front), json!("02:42:ac:11:00:09"));
    assert_ne!(mac(&after, &back), mac(&before, &back));
    assert_eq!(after["Config"]["Hostname"], json!(created[..12]));
    assert_eq!(after["Config"]["Labels"]["bench.again"], json!("1"));
    assert_eq!(after["Config"]["Labels"]["bench"], json!(bench.name));
    let found = bench.docker.container(&created).await.expect("an answer");
    let no = RestartPolicy {
        name: "no".to_owned(),
        retries_max: 0,
    };
    assert_eq!(found.expect("there").restart_policy, no);
    // What was written is there: `docker cp` fails otherwise.
    let source = format!("{created}:/data/kept");
    bench.cli(&[
        "cp",
        &source,
        &directory.path().join("copy").display().to_string(),
    ]);
    bench.cli(&["rm", "-fv", &created]);
    for network in [&front, &back] {
        bench.cli(&["network", "rm", network]);
    }
    bench.cli(&["volume", "rm", &format!("{}-named", bench.name)]);
}

#[tokio::test]
async fn a_container_in_anothers_or_the_machines_namespaces_is_created_again() {
    let bench = Bench::new();
    let image = bench.image(&ImageSpec::new("1"));
    let other = bench.create(&image, &["--ipc", "shareable"]);
    bench.docker.ensure_started(&other).await.expect("started");
    let of_other = format!("container:{other}");
    for options in [
        &[
            "--network",
            &of_other,
            "--ipc",
            &of_other,
            "--pid",
            &of_other,
        ][..],
        &["--network", "host", "--env", "PORT=0"],
        &["--network", "none"],
        &["--uts", "host"],
        &["--privileged"],
    ] {
        let mut options = options.to_vec();
        // Another port than the container has whose network it shares.
        options.extend(["--env", "PORT=8081"]);
        let id = bench.create(&image, &options);
        bench.docker.ensure_started(&id).await.expect("started");
        let before = described(&bench, &id);
        let created = again(&bench, &id).await;
        let after = described(&bench, &created);
        let (after, before) = (without_its_own(after), without_its_own(before));
        assert_eq!(after["HostConfig"], before["HostConfig"], "{options:?}");
        assert_eq!(after["Networks"], before["Networks"], "{options:?}");
        bench.cli(&["rm", "-f", &created]);
    }
}

#[tokio::test]
async fn an_entrypoint_that_was_switched_off_stays_off() {
    let bench = Bench::new();
    let plain = bench.container(&ImageSpec::new("1"), &[]);
    let image = format!("{}:entrypoint", bench.name);
    bench.cli(&[
        "commit",
        "--change",
        r#"ENTRYPOINT ["/nonexistent"]"#,
        &plain,
        &image,
    ]);
    let id = bench.cli(&[
        "create",
        "--label",
        &format!("bench={}", bench.name),
        "--entrypoint",
        "",
        &image,
        "/shopd",
    ]);
    bench.docker.ensure_started(&id).await.expect("started");
    let created = again(&bench, &id).await;
    let after = described(&bench, &created);
    assert_eq!(after["Config"]["Entrypoint"], Value::Null);
    assert_eq!(after["Config"]["Cmd"], json!(["/shopd"]));
}

#[tokio::test]
async fn a_tag_that_means_another_image_by_now_is_given_back() {
    let bench = Bench::new();
    let image = bench.image(&ImageSpec::new("1"));
    let id = bench.create(&image, &[]);
    let old = described(&bench, &id)["Image"].clone();
    let configuration = configuration(&bench, &id).await;
    let other = bench.image(&ImageSpec::new("2"));
    bench.cli(&["tag", &other, &image]);
    bench.cli(&["rm", &id]);
    let name = format!("{}-again", bench.name);
    let created = bench
        .docker
        .create_again(&configuration, &name, BY_THE_TEST);
    let created = described(&bench, &created.await.expect("created"));
    assert_eq!(
        (&created["Image"], &created["Config"]["Image"]),
        (&old, &json!(image))
    );
    let named = bench.docker.image(&image).await.expect("an answer");
    assert_eq!(json!(named.expect("there").id), old);
}

#[tokio::test]
async fn what_cannot_be_created_as_it_was_is_not_created() {
    let bench = Bench::new();
    let image = bench.image(&ImageSpec::new("1").volume("/data"));
    let id = bench.create(&image, &[]);
    let configuration = configuration(&bench, &id).await;
    let name = format!("{}-again", bench.name);
    let create = async || {
        let created = bench
            .docker
            .create_again(&configuration, &name, BY_THE_TEST);
        created.await.expect_err("not as it was")
    };
    let taken = bench.create(&image, &["--name", &name]);
    assert!(matches!(create().await, DockerError::Conflict { .. }));
    bench.cli(&["rm", "-v", &taken]);
    bench.cli(&["rm", "-v", &id]);
    let error = create().await;
    assert!(
        error.is_not_found() && error.to_string().contains("No such volume"),
        "{error}"
    );
    assert_eq!(bench.docker.container(&name).await, Ok(None));
    bench.cli(&["volume", "create", &volume_of(&configuration)]);
    bench.cli(&["rmi", "-f", &image]);
    let error = create().await;
    assert!(
        error.is_not_found() && error.to_string().contains("No such image"),
        "{error}"
    );
    assert_eq!(bench.docker.container(&name).await, Ok(None));
    bench.cli(&["volume", "rm", &volume_of(&configuration)]);
}

fn volume_of(configuration: &CreateConfiguration) -> String {
    let kept = serde_json::to_value(configuration).expect("written");
    kept["volumes"][0].as_str().expect("a volume").to_owned()
}
