//! Whether Compose takes a container that was created again for its own.
//!
//! Measured with Compose 2.40.3 and 2.26.1: it does, as its labels say all that Compose looks at. But the files
//! that Compose itself writes into a container before its start (secrets and configs whose content is not in a
//! file on the machine) are part of no description of Docker's, so the container created again lacks them.

use std::fs;
use std::process::Command;

use cutover_core::deployment::RestartPolicy;
use cutover_daemon::docker::Docker;
use cutover_testkit::engine::command::output_of;
use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::world;

use crate::bench::Bench;

/// A service with everything that Compose looks at when it decides whether a container is up to date.
const PROJECT: &str = "
services:
  app:
    image: {image}
    restart: unless-stopped
    environment: { GREETING: hello }
    hostname: shop
    ports: ['127.0.0.1::8080']
    volumes: ['/anonymous', 'named:/named', './file:/etc/file:ro']
    networks:
      default: { aliases: [web] }
      back: { priority: 10 }
    secrets: [written, mounted]
    configs: [{ source: inline, target: /etc/inline.conf }]
    depends_on: { db: { condition: service_started } }
    healthcheck: { test: [CMD, /shopd, healthcheck], interval: 1s }
    labels: { com.example: shop }
  db:
    image: {image}
secrets:
  written: { environment: WRITTEN }
  mounted: { file: ./file }
configs:
  inline: { content: 'greeting: hello' }
volumes: { named: {} }
networks: { back: {} }
";

struct Project<'a> {
    bench: &'a Bench,
    directory: tempfile::TempDir,
    version: ComposeVersion,
}

impl Project<'_> {
    fn compose(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(world().compose(self.version));
        command
            .current_dir(self.directory.path())
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.bench.docker.socket().display()),
            )
            .env("WRITTEN", "secret")
            .args(["--project-name", &self.bench.name])
            .args(arguments);
        output_of(&mut command)
            .expect("compose succeeds")
            .trim()
            .to_owned()
    }

    fn id(&self, service: &str) -> String {
        self.compose(&["ps", "--all", "--quiet", "--no-trunc", service])
    }

    /// Whether the container has this file.
    fn has(&self, id: &str, path: &str) -> bool {
        let source = format!("{id}:{path}");
        let target = self.directory.path().join("copy");
        let copied = self
            .bench
            .try_cli(&["cp", &source, &target.display().to_string()]);
        copied.is_ok()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        self.compose(&["down", "--volumes", "--timeout", "0"]);
    }
}

async fn start_times(docker: &Docker, ids: [&str; 2]) -> Vec<String> {
    let mut times = Vec::new();
    for id in ids {
        let found = docker
            .container(id)
            .await
            .expect("an answer")
            .expect("there");
        times.push(format!("{} {:?}", found.id, found.state.started_at));
    }
    times
}

async fn takes_it_for_its_own(version: ComposeVersion) {
    let bench = &Bench::new();
    let docker = &bench.docker;
    let project = Project {
        bench,
        directory: tempfile::tempdir().expect("a directory"),
        version,
    };
    let image = bench.image(&ImageSpec::new("1").volume("/data"));
    let write = |name: &str, text: &str| {
        fs::write(project.directory.path().join(name), text).expect("written");
    };
    write("compose.yaml", &PROJECT.replace("{image}", &image));
    write("file", "content");
    project.compose(&["up", "--detach"]);
    let (old, db) = (project.id("app"), project.id("db"));
    let found = docker
        .container(&old)
        .await
        .expect("an answer")
        .expect("there");
    let configuration = docker.create_configuration(&old).await;
    let configuration = configuration.expect("an answer").expect("there");
    docker.ensure_stopped(&old, None).await.expect("stopped");
    bench.cli(&[
        "container",
        "prune",
        "--force",
        "--filter",
        "label=com.example=shop",
    ]);
    assert_eq!(docker.container(&old).await, Ok(None), "pruned");

    let labels = [("cutover.deployment", "d1")];
    let new = docker
        .create_again(&configuration, &found.name, &labels)
        .await;
    let new = new.expect("created");
    docker.ensure_started(&new).await.expect("started");
    let policy = RestartPolicy {
        name: "unless-stopped".to_owned(),
        retries_max: 0,
    };
    docker
        .ensure_restart_policy(&new, &policy)
        .await
        .expect("set");
    let before = start_times(docker, [&new, &db]).await;
    project.compose(&["up", "--detach"]);
    assert_eq!(project.id("app"), new);
    assert_eq!(
        start_times(docker, [&new, &db]).await,
        before,
        "{version:?}"
    );
    for (path, expected) in [
        ("/etc/file", true),
        ("/run/secrets/mounted", true),
        ("/run/secrets/written", false),
        ("/etc/inline.conf", false),
    ] {
        assert_eq!(project.has(&new, path), expected, "{path}");
    }
}

#[tokio::test]
async fn compose_takes_a_container_that_was_created_again_for_its_own() {
    takes_it_for_its_own(ComposeVersion::Newest).await;
    takes_it_for_its_own(ComposeVersion::Oldest).await;
}
