//! The private Docker, the registry, the images and the prober, against each other. Run them with
//! `cargo xtask test`, or alone with `cargo xtask engine run -- cargo test -p cutover-testkit`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cutover_testkit::engine::Engine;
use cutover_testkit::engine::command::output_of;
use cutover_testkit::engine::namespace::identity;
use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::images::{self, HealthCheck, ImageSpec};
use cutover_testkit::prober::Prober;
use cutover_testkit::registry::{Auth, Login, Registry};
use cutover_testkit::world;

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the Docker client against the engine at this address.
fn docker(host: &str, arguments: &[&str]) -> Result<String> {
    let mut command = world().packages.command("docker");
    command.env("DOCKER_HOST", host).args(arguments);
    Ok(output_of(&mut command)?.trim().to_owned())
}

/// Runs the Docker client against the shared engine.
fn shared(arguments: &[&str]) -> Result<String> {
    docker(&world().docker_host, arguments)
}

/// A container of the shared engine, removed at the end of the test.
struct Container(String);

impl Container {
    fn run(arguments: &[&str]) -> Result<Self> {
        let id = shared(&[&["run", "--detach"], arguments].concat())?;
        Ok(Self(id))
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(shared(&["port", &self.0, "8080"])?.parse()?)
    }

    fn inspect(&self, format: &str) -> Result<String> {
        shared(&["inspect", "--format", format, &self.0])
    }

    fn wait_for_state(&self, format: &str, wanted: &str) -> Result<()> {
        wait_for(&format!("{format} = {wanted}"), PATIENCE, || {
            Ok((self.inspect(format)? == wanted).then_some(()))
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(shared(&["rm", "--force", "--volumes", &self.0]));
    }
}

#[test]
fn a_pushed_image_is_pulled_runs_and_is_seen_by_the_prober() -> Result<()> {
    let registry = Registry::start(Auth::None)?;
    let spec = ImageSpec::new("one").health_check(HealthCheck::default());
    let digest = registry.push("engine/pushed", "1", &spec)?;
    assert_eq!(registry.digest("engine/pushed", "1")?, Some(digest.clone()));
    let reference = registry.reference("engine/pushed", "1");
    let pulled = shared(&["pull", &reference])?;
    assert!(pulled.contains(&digest), "{pulled}");

    let container = Container::run(&["--publish", "127.0.0.1::8080", &reference])?;
    let prober = Prober::start(container.address()?);
    prober.wait_for_answer(PATIENCE)?;
    container.wait_for_state("{{.State.Health.Status}}", "healthy")?;
    shared(&["restart", &container.0])?;
    // The port is a new one after a restart, so the prober sees the service go and not come back.
    let seen = prober.stop()?;
    assert_eq!(seen.versions(), ["one"]);
    assert!(!seen.failures().is_empty());
    Ok(())
}

#[test]
fn the_prober_measures_the_outage_of_a_restart() -> Result<()> {
    let socket = world().socket();
    images::load(&socket, "engine-outage:1", &ImageSpec::new("one"))?;
    let container = Container::run(&["--publish", "127.0.0.1:18083:8080", "engine-outage:1"])?;
    let prober = Prober::start(container.address()?);
    prober.wait_for_answer(PATIENCE)?;
    shared(&["restart", &container.0])?;
    prober.wait_for_next_answer(PATIENCE)?;
    let seen = prober.stop()?;
    assert_eq!(seen.versions(), ["one"]);
    assert!(seen.outage() > Duration::from_millis(20), "{seen:?}");
    assert!(seen.outage() < PATIENCE);
    assert!(!seen.failures().is_empty());
    Ok(())
}

#[test]
fn a_registry_with_a_login_turns_strangers_away() -> Result<()> {
    for login in [Login::Plain, Login::Symbols] {
        let registry = Registry::start(Auth::Basic(login))?;
        registry.push("engine/private", "1", &ImageSpec::new("one"))?;
        let reference = registry.reference("engine/private", "1");
        assert!(shared(&["pull", "--quiet", &reference]).is_err());

        let config = tempfile::tempdir()?;
        std::fs::write(
            config.path().join("config.json"),
            registry.docker_config().to_string(),
        )?;
        let mut command = world().packages.command("docker");
        command
            .env("DOCKER_HOST", &world().docker_host)
            .env("DOCKER_CONFIG", config.path())
            .args(["pull", "--quiet", &reference]);
        output_of(&mut command)?;
    }
    Ok(())
}

#[test]
fn a_registry_that_was_stopped_comes_back_with_its_images() -> Result<()> {
    let mut registry = Registry::start(Auth::None)?;
    let address = registry.addr();
    let digest = registry.push("engine/kept", "1", &ImageSpec::new("one"))?;
    registry.stop()?;
    assert!(registry.digest("engine/kept", "1").is_err());
    registry.restart()?;
    assert_eq!(registry.addr(), address);
    assert_eq!(registry.digest("engine/kept", "1")?, Some(digest));
    registry.delete("engine/kept", "1")?;
    assert_eq!(registry.digest("engine/kept", "1")?, None);
    Ok(())
}

#[test]
fn images_of_another_platform_show_their_platform() -> Result<()> {
    let registry = Registry::start(Auth::None)?;
    let foreign = ImageSpec::new("foreign").architecture("riscv64");
    registry.push("engine/foreign", "alone", &foreign)?;
    let reference = registry.reference("engine/foreign", "alone");
    shared(&["pull", "--quiet", &reference])?;
    let architecture = shared(&[
        "image",
        "inspect",
        "--format",
        "{{.Architecture}}",
        &reference,
    ])?;
    assert_eq!(architecture, "riscv64");

    registry.push_index("engine/foreign", "index", std::slice::from_ref(&foreign))?;
    let reference = registry.reference("engine/foreign", "index");
    let Err(error) = shared(&["pull", "--quiet", &reference]) else {
        bail!("an index without this platform was pulled");
    };
    assert!(format!("{error:#}").contains("no matching manifest"));

    let members = [foreign, ImageSpec::new("native")];
    registry.push_index("engine/foreign", "both", &members)?;
    let reference = registry.reference("engine/foreign", "both");
    shared(&["pull", "--quiet", &reference])?;
    let env = shared(&[
        "image",
        "inspect",
        "--format",
        "{{.Config.Env}}",
        &reference,
    ])?;
    assert!(env.contains("VERSION=native"), "{env}");
    Ok(())
}

#[test]
fn an_extra_layer_makes_an_image_larger() -> Result<()> {
    let socket = world().socket();
    let size = |reference: &str| -> Result<usize> {
        Ok(shared(&["image", "inspect", "--format", "{{.Size}}", reference])?.parse()?)
    };
    images::load(&socket, "engine-size:small", &ImageSpec::new("small"))?;
    let large = ImageSpec::new("large").extra_layer_bytes(3_000_000);
    images::load(&socket, "engine-size:large", &large)?;
    let difference = size("engine-size:large")? - size("engine-size:small")?;
    assert_eq!(difference, 3_000_000);
    Ok(())
}

#[test]
fn the_service_misbehaves_as_its_image_says() -> Result<()> {
    let socket = world().socket();
    let sick = ImageSpec::new("sick")
        .env("NEVER_HEALTHY", "1")
        .health_check(HealthCheck {
            start_period: Duration::ZERO,
            ..HealthCheck::default()
        });
    images::load(&socket, "engine-behavior:sick", &sick)?;
    let container = Container::run(&["engine-behavior:sick"])?;
    container.wait_for_state("{{.State.Health.Status}}", "unhealthy")?;

    let dying = ImageSpec::new("dying").env("EXIT_AT_ONCE", "7");
    images::load(&socket, "engine-behavior:dying", &dying)?;
    let container = Container::run(&["--env", "SECRET_TOKEN=hush", "engine-behavior:dying"])?;
    container.wait_for_state("{{.State.Status}} {{.State.ExitCode}}", "exited 7")?;
    let mut logs = world().packages.command("docker");
    logs.env("DOCKER_HOST", &world().docker_host);
    let logs = logs.args(["logs", &container.0]).output()?;
    let logs = String::from_utf8_lossy(&logs.stderr).into_owned();
    assert!(
        logs.contains("connecting with token hush\n"),
        "the last words: {logs}"
    );

    let stubborn = ImageSpec::new("stubborn").env("IGNORE_SIGTERM", "1");
    images::load(&socket, "engine-behavior:stubborn", &stubborn)?;
    let container = Container::run(&["engine-behavior:stubborn"])?;
    shared(&["stop", "--time", "1", &container.0])?;
    assert_eq!(container.inspect("{{.State.ExitCode}}")?, "137");
    Ok(())
}

#[test]
fn the_service_ends_cleanly_at_sigterm() -> Result<()> {
    images::load(&world().socket(), "engine-term:1", &ImageSpec::new("one"))?;
    let container = Container::run(&["--publish", "127.0.0.1::8080", "engine-term:1"])?;
    Prober::start(container.address()?).wait_for_answer(PATIENCE)?;
    // A service that has to be killed has another exit code.
    shared(&["stop", &container.0])?;
    assert_eq!(container.inspect("{{.State.ExitCode}}")?, "0");
    Ok(())
}

#[test]
fn both_compose_versions_run_a_service_on_the_shared_engine() -> Result<()> {
    images::load(
        &world().socket(),
        "engine-compose:1",
        &ImageSpec::new("one").health_check(HealthCheck::default()),
    )?;
    let mut plugin = world().packages.command("docker");
    plugin
        .env("DOCKER_CONFIG", &world().docker_config)
        .args(["compose", "version"]);
    assert!(output_of(&mut plugin)?.contains("Compose version"));
    for version in [ComposeVersion::Newest, ComposeVersion::Oldest] {
        let project = tempfile::tempdir()?;
        std::fs::write(
            project.path().join("compose.yaml"),
            "name: engine-compose\nservices:\n  web:\n    image: engine-compose:1\n",
        )?;
        let compose = |arguments: &[&str]| {
            let mut command = Command::new(world().compose(version));
            command
                .env("DOCKER_HOST", &world().docker_host)
                .current_dir(project.path())
                .args(arguments);
            output_of(&mut command)
        };
        compose(&["up", "--detach", "--wait"])?;
        let listed = compose(&["ps", "--format", "json"])?;
        compose(&["down", "--volumes"])?;
        assert!(listed.contains("\"Health\":\"healthy\""), "{listed}");
    }
    Ok(())
}

/// An engine of the test's own, in a network of its own.
fn with_own_engine(test: impl FnOnce(&mut Engine) -> Result<()> + Send) -> Result<()> {
    let namespace = world().new_namespace()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("e");
    namespace.run(|| -> Result<()> {
        let mut engine = Engine::start(&world().packages, &namespace, &path)?;
        test(&mut engine)
    })??;
    ensure!(!path.exists(), "the engine left {} behind", path.display());
    Ok(())
}

fn running(engine: &Engine) -> Result<Vec<String>> {
    let names = docker(&engine.docker_host(), &["ps", "--format", "{{.Names}}"])?;
    let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// Waits until those containers run that a boot starts.
fn wait_for_two(engine: &Engine) -> Result<()> {
    let mut seen = Vec::new();
    let result = wait_for("two containers", PATIENCE, || {
        seen = running(engine)?;
        Ok((seen == ["always", "unless-stopped"]).then_some(()))
    });
    result.with_context(|| format!("what runs is {seen:?}"))
}

/// Starts one container for each of three restart policies.
fn start_three(engine: &Engine) -> Result<()> {
    images::load(&engine.socket(), "shop:1", &ImageSpec::new("one"))?;
    for (name, policy, port) in [
        ("always", "always", "127.0.0.1:18080:8080"),
        ("unless-stopped", "unless-stopped", "127.0.0.1:18081:8080"),
        ("never", "no", "127.0.0.1:18082:8080"),
    ] {
        let policy = format!("--restart={policy}");
        let arguments = [
            "run",
            "--detach",
            "--name",
            name,
            &policy,
            "--publish",
            port,
            "shop:1",
        ];
        docker(&engine.docker_host(), &arguments)?;
    }
    Ok(())
}

fn answers(port: u16) -> Result<()> {
    Prober::start(SocketAddr::from(([127, 0, 0, 1], port)))
        .wait_for_answer(PATIENCE)
        .with_context(|| format!("nobody answers on port {port}"))
}

#[test]
fn after_a_power_cut_docker_starts_what_the_restart_policy_says() -> Result<()> {
    with_own_engine(|engine| {
        start_three(engine)?;
        answers(18082)?;
        let control_groups = find_control_groups(engine.dir());
        assert!(!control_groups.is_empty(), "containers have control groups");

        engine.kill()?;
        assert!(engine.get("/_ping").is_err());
        let left = find_control_groups(engine.dir());
        assert!(left.is_empty(), "{left:?}");
        let interfaces = std::fs::read_to_string("/proc/thread-self/net/dev")?;
        assert!(!interfaces.contains("docker0"), "{interfaces}");

        engine.restart()?;
        wait_for_two(engine)?;
        answers(18080)?;
        answers(18081)
    })
}

/// The control groups of an engine in this directory. Those of others come and go meanwhile, so that what
/// cannot be read is left out.
fn find_control_groups(dir: &Path) -> Vec<PathBuf> {
    let own = format!("cutover{}", dir.to_string_lossy().replace(['/', '.'], "-"));
    // Version 1 has one tree for each controller, version 2 a single one.
    let root = PathBuf::from("/sys/fs/cgroup");
    let trees = directories_in(&root).into_iter().chain([root]);
    let groups = trees.flat_map(|tree| directories_in(&tree));
    groups
        .filter(|group| group.to_string_lossy().contains(&own))
        .flat_map(|group| directories_in(&group).into_iter().chain([group]))
        .collect()
}

fn directories_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

#[test]
fn a_restart_of_docker_starts_what_the_restart_policy_says() -> Result<()> {
    with_own_engine(|engine| {
        start_three(engine)?;
        engine.restart()?;
        wait_for_two(engine)?;
        answers(18080)
    })
}

/// Docker stops the containers that outlived it as if somebody had asked for it, and so forgets
/// `unless-stopped` (Engine 28.5, without `live-restore`).
#[test]
fn after_a_crash_of_the_daemon_docker_starts_only_what_is_to_run_always() -> Result<()> {
    with_own_engine(|engine| {
        start_three(engine)?;
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}:8080";
        let inspect = ["inspect", "--format", format, "unless-stopped"];
        let address = docker(&engine.docker_host(), &inspect)?.parse()?;
        engine.kill_daemon()?;
        assert!(engine.get("/_ping").is_err());
        // The published port is gone with the daemon, the container is not.
        Prober::start(address).wait_for_answer(PATIENCE)?;
        engine.restart()?;
        wait_for("the container to run", PATIENCE, || {
            Ok((running(engine)? == ["always"]).then_some(()))
        })?;
        let inspect = ["inspect", "--format", "{{.State.Status}}", "unless-stopped"];
        assert_eq!(docker(&engine.docker_host(), &inspect)?, "exited");
        Ok(())
    })
}

#[test]
fn two_engines_beside_each_other_publish_the_same_port() -> Result<()> {
    with_own_engine(|first| {
        start_three(first)?;
        with_own_engine(|second| {
            start_three(second)?;
            answers(18080)?;
            assert_ne!(first.namespace().run(identity)??, identity()?);
            Ok(())
        })?;
        answers(18080)
    })
}

#[test]
fn an_engine_that_cannot_start_says_what_its_log_says() -> Result<()> {
    let namespace = world().new_namespace()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("e");
    std::fs::create_dir(&path)?;
    // A file where Docker needs a directory.
    std::fs::create_dir(path.join("data"))?;
    std::fs::write(path.join("data/containers"), "")?;
    let Err(error) = Engine::start(&world().packages, &namespace, &path) else {
        bail!("it started");
    };
    let error = format!("{error:#}");
    assert!(error.contains("dockerd.log"), "{error}");
    assert!(error.contains("not a directory"), "{error}");
    Ok(())
}
