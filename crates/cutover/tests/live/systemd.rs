//! cutover under a real systemd, with the unit as `cutover init` writes it: installed as README.md says,
//! ready, stopped, killed, and standing still.
//!
//! Each test has its project elsewhere, because the unit that `init` writes depends on it.

mod site;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;

use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::PATIENCE;

use site::{OWNER, Site, end_of};

/// What describes the installation.
const README: &str = include_str!("../../../../README.md");
/// The tag that it deploys.
const README_SHA: &str = "9fceb02d0ae598e95dc970b74767f19372d61af8";
/// Where it has the certificate.
const CERTIFICATE: &str = "/etc/letsencrypt/live/deploy.example.com";
/// What describes everything after it.
const MANUAL: &str = include_str!("../../../../docs/operations.md");

/// The commands in a document, from one of its lines up to another.
fn commands(document: &str, from: &str, to: &str) -> Vec<String> {
    let (_, rest) = document.split_once(from).expect("where to begin");
    let (part, _) = rest.split_once(to).expect("where to end");
    let blocks = part.split("```console").skip(1);
    blocks
        .flat_map(|block| block.split("```").next().unwrap_or_default().lines())
        .map(|line| line.trim().replace("ssh server sudo ", ""))
        .filter(|line| !line.is_empty())
        // On the machine that builds.
        .filter(|line| !line.starts_with("cargo ") && !line.starts_with("scp "))
        .collect()
}

#[test]
fn it_is_installed_as_the_readme_says_and_deploys_from_its_sandbox() {
    Site::with("/srv/shop", |site| {
        let spec = ImageSpec::new("first");
        let pushed = site.registry.push("shop", README_SHA, &spec);
        drop(pushed.expect("an image"));
        let pair = rcgen::generate_simple_self_signed(["deploy.example.com".to_owned()]);
        let pair = pair.expect("a certificate");
        let key = format!("{CERTIFICATE}/privkey.pem");
        site.server
            .write(&format!("{CERTIFICATE}/fullchain.pem"), &pair.cert.pem());
        site.server.write(&key, &pair.signing_key.serialize_pem());
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(site.server.path(&key), private).expect("a mode");

        let commands = commands(README, "\n1. Build the binary", "\n4. Give the secret");
        assert_eq!(commands.len(), 7, "{commands:#?}");
        let mut directory = "/root";
        for command in &commands {
            match command.strip_prefix("cd ") {
                Some(to) => directory = to,
                None => drop(site.expect(directory, command)),
            }
        }
        assert_eq!(site.serves(), "first");
        assert_eq!(site.property("StatusText"), "taking deployments");
        let said = site.expect("/", "systemd-analyze verify /etc/cutover/cutover.service");
        assert_eq!(said.stderr, "");

        // The tag is in a file that the project's owner can read.
        let env_file = fs::metadata(site.server.path("/srv/shop/.env")).expect("an env file");
        assert_eq!((env_file.uid(), env_file.gid()), (OWNER, OWNER));
        assert_eq!(env_file.permissions().mode() & 0o777, 0o600);

        let bad = site.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "3"));
        let ended = site.deploy(&bad).expect("rolled_back");
        assert_eq!(ended.cause(), "container_exited");
        assert_eq!(site.serves(), "first");
    });
}

#[test]
fn it_is_shared_upgraded_backed_up_and_removed_as_the_manual_says() {
    Site::with("/srv/shop", |site| {
        site.install_and_deploy();
        let ask = "setpriv --reuid alice --regid alice --init-groups cutover status";
        let type_in = |site: &Site, before: &str, from, to, count| {
            let commands = commands(MANUAL, from, to);
            assert_eq!(commands.len(), count, "{commands:#?}");
            site.type_in(&format!("{before}\n{}", commands.join("\n")));
        };
        site.expect("/", "useradd --no-create-home alice");
        assert_eq!(site.run("/", ask).exit, 5);
        type_in(site, "", "To let others than root", "\n## Upgrade", 3);
        assert!(site.expect("/", ask).stdout.contains("app"));
        type_in(site, "", "\n## Upgrade", "\n## Back up", 2);

        // A second backup is beside the first one, and what is put back is the state of that time.
        type_in(site, "", "\n## Back up", "\nTo go back to a copy", 6);
        let backups = site.server.path("/srv/backup");
        let copies = || fs::read_dir(&backups).expect("backups");
        let first = copies().next().expect("a backup").expect("a backup").path();
        for file in ["state/journal.sqlite", "etc/cutover.toml"] {
            assert!(first.join(file).exists(), "{file}");
        }
        let at_first = site.newest()["id"].clone();
        let second = site.push(&ImageSpec::new("second"));
        drop(site.deploy(&second).expect("succeeded"));
        assert_ne!(site.newest()["id"], at_first);
        type_in(site, "", "\n## Back up", "\nTo go back to a copy", 6);
        assert_eq!(copies().count(), 2);
        let name = first.file_name().expect("a name").display().to_string();
        let backup = format!("backup=/srv/backup/{name}");
        type_in(site, &backup, "\nTo go back to a copy", "\n## Uninstall", 4);
        assert_eq!(site.newest()["id"], at_first);
        assert_eq!(site.serves(), "second");

        let container = site.expect("/", "docker ps --quiet").stdout;
        type_in(site, "", "\n## Uninstall", "\n## Every outcome", 4);
        let unit = site.run("/", "systemctl status cutover");
        assert!(unit.stderr.contains("could not be found"), "{unit:#?}");
        site.expect("/srv/shop", "docker compose up -d");
        assert_eq!(site.expect("/", "docker ps --quiet").stdout, container);
        assert_eq!(site.serves(), "second");
    });
}

#[test]
fn a_daemon_with_a_mistake_in_its_configuration_comes_up_by_itself_when_that_is_put_right() {
    Site::with("/srv/shop", |site| {
        site.install();
        let configuration = site.server.path("/etc/cutover/cutover.toml");
        let text = fs::read_to_string(&configuration).expect("the configuration");
        fs::write(
            &configuration,
            text.replace("[server]\n", "[server]\nsoket = 1\n"),
        )
        .expect("a file");
        assert_ne!(
            site.run("/", "systemctl enable --now /etc/cutover/cutover.service")
                .exit,
            0
        );
        site.server.wait_until("systemd tries again", || {
            site.property("ExecMainStatus") == "2" && site.property("NRestarts") != "0"
        });
        fs::write(configuration, text).expect("a file");
        site.server
            .wait_until("it comes up", || site.property("ActiveState") == "active");
    });
}

#[test]
fn systemd_counts_it_as_started_when_it_answers_and_shows_what_it_waits_for() {
    Site::with("/srv/shop", |site| {
        site.install();
        // systemd provides the secret; and Docker, which `Wants=` would start, takes calls without an answer.
        site.expect("/", "systemctl link /etc/cutover/cutover.service");
        site.edit_unit("LoadCredential=webhook.secret:/etc/cutover/webhook.secret");
        let configuration = site.server.path("/etc/cutover/cutover.toml");
        let text = fs::read_to_string(&configuration).expect("the configuration");
        let provided = "/run/credentials/cutover.service/webhook.secret";
        let text = text.replace("/etc/cutover/webhook.secret", provided);
        fs::write(configuration, text).expect("a file");
        let check = site.run("/", "cutover check");
        assert!(check.stderr.contains("LoadCredential="), "{check:#?}");
        let docker = "docker.service docker.socket";
        site.expect("/", &format!("systemctl mask --runtime --now {docker}"));
        let socket = site.server.path("/run/docker.sock");
        fs::remove_file(&socket).expect("systemd leaves it");
        let silent = UnixListener::bind(&socket).expect("a socket");
        silent.set_nonblocking(true).expect("a mode");

        site.expect("/", "systemctl start --no-block cutover");
        let call = wait_for("a call", PATIENCE, || Ok(silent.accept().ok()));
        let call = call.expect("the daemon asks Docker");
        assert_eq!(site.property("ActiveState"), "activating");
        assert_eq!(site.run("/", "cutover status").exit, 5);
        fs::remove_file(&socket).expect("it was there");
        drop((call, silent));
        site.server.wait_until("systemd counts it as started", || {
            site.property("ActiveState") != "activating"
        });
        assert_eq!(site.property("ActiveState"), "active");
        site.expect("/", "cutover history");

        site.server.wait_until("it says that Docker is away", || {
            site.property("StatusText")
                .starts_with("docker cannot be reached")
        });
        site.expect(
            "/",
            "systemctl unmask --runtime docker.service docker.socket",
        );
        site.expect("/", "systemctl start docker");
        site.server.wait_until("it takes deployments", || {
            site.property("StatusText") == "taking deployments"
        });
        // It finds the secret that systemd provides, too.
        site.expect("/", "cutover check");
        let first = site.push(&ImageSpec::new("first"));
        drop(site.deploy(&first).expect("succeeded"));
        assert_eq!(site.property("NRestarts"), "0");
    });
}

#[test]
fn systemctl_stop_waits_for_a_deployment_that_has_switched() {
    Site::with("/etc/shop", |site| {
        site.install_and_deploy();
        let client = site.begin_trial();
        let mut stop = site.begin("systemctl stop cutover");
        site.server.wait_until("it is stopping", || {
            site.property("ActiveState") == "deactivating"
        });
        assert_eq!(site.property("StatusText"), "cutover is stopping");
        // Longer than `server.shutdown_deadline`, five minutes: a test cannot wait for that.
        assert_eq!(site.property("TimeoutStopUSec"), "6min");
        assert!(stop.try_wait().expect("a status").is_none());
        site.open_gate();
        drop(end_of(client).expect("succeeded"));
        assert_eq!(end_of(stop).exit, 0);
        assert_eq!(site.property("ActiveState"), "inactive");
        assert_eq!(site.property("Result"), "success");
        assert_eq!(site.property("ExecMainStatus"), "0");
        assert_eq!(site.serves(), "second");
    });
}

#[test]
fn a_machine_that_shuts_down_stops_docker_after_the_deployment_has_ended() {
    Site::with("/srv/shop", |site| {
        site.install_and_deploy();
        let client = site.begin_trial();
        let off = site.begin("systemctl poweroff");
        site.server.wait_until("it is stopping", || {
            site.property("ActiveState") == "deactivating"
        });
        assert_eq!(site.server.property("docker", "ActiveState"), "active");
        site.open_gate();
        drop(end_of(client).expect("succeeded"));
        drop(end_of(off));
        site.server.wait_for_the_end().expect("it is off");
    });
}

#[test]
fn killed_in_a_deployment_it_is_started_again_and_puts_the_old_release_back() {
    Site::with("/home/alice/shop", |site| {
        site.install_and_deploy();
        let client = site.begin_trial();
        site.expect("/", "systemctl kill --kill-whom=main --signal=KILL cutover");
        site.open_gate();
        site.server.wait_until("it is started again", || {
            site.property("NRestarts") == "1" && site.property("ActiveState") == "active"
        });
        let ended = end_of(client).expect("rolled_back");
        assert_eq!(ended.cause(), "interrupted");
        assert_eq!(site.serves(), "first");
    });
}

#[test]
fn a_daemon_that_stands_still_is_killed_by_the_watchdog_and_started_again() {
    Site::with("/tmp/shop", |site| {
        site.install_and_deploy();
        site.edit_unit("WatchdogSec=3");
        site.expect("/", "systemctl restart cutover");
        let fed = || site.property("WatchdogTimestampMonotonic");
        for time in ["once", "twice"] {
            let before = fed();
            site.server
                .wait_until(&format!("the watchdog is fed {time}"), || fed() != before);
        }
        assert_eq!(site.property("NRestarts"), "0");
        site.expect("/", "systemctl kill --kill-whom=main --signal=STOP cutover");
        site.server.wait_until("it is started again", || {
            site.property("NRestarts") == "1" && site.property("ActiveState") == "active"
        });
        let log = site.server.journal("cutover");
        assert!(log.contains("Watchdog timeout"), "{log}");
        let second = site.push(&ImageSpec::new("second"));
        drop(site.deploy(&second).expect("succeeded"));
        assert_eq!(site.serves(), "second");
    });
}
