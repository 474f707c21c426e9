//! What a file means: its values, and the defaults of what it leaves out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::surroundings::Surroundings;
use super::super::{Aliases, Freshness, HttpTls, Order, Output, SharedVolumes, UnsetVariables};
use super::{COMPLETE, Place, SMALLEST};

#[test]
fn what_is_left_out_has_its_default() {
    let place = Place::new();
    let settings = place.read(SMALLEST).expect("valid");
    assert_eq!(settings.server, super::super::Server::default());
    assert_eq!(settings.docker, super::super::DockerSettings::default());
    assert!(settings.keys.is_empty() && settings.operator_tokens.is_empty());
    let service = settings.services.values().next().expect("one service");
    assert_eq!(service.compose_service, "shop");
    assert_eq!(service.compose_files, [place.path("compose.yaml")]);
    assert_eq!(service.directory(), place.directory.path());
    assert_eq!(service.progress_deadline, Duration::from_secs(900));
    assert_eq!(service.min_healthy_time, Duration::ZERO);
    assert_eq!(service.keep_releases, 3);
    assert_eq!(service.tag_pattern, None);
    assert_eq!(service.order, None);
    assert_eq!(service.health, super::super::Health::default());
}

#[test]
fn every_value_arrives() {
    let place = Place::new();
    let settings = place.read(COMPLETE).expect("valid");
    let server = &settings.server;
    assert_eq!(
        server.listen,
        Some("0.0.0.0:8443".parse().expect("an address"))
    );
    let tls = server.tls.as_ref().expect("tls");
    assert_eq!(
        (&tls.cert, &tls.key),
        (&place.path("tls.crt"), &place.path("tls.key"))
    );
    assert_eq!(server.socket, Path::new("/run/elsewhere.sock"));
    assert_eq!(
        server.metrics_listen,
        Some("127.0.0.1:9464".parse().expect("an address"))
    );
    assert_eq!(server.state_directory, Path::new("/srv/state"));
    assert_eq!(server.shutdown_deadline, Duration::from_secs(90));
    assert_eq!(server.history_days, 30);
    let key = &settings.keys[0];
    assert_eq!(key.name, "ci");
    assert_eq!(key.secret.expose(), b"0123456789abcdef0123456789abcdef");
    assert!(key.services.iter().map(|name| name.as_str()).eq(["shop"]));
    assert_eq!(key.freshness, Freshness::NotRequired);
    assert_eq!(settings.operator_tokens[0].name, "alice");
    assert_eq!(
        settings.operator_tokens[0].token.expose(),
        b"abcdefghijklmnopqrstuvwxyz012345"
    );
    assert_eq!(settings.docker.socket, Path::new("/run/docker.sock"));
    assert_eq!(settings.docker.config_directory, place.directory.path());
    assert_eq!(settings.docker.compose, Some(place.path("docker-compose")));
}

#[test]
fn every_value_of_a_service_arrives() {
    let place = Place::new();
    let settings = place.read(COMPLETE).expect("valid");
    let service = settings.services.values().next().expect("one service");
    assert_eq!(
        service.project_directory.as_deref(),
        Some(place.directory.path())
    );
    assert_eq!(service.project_name.as_deref(), Some("acme"));
    assert_eq!(service.env_files, [place.path(".env")]);
    assert_eq!(service.profiles, ["prod"]);
    assert_eq!(service.environment["REGION"], "eu-1");
    assert_eq!(service.environment["EMPTY"], "");
    assert_eq!(service.pass_environment, ["MIRROR"]);
    assert_eq!(service.compose_service, "web");
    assert_eq!(
        service.image_repository.as_deref(),
        Some("ghcr.io/acme/shop")
    );
    assert_eq!(service.tag_variable.as_deref(), Some("SHOP_TAG"));
    assert_eq!(
        service
            .tag_pattern
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("v*")
    );
    assert_eq!(service.healthy_deadline, Some(Duration::from_secs(120)));
    assert_eq!(service.min_healthy_time, Duration::from_secs(5));
    assert_eq!(service.monitor, Some(Duration::from_secs(10)));
    assert_eq!(service.hold, Some(Duration::from_secs(20)));
    assert_eq!(service.hold_ports, [8080, 9090].into());
    assert_eq!(service.drain, Duration::from_secs(1));
    assert_eq!(service.progress_deadline, Duration::from_secs(1200));
    assert_eq!(service.keep_releases, 5);
    assert_eq!(service.order, Some(Order::StartFirst));
    assert_eq!(service.shared_volumes, SharedVolumes::Allowed);
    assert_eq!(service.aliases, Some(Aliases::AtStart));
    assert_eq!(service.parallelism, Some(2));
    assert_eq!(service.delay, Some(Duration::from_secs(3)));
    let http = service.health.http.as_ref().expect("http");
    assert_eq!(
        (http.port, http.path.as_str()),
        (Some(8080), "/healthz?full")
    );
    assert_eq!(http.status, 200..=204);
    assert_eq!(http.host.as_deref(), Some("shop.example.com"));
    assert_eq!(http.tls, HttpTls::OnWithoutVerification);
    assert_eq!(http.interval, Duration::from_secs(1));
    assert_eq!(http.timeout, Duration::from_secs(3));
    assert_eq!(http.body_bytes_max, 10);
    let url = service.health.url.as_ref().expect("url");
    assert_eq!(url.url, "https://shop.example.com/health");
    assert_eq!(
        (&url.http.status, url.http.timeout),
        (&(200..=204), http.timeout)
    );
    let command = service.health.command.as_ref().expect("command");
    assert_eq!(command.command, ["/shop", "status"]);
    assert_eq!(service.unset_variables, UnsetVariables::Refuse);
    assert_eq!(service.output, Output::None);
    let tcp = service.health.tcp.as_ref().expect("tcp");
    assert_eq!((tcp.port, tcp.interval), (5432, Duration::from_secs(2)));
    assert_eq!(tcp.timeout, Duration::from_secs(4));
}

#[test]
fn with_a_url_alone_the_container_is_not_asked() {
    let place = Place::new();
    let url = r#"url = "http://localhost/health", timeout = "1s""#;
    let settings = place.read(&format!("{SMALLEST}health.http = {{ {url} }}\n"));
    let settings = settings.expect("valid");
    let health = &settings.services.values().next().expect("one").health;
    assert!(health.url.is_some() && health.http.is_none());
}

#[test]
fn one_status_may_be_written_as_a_number() {
    let place = Place::new();
    let text = format!("{SMALLEST}health.http = {{ status = 204 }}\n");
    let settings = place.read(&text).expect("valid");
    let service = settings.services.values().next().expect("one service");
    assert_eq!(
        service.health.http.as_ref().expect("http").status,
        204..=204
    );
}

#[test]
fn some_defaults_come_from_the_environment() {
    let place = Place::new();
    let directory = |path: &str| Some(PathBuf::from(path));
    let mut surroundings = Surroundings {
        state_directory: directory("/srv/state"),
        home: directory("/home/deploy"),
        ..Surroundings::default()
    };
    let settings = place.read_in(SMALLEST, &surroundings).expect("valid");
    assert_eq!(settings.server.state_directory, Path::new("/srv/state"));
    assert_eq!(
        settings.docker.config_directory,
        Path::new("/home/deploy/.docker")
    );
    surroundings.docker_config = directory("/etc/docker-client");
    let settings = place.read_in(SMALLEST, &surroundings).expect("valid");
    assert_eq!(
        settings.docker.config_directory,
        Path::new("/etc/docker-client")
    );
}

#[test]
fn compose_files_are_found_as_compose_finds_them() {
    let place = Place::new();
    let text = "[services.shop]\nproject_directory = \"$DIR\"\n";
    let found = || {
        let settings = place.read(text).expect("valid");
        let files = settings
            .services
            .into_values()
            .next()
            .expect("one")
            .compose_files;
        files
            .iter()
            .map(|file| {
                file.file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(found(), ["compose.yaml"]);
    place.write("docker-compose.yml", "", 0o644);
    place.write("compose.override.yaml", "", 0o644);
    assert_eq!(found(), ["compose.yaml", "compose.override.yaml"]);
    std::fs::remove_file(place.path("compose.yaml")).expect("it was there");
    assert_eq!(found(), ["docker-compose.yml", "compose.override.yaml"]);
    std::fs::remove_file(place.path("docker-compose.yml")).expect("it was there");
    assert_eq!(
        place.message(text),
        "there is no Compose file in `$DIR`: looked for compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml"
    );
}
