//! Whether a container could be started again, said before it is stopped, and whether Docker sees it the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use cutover_daemon::driver::way_back::missing_for_start;
use cutover_testkit::images::ImageSpec;

use crate::bench::Bench;
use crate::restarts::own_docker_with;

/// Files to mount, and networks and volumes, which go with it.
struct Scene {
    bench: Bench,
    image: String,
    directory: tempfile::TempDir,
    networks: Vec<String>,
    volumes: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let bench = Bench::new();
        let image = bench.image(&ImageSpec::new("1"));
        Self {
            bench,
            image,
            directory: tempfile::tempdir().expect("a directory"),
            networks: Vec::new(),
            volumes: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `SOURCE:DESTINATION` for a file of this name.
    fn mount(&self, name: &str, destination: &str) -> String {
        format!("{}:{destination}", self.path(name).display())
    }

    fn network(&mut self, name: &str) -> String {
        let name = format!("{}-{name}", self.bench.name);
        self.bench.cli(&["network", "create", &name]);
        self.networks.push(name.clone());
        name
    }

    async fn started(&self, options: &[&str]) -> String {
        let id = self.bench.create(&self.image, options);
        self.bench
            .docker
            .ensure_started(&id)
            .await
            .expect("started");
        id
    }

    async fn stop(&self, id: &str) {
        self.bench
            .docker
            .ensure_stopped(id, None)
            .await
            .expect("stopped");
    }

    async fn missing(&self, id: &str) -> Vec<String> {
        missing(&self.bench, id).await
    }

    /// Expects these words of the container while it runs, and that Docker cannot start it after a stop.
    async fn expect_no_way_back(&self, id: &str, words: &[&str]) {
        assert_eq!(self.missing(id).await.len(), words.len());
        self.expect_words(id, words).await;
        self.stop(id).await;
        self.expect_words(id, words).await;
        let started = self.bench.docker.ensure_started(id).await;
        started.expect_err("what was said to be missing is not missed");
    }

    #[track_caller]
    fn expect_words(&self, id: &str, words: &[&str]) -> impl Future<Output = ()> {
        let location = std::panic::Location::caller();
        async move {
            let missing = self.missing(id).await;
            for words in words {
                assert!(
                    missing.iter().any(|one| one.contains(words)),
                    "{location}: {missing:?}"
                );
            }
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let label = format!("label=bench={}", self.bench.name);
        for id in self.bench.cli(&["ps", "-aq", "--filter", &label]).lines() {
            self.bench.cli(&["rm", "-fv", id]);
        }
        for (what, names) in [("network", &self.networks), ("volume", &self.volumes)] {
            for name in names {
                self.bench.cli(&[what, "rm", "-f", name]);
            }
        }
    }
}

async fn missing(bench: &Bench, id: &str) -> Vec<String> {
    let missing = missing_for_start(&bench.docker, id, &std::collections::BTreeSet::new())
        .await
        .expect("an answer");
    missing.into_iter().map(|one| one.what).collect()
}

#[tokio::test]
async fn nothing_is_missing_for_a_container_that_can_be_started_again() {
    let mut scene = Scene::new();
    fs::write(scene.path("file"), "").expect("written");
    fs::create_dir(scene.path("directory")).expect("made");
    let _socket = UnixListener::bind(scene.path("socket")).expect("bound");
    symlink("file", scene.path("link")).expect("a link");
    let (front, back) = (scene.network("front"), scene.network("back"));
    let sidecar = scene
        .started(&["--ipc", "shareable", "--network", &front])
        .await;
    let of_sidecar = format!("container:{sidecar}");
    let mounts = [
        scene.mount("file", "/etc/file"),
        scene.mount("directory", "/srv/directory"),
        scene.mount("socket", "/run/socket"),
        scene.mount("link", "/etc/link"),
        format!("{}-v:/v", scene.bench.name),
        "/anonymous".to_owned(),
    ];
    scene.volumes.push(format!("{}-v", scene.bench.name));
    let mut with_mounts: Vec<&str> = mounts.iter().flat_map(|one| ["--volume", one]).collect();
    with_mounts.extend(["--tmpfs", "/t", "--device", "/dev/null:/dev/x"]);
    with_mounts.extend(["--network", &front, "--network", &back]);
    for options in [
        &with_mounts[..],
        &[
            "--network",
            &of_sidecar,
            "--ipc",
            &of_sidecar,
            "--pid",
            &of_sidecar,
            "--env",
            "PORT=8081",
        ],
        &["--network", "host", "--env", "PORT=0"],
        &["--network", "none"],
        &[],
    ] {
        let id = scene.started(options).await;
        assert_eq!(scene.missing(&id).await, [""; 0], "it runs: {options:?}");
        scene.stop(&id).await;
        assert_eq!(
            scene.missing(&id).await,
            [""; 0],
            "it is stopped: {options:?}"
        );
        scene
            .bench
            .docker
            .ensure_started(&id)
            .await
            .expect("started");
        let never = scene.bench.create(&scene.image, options);
        assert_eq!(
            scene.missing(&never).await,
            [""; 0],
            "never started: {options:?}"
        );
        scene.stop(&id).await;
    }
}

#[tokio::test]
async fn a_mounted_file_that_is_gone_or_became_a_directory_is_named() {
    let scene = Scene::new();
    let mount = |name: &str| scene.mount(name, "/etc/app.yaml");
    fs::write(scene.path("gone"), "").expect("written");
    let gone = scene.started(&["--volume", &mount("gone")]).await;
    fs::remove_file(scene.path("gone")).expect("removed");
    let words = format!(
        "{}, mounted at /etc/app.yaml, is gone",
        scene.path("gone").display()
    );
    assert_eq!(scene.missing(&gone).await, [format!("the file {words}")]);
    // Docker makes an empty directory where the file was, and fails to mount that on a file.
    scene.expect_no_way_back(&gone, &[&words]).await;
    assert!(scene.path("gone").is_dir());

    fs::write(scene.path("became"), "").expect("written");
    let became = scene.started(&["--volume", &mount("became")]).await;
    fs::remove_file(scene.path("became")).expect("removed");
    fs::create_dir(scene.path("became")).expect("made");
    scene
        .expect_words(&became, &["was a file and is a directory now"])
        .await;

    symlink("nothing", scene.path("dangling")).expect("a link");
    let id = scene
        .bench
        .create(&scene.image, &["--volume", &mount("dangling")]);
    scene
        .expect_words(&id, &["/dangling, mounted at /etc/app.yaml, is gone"])
        .await;
}

#[tokio::test]
async fn a_mounted_directory_that_is_gone_is_named_though_docker_would_start_with_an_empty_one() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path("site/pages")).expect("made");
    let id = scene
        .started(&["--volume", &scene.mount("site/pages", "/pages")])
        .await;
    fs::rename(scene.path("site"), scene.path("moved")).expect("moved");
    let pages = scene.path("site/pages");
    let expected = format!(
        "the directory {}, mounted at /pages, is gone",
        pages.display()
    );
    assert_eq!(scene.missing(&id).await, [expected]);
    scene.stop(&id).await;
    scene
        .bench
        .docker
        .ensure_started(&id)
        .await
        .expect("started");
    assert_eq!(fs::read_dir(&pages).expect("made by Docker").count(), 0);
}

#[tokio::test]
async fn a_network_that_is_gone_or_was_made_again_is_named() {
    let mut scene = Scene::new();
    for which in ["first", "further"] {
        let (own, further) = (scene.network(which), scene.network(&format!("{which}-2")));
        let id = scene
            .started(&["--network", &own, "--network", &further])
            .await;
        scene.stop(&id).await;
        let network = if which == "first" { &own } else { &further };
        scene.bench.cli(&["network", "rm", network]);
        scene
            .expect_words(&id, &[&format!("the network {network} is gone")])
            .await;
        scene.bench.cli(&["network", "create", network]);
        let again = format!("the network {network} was removed and made again");
        scene.expect_no_way_back(&id, &[&again]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dockers_own_network_is_made_anew_at_each_of_its_starts_and_is_not_missed() {
    let (mut engine, _directory) = own_docker_with("{}");
    let bench = Bench::at(&engine.socket());
    let id = bench.container(&ImageSpec::new("1"), &[]);
    bench.docker.ensure_started(&id).await.expect("started");
    let network = || bench.cli(&["network", "inspect", "--format", "{{.Id}}", "bridge"]);
    let before = network();
    tokio::task::block_in_place(|| {
        engine.stop().expect("stopped");
        engine.restart().expect("back");
    });
    assert_ne!(network(), before);
    assert_eq!(missing(&bench, &id).await, [""; 0]);
    bench.docker.ensure_started(&id).await.expect("started");
}

#[tokio::test]
async fn a_container_whose_namespace_is_shared_must_be_there_and_run() {
    let scene = Scene::new();
    let vpn = scene.started(&["--ipc", "shareable"]).await;
    let of_vpn = format!("container:{vpn}");
    let mut sharing = Vec::new();
    for (option, what) in [
        ("--network", "network"),
        ("--ipc", "IPC namespace"),
        ("--pid", "process namespace"),
    ] {
        let id = scene
            .started(&[option, &of_vpn, "--env", "PORT=8081"])
            .await;
        sharing.push((id, what));
    }
    scene.stop(&vpn).await;
    for (id, what) in &sharing {
        let words = format!("whose {what} it shares, does not run");
        scene.expect_words(id, &[&words]).await;
    }
    scene.bench.cli(&["rm", "-f", &vpn]);
    for (id, what) in &sharing {
        let words = format!(
            "the container {}, whose {what} it shares, is gone",
            &vpn[..12]
        );
        scene.expect_no_way_back(id, &[&words]).await;
    }
}

#[tokio::test]
async fn a_volume_whose_directory_is_gone_is_named() {
    let mut scene = Scene::new();
    let volume = format!("{}-bound", scene.bench.name);
    fs::create_dir(scene.path("bound")).expect("made");
    let device = format!("device={}", scene.path("bound").display());
    let options = ["--opt", "type=none", "--opt", "o=bind", "--opt", &device];
    scene
        .bench
        .cli(&[&["volume", "create"], &options[..], &[&volume]].concat());
    let mount = format!("{volume}:/bound");
    let id = scene.started(&["--volume", &mount]).await;
    assert_eq!(scene.missing(&id).await, [""; 0]);
    fs::remove_dir(scene.path("bound")).expect("removed");
    let words = format!("of the volume {volume}, mounted at /bound, is gone");
    scene.expect_no_way_back(&id, &[&words]).await;
    scene.volumes.push(volume);
}

#[tokio::test]
async fn a_container_that_is_gone_itself_is_named() {
    let bench = Bench::new();
    let id = "0".repeat(64);
    assert_eq!(
        missing(&bench, &id).await,
        ["the container 000000000000 itself is gone"]
    );
}
