//! What is written, and that the daemon accepts it.

mod which;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cutover_daemon::settings::{self, DockerSettings};
use tempfile::TempDir;

use super::project::Project;
use super::*;

/// What Compose says of a project with two services of our own and two foreign ones.
const PROJECT: &[u8] = br#"{
  "name": "shop",
  "services": {
    "built": { "build": { "context": "/srv/shop" } },
    "db": { "image": "postgres:16" },
    "shop": {
      "image": "ghcr.io/acme/shop:${SHOP_IMAGE_TAG}",
      "healthcheck": { "test": ["CMD", "true"] },
      "profiles": ["prod", "dev"]
    },
    "shop.worker": { "image": "${REGISTRY:-ghcr.io}/acme/worker:${WORKER_TAG:?set it}" }
  }
}"#;

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("compose.yaml"), "services: {}\n").expect("written");
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn project(&self, json: &[u8]) -> Project {
        let (services, others) = sort::sort(json, None, self.directory.path()).expect("valid");
        Project {
            project_name: None,
            env_files: Vec::new(),
            not_taken: None,
            directory: self.directory.path().to_owned(),
            files: vec![self.path("compose.yaml")],
            docker: DockerSettings::default(),
            compose: PathBuf::from("/usr/libexec/docker/cli-plugins/docker-compose"),
            services,
            others,
        }
    }

    fn args(&self) -> InitArgs {
        InitArgs {
            directory: self.directory.path().to_owned(),
            files: Vec::new(),
            output: self.path("etc"),
            cert: None,
            key: None,
            fix: false,
            services: Vec::new(),
            yes: false,
            json: false,
        }
    }

    /// Writes everything for `project`.
    fn write(&self, project: &Project, args: &InitArgs) -> anyhow::Result<Vec<Written>> {
        let places = Places::in_directory(&args.output);
        files::write(&drafts(project, &places, args)?)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn the_daemon_accepts_what_was_written() {
    let place = Place::new();
    place
        .write(&place.project(PROJECT), &place.args())
        .expect("written");
    let settings = settings::load(&place.path("etc/cutover.toml"))
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let names: Vec<&str> = settings.services.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["shop", "shop.worker"]);
    assert_eq!(settings.keys.len(), 1);
    assert_eq!(settings.keys[0].services.len(), 2);
    let listen = settings.server.listen.expect("a listener");
    assert_eq!(listen.to_string(), "127.0.0.1:8443");
    let shop = settings.services.values().next().expect("a service");
    assert_eq!(shop.compose_files, [place.path("compose.yaml")]);
    assert_eq!(shop.profiles, ["prod"]);
    let text = fs::read_to_string(place.path("etc/cutover.toml")).expect("written");
    let uncommented = text
        .replace("#health.http", "health.http")
        .replace("#health.command", "health.command")
        .replace("#tag_pattern", "tag_pattern")
        .replace("#metrics_listen", "metrics_listen");
    assert_ne!(text, uncommented);
    fs::write(place.path("etc/cutover.toml"), uncommented).expect("written");
    settings::load(&place.path("etc/cutover.toml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
}

#[test]
fn with_a_certificate_the_network_is_listened_to() {
    let place = Place::new();
    for name in ["tls.crt", "tls.key"] {
        fs::write(place.path(name), "PEM").expect("written");
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).expect("changed");
    }
    let args = InitArgs {
        cert: Some(place.path("tls.crt")),
        key: Some(place.path("tls.key")),
        ..place.args()
    };
    place
        .write(&place.project(PROJECT), &args)
        .expect("written");
    let settings = settings::load(&place.path("etc/cutover.toml"))
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(
        settings.server.listen,
        Some("0.0.0.0:8443".parse().expect("an address"))
    );
    assert_eq!(settings.server.tls.expect("tls").key, place.path("tls.key"));
    let workflow = fs::read_to_string(place.path("etc/deploy.yml")).expect("written");
    assert!(
        workflow.contains("url: https://deploy.example.com:8443\n"),
        "{workflow}"
    );
}

#[test]
fn the_secret_is_random_and_its_owners_alone() {
    let place = Place::new();
    place
        .write(&place.project(PROJECT), &place.args())
        .expect("written");
    let path = place.path("etc/webhook.secret");
    assert_eq!(mode(&path), 0o600);
    let secret = fs::read_to_string(&path).expect("readable");
    assert_eq!(secret.len(), 65);
    assert!(secret.trim_end().bytes().all(|b| b.is_ascii_hexdigit()));
    assert_ne!(new_secret().expect("random"), new_secret().expect("random"));
    assert_eq!(mode(&place.path("etc/cutover.service")), 0o644);
}

#[test]
fn a_second_run_keeps_everything() {
    let place = Place::new();
    let project = place.project(PROJECT);
    let first = place.write(&project, &place.args()).expect("written");
    assert!(first.iter().all(|file| file.state == files::State::Written));
    let secret = fs::read(place.path("etc/webhook.secret")).expect("readable");
    let second = place.write(&project, &place.args()).expect("kept");
    assert!(second.iter().all(|file| file.state == files::State::Kept));
    assert_eq!(
        fs::read(place.path("etc/webhook.secret")).expect("readable"),
        secret
    );
}

#[test]
fn a_file_that_says_something_else_is_never_overwritten() {
    let place = Place::new();
    fs::create_dir(place.path("etc")).expect("made");
    for name in ["cutover.toml", "cutover.service", "deploy.yml"] {
        fs::write(place.path("etc").join(name), "# mine\n").expect("written");
        let error = place
            .write(&place.project(PROJECT), &place.args())
            .expect_err("in the way");
        assert!(
            error
                .to_string()
                .ends_with(&format!("{name} is there and says something else"))
        );
        let present = fs::read_dir(place.path("etc"))
            .expect("a directory")
            .count();
        assert_eq!(present, 1, "only {name} is there");
        fs::remove_file(place.path("etc").join(name)).expect("it was there");
    }
}

#[test]
fn services_that_share_a_tag_variable_are_one_release() {
    let place = Place::new();
    let shared = br#"{ "services": { "a": { "image": "acme/x:${TAG}" },
        "b": { "image": "acme/y:${TAG}", "ports": ["80:80"] }, "c": { "image": "acme/z:${C}" },
        "d": { "image": "acme/x:${TAG}", "profiles": ["tools"] },
        "e": { "image": "acme/x:${TAG}" } } }"#;
    let project = place.project(shared);
    // The one that users reach gives the name. What a profile would add to it is no release of its own.
    assert_eq!(project.names(), ["b", "c"]);
    assert_eq!(project.services[0].with, ["a", "e"]);
    assert_eq!(project.others[0].service, "d");
    let why = &project.others[0].why;
    assert!(why.contains("its tag is that of `b`"), "{why}");
    let text = configuration::text(&project, Path::new("/s"), None).expect("a text");
    let line = "# Released with it, because their images name TAG as well: a, e.\n";
    assert_eq!(text.matches(line).count(), 1, "{text}");
}

#[test]
fn a_service_on_which_others_depend_gives_the_name_where_none_publishes_a_port() {
    let place = Place::new();
    let project = place.project(
        br#"{ "services": { "queue": { "image": "acme/x:${TAG}" }, "web": { "image": "acme/x:${TAG}" },
        "proxy": { "image": "nginx:1", "ports": ["80:80"], "depends_on": { "web": {} } } } }"#,
    );
    assert_eq!(project.names(), ["web"]);
    assert_eq!(project.services[0].with, ["queue"]);
}

#[test]
fn services_of_profiles_that_exclude_each_other_are_releases_of_their_own() {
    let place = Place::new();
    let project = place.project(
        br#"{ "services": { "a": { "image": "acme/x:${TAG}", "profiles": ["blue"] },
        "b": { "image": "acme/x:${TAG}", "profiles": ["green"] } } }"#,
    );
    assert_eq!(project.names(), ["a", "b"]);
}

#[test]
fn the_unit_fits_where_things_are() {
    let place = Place::new();
    let mut project = place.project(PROJECT);
    let program = Path::new("/usr/local/bin/cutover");
    let default = Path::new(settings::DEFAULT_PATH);
    let unit = |project: &Project, configuration: &Path, program: &Path| {
        unit::text(
            project,
            Path::new("/etc/cutover/cutover.service"),
            configuration,
            program,
        )
    };
    project.directory = PathBuf::from("/srv/shop");
    let shipped = include_str!("../../../../../dist/cutover.service");
    assert_eq!(unit(&project, default, program), shipped);
    let lines = unit(
        &project,
        Path::new("/srv/50% off/$c.toml"),
        Path::new("/opt/cutover"),
    );
    assert!(
        lines.contains("\nExecStart=/opt/cutover serve --config \"/srv/50%% off/$$c.toml\"\n"),
        "{lines}"
    );
    project.directory = PathBuf::from("/etc/shop projects");
    assert!(unit(&project, default, program).contains("\nReadWritePaths=\"/etc/shop projects\"\n"));
    project.directory = PathBuf::from("/tmp/shop");
    assert!(unit(&project, default, program).contains("\nPrivateTmp=no\n"));
}

/// The workflow behind a proxy.
fn workflow(project: &Project) -> String {
    workflow::text(project, workflow::Front::Proxy).expect("a workflow")
}

#[test]
fn the_workflow_has_a_job_for_each_service() {
    let place = Place::new();
    let text = workflow(&place.project(PROJECT));
    let (_, jobs) = text.split_once("\njobs:\n").expect("jobs");
    let (first, second) = jobs.split_once("\n\n").expect("two jobs");
    let lines = |job: &str, keys: [&str; 6]| {
        let found = job.lines().map(str::trim_start);
        found
            .filter(|line| keys.iter().any(|key| line.starts_with(key)))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let keys = ["shop", "needs:", "url:", "service:", "image:", "context:"];
    assert_eq!(
        lines(first, keys),
        [
            "shop:",
            "url: https://deploy.example.com",
            "service: \"shop\"",
            "image: ghcr.io/acme/shop",
            "context: . # the directory with the Dockerfile of this service"
        ]
    );
    assert_eq!(
        lines(second, keys),
        [
            "shop-worker:",
            "needs: shop",
            "url: https://deploy.example.com",
            "service: \"shop.worker\"",
            "context: . # the directory with the Dockerfile of this service"
        ]
    );
    assert!(second.contains("# The Compose file says ${REGISTRY:-ghcr.io}/acme/worker;"));
}

#[test]
fn the_workflow_names_the_registry_in_full_and_asks_for_its_login() {
    let place = Place::new();
    let hub = String::from_utf8_lossy(PROJECT).replace("ghcr.io/acme/shop", "acme/shop");
    assert_ne!(hub.as_bytes(), PROJECT);
    let text = workflow(&place.project(hub.as_bytes()));
    assert!(text.contains("image: docker.io/acme/shop\n"), "{text}");
    assert!(text.contains("REGISTRY_PASSWORD: ${{"), "{text}");
    let github = workflow(&place.project(PROJECT));
    assert!(!github.contains("REGISTRY_PASSWORD: ${{"), "{github}");
}

#[test]
fn each_of_several_jobs_is_told_to_name_its_context() {
    let place = Place::new();
    let (several, args) = (place.project(PROJECT), place.args());
    let one = place.project(br#"{ "services": { "a": { "image": "acme/a:${A}" } } }"#);
    let places = Places::in_directory(&args.output);
    let last = |project: &Project| next_steps(&args, &places, project).pop().expect("steps");
    assert!(workflow(&several).contains("\n# - write after `context` of each job the directory"));
    assert!(last(&several).contains("each job needs its own `context`"));
    assert!(!workflow(&one).contains("context"), "{}", workflow(&one));
    assert!(last(&one).ends_with("follow its first lines"));
}

#[test]
fn an_official_image_of_docker_hub_gets_no_job() {
    let place = Place::new();
    let project = place.project(
        br#"{ "services": { "db": { "image": "postgres:${DB_TAG}" },
            "mine": { "image": "docker.io/acme/mine:${MINE_TAG}" },
            "proxy": { "image": "docker.io/library/caddy:${PROXY_TAG}" } } }"#,
    );
    let text = workflow(&project);
    assert!(!text.contains("image: docker.io/library"), "{text}");
    assert!(text.contains("\n  mine:\n    permissions:"), "{text}");
    assert!(
        text.contains("\n# There is no job for db: postgres names an official image of Docker Hub"),
        "{text}"
    );
    assert_eq!(not_built(&project), ["db", "proxy"]);
    assert_eq!(project.names(), ["mine", "db", "proxy"]);

    let none = place.project(br#"{ "services": { "db": { "image": "postgres:${DB_TAG}" } } }"#);
    assert_eq!(workflow::text(&none, workflow::Front::Daemon), None);
    let written = place.write(&none, &place.args()).expect("written");
    assert_eq!(written.len(), 3);
    assert!(!place.path("etc/deploy.yml").exists());
    let places = Places::in_directory(&place.args().output);
    let steps = next_steps(&place.args(), &places, &none);
    assert!(steps.iter().all(|step| !step.contains("deploy.yml")));
}

#[test]
fn the_workflow_is_the_one_in_the_documentation() {
    let document = include_str!("../../../../../docs/github-actions.md");
    let (_, example) = document.split_once("```yaml\n").expect("an example");
    let (example, _) = example.split_once("```\n").expect("its end");
    let shipped: String = include_str!("../../../../../dist/workflow.yml")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("image: "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(shipped, example);
}

#[test]
fn the_report_says_what_to_do_next() {
    let place = Place::new();
    let project = place.project(PROJECT);
    let args = place.args();
    let places = Places::in_directory(&args.output);
    let report = Report {
        files: place.write(&project, &args).expect("written"),
        releases: Vec::new(),
        services: project.names(),
        warnings: project.warnings(),
        not_built: not_built(&project),
        next: next_steps(&args, &places, &project),
        others: project.others,
    };
    let text = text(&report);
    for expected in [
        "webhook.secret   the secret that signs requests, written\n",
        "\nCan be deployed: shop, shop.worker\n",
        "\n  built: it has no `image`",
        "    to deploy it, write `image: REPOSITORY:${BUILT_IMAGE_TAG}`\n",
        "\n  db: its image `postgres:16` has neither a registry nor an owner",
        "cutover check --config ",
        "systemctl enable --now ",
        "free plan there is none: leave out `--env production`",
    ] {
        assert!(
            text.contains(expected),
            "{expected:?} is missing in:\n{text}"
        );
    }
}
