//! Whole projects in the manner of real ones (`crates/testkit/projects`), each taken the whole way that its team would
//! go: it runs already, `init`, `check`, `plan`, a release, the same again, a broken one, `up -d` by hand, `down`.

mod way;

/// A project, and what must come of it.
struct Row {
    /// Its directory.
    name: &'static str,
    /// What Compose calls it.
    project: &'static str,
    /// The options with which its team calls Compose.
    options: &'static [&'static str],
    /// The variables that its team gave to Compose when it started the first release.
    shell: &'static [(&'static str, &'static str)],
    /// More options for `init --fix`, where its image lines need that.
    fix: Option<&'static [&'static str]>,
    /// The options with which another project is called that runs beside it and came first.
    beside: &'static [&'static str],
    /// The name under which `init` makes it deployable.
    lead: &'static str,
    /// What else has a variable as its tag, so that `init` makes it deployable as well.
    also: &'static [&'static str],
    /// What a release consists of, in the order in which it is switched.
    services: &'static [&'static str],
    /// The services that run to their end before that.
    jobs: &'static [&'static str],
    /// What stays as it is.
    untouched: &'static [&'static str],
    /// Lines that `init` must write.
    written: &'static [&'static str],
    /// What a good image needs in its environment.
    image: &'static [(&'static str, &'static str)],
    broken: Broken,
}

/// What is wrong with the broken release.
enum Broken {
    /// The image has this variable, and the deployment ends with this outcome and cause.
    By((&'static str, &'static str), [&'static str; 2]),
    /// This repository lacks it.
    Missing(&'static str),
}

const USUAL: Row = Row {
    name: "",
    project: "",
    options: &[],
    shell: &[],
    fix: None,
    beside: &[],
    lead: "",
    also: &[],
    services: &[],
    jobs: &[],
    untouched: &[],
    written: &[],
    image: &[],
    broken: Broken::By(("EXIT_AT_ONCE", "3"), EXITED),
};

const EXITED: [&str; 2] = ["rolled_back", "container_exited"];
const UNHEALTHY: [&str; 2] = ["rolled_back", "unhealthy"];
const JOB_FAILED: [&str; 2] = ["failed", "job_failed"];

#[test]
fn django_celery() {
    Row {
        name: "django-celery",
        project: "bookings",
        lead: "web",
        services: &["beat", "web", "worker"],
        jobs: &["migrate"],
        untouched: &["db", "redis"],
        image: &[("MIGRATE_EXIT_AT_ONCE", "0")],
        broken: Broken::By(("BEAT_EXIT_AT_ONCE", "3"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn rails_sidekiq() {
    Row {
        name: "rails-sidekiq",
        project: "store_production",
        written: &[
            "compose_files = [\"DIRECTORY/docker-compose.yml\", \"DIRECTORY/docker-compose.production.yml\"]",
        ],
        lead: "web",
        services: &["web", "sidekiq"],
        untouched: &["postgres", "redis"],
        broken: Broken::By(("PUMA_NEVER_HEALTHY", "1"), UNHEALTHY),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn laravel_queue() {
    Row {
        name: "laravel-queue",
        project: "laravel-queue",
        lead: "app",
        services: &["app", "queue", "scheduler"],
        jobs: &["migrate"],
        untouched: &["mysql", "nginx", "redis"],
        image: &[("MIGRATE_EXIT_AT_ONCE", "0")],
        broken: Broken::By(("MIGRATE_EXIT_AT_ONCE", "1"), JOB_FAILED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn node_migration() {
    Row {
        name: "node-migration",
        project: "node-migration",
        options: &["-f", "docker-compose.yml", "-f", "docker-compose.prod.yml"],
        lead: "api",
        services: &["api"],
        jobs: &["migrate"],
        untouched: &["postgres"],
        written: &[
            "compose_files = [\"DIRECTORY/docker-compose.yml\", \"DIRECTORY/docker-compose.prod.yml\"]",
        ],
        image: &[("MIGRATE_EXIT_AT_ONCE", "0")],
        broken: Broken::By(("MAIN_EXIT_AT_ONCE", "3"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn go_two_binaries() {
    Row {
        name: "go-two-binaries",
        project: "metering",
        shell: &[(
            "METERING_VERSION",
            "5d4c3b2a19087f6e5d4c3b2a1908f7e6d5c4b3a2",
        )],
        lead: "server",
        services: &["server", "worker"],
        untouched: &["nats"],
        broken: Broken::By(("WORKER_EXIT_AFTER_MS", "300"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn phoenix() {
    Row {
        name: "phoenix",
        project: "phoenix",
        lead: "web",
        services: &["web"],
        untouched: &["db"],
        broken: Broken::By(("SERVER_EXIT_AT_ONCE", "3"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn traefik() {
    Row {
        name: "traefik",
        project: "dashboard",
        beside: &["--project-directory", "proxy", "-f", "proxy/compose.yaml"],
        lead: "api",
        services: &["api", "frontend"],
        untouched: &["mongo"],
        broken: Broken::Missing("acme/dashboard/frontend"),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn caddy() {
    Row {
        name: "caddy",
        project: "caddy",
        lead: "app",
        services: &["app"],
        untouched: &["caddy"],
        broken: Broken::By(("NEVER_HEALTHY", "1"), UNHEALTHY),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn fastapi_env_file() {
    Row {
        name: "fastapi-env-file",
        project: "fastapi-env-file",
        lead: "api",
        services: &["api", "worker"],
        untouched: &["db", "migrate"],
        broken: Broken::By(("WORKER_EXIT_AT_ONCE", "3"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn named() {
    Row {
        name: "named",
        project: "intranet-live",
        options: &[
            "-p",
            "intranet-live",
            "-f",
            "docker-compose.production.yml",
            "--env-file",
            ".env.production",
        ],
        lead: "php",
        services: &["messenger", "php"],
        untouched: &["nginx", "rabbitmq"],
        written: &[
            "project_name = \"intranet-live\"",
            "compose_files = [\"DIRECTORY/docker-compose.production.yml\"]",
            "env_files = [\"DIRECTORY/.env.production\"]",
        ],
        broken: Broken::By(("MESSENGER_EXIT_AT_ONCE", "3"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn latest() {
    Row {
        name: "latest",
        project: "latest",
        fix: Some(&[]),
        lead: "web",
        services: &["newsletter", "web"],
        untouched: &["db", "watchtower"],
        broken: Broken::By(("NEWSLETTER_EXIT_AT_ONCE", "3"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn whole_line() {
    Row {
        name: "whole-line",
        project: "whole-line",
        lead: "app",
        services: &["app", "jobs"],
        untouched: &["valkey"],
        also: &["valkey"],
        broken: Broken::By(("JOB_EXIT_AT_ONCE", "3"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn include_profiles() {
    Row {
        name: "include-profiles",
        project: "ledger",
        lead: "gateway",
        services: &["accounts", "gateway"],
        jobs: &["flyway"],
        untouched: &["adminer", "db", "reports"],
        image: &[("FLYWAY_EXIT_AT_ONCE", "0")],
        broken: Broken::By(("FLYWAY_EXIT_AT_ONCE", "2"), JOB_FAILED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn dotnet_secrets() {
    Row {
        name: "dotnet-secrets",
        project: "dotnet-secrets",
        lead: "payments",
        also: &["seq"],
        services: &["payments"],
        untouched: &["mssql", "seq"],
        broken: Broken::By(("DOTNET_EXIT_AT_ONCE", "134"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn fixed_version() {
    Row {
        name: "fixed-version",
        project: "fixed-version",
        fix: Some(&["--service", "site", "--service", "importer"]),
        lead: "site",
        services: &["importer", "site"],
        untouched: &["imgproxy", "search"],
        ..USUAL
    }
    .goes_the_whole_way();
}

#[test]
fn monorepo() {
    Row {
        name: "monorepo",
        project: "atlas",
        options: &[
            "-f",
            "deploy/compose.yaml",
            "--project-directory",
            ".",
            "--env-file",
            "deploy/production.env",
        ],
        lead: "site",
        services: &["tiles", "site"],
        jobs: &["assets"],
        untouched: &["otel", "postgis"],
        written: &[
            "compose_files = [\"DIRECTORY/deploy/compose.yaml\"]",
            "project_directory = \"DIRECTORY\"",
            "env_files = [\"DIRECTORY/deploy/production.env\"]",
        ],
        image: &[("UPLOAD_EXIT_AT_ONCE", "0")],
        broken: Broken::By(("SITE_EXIT_AT_ONCE", "3"), EXITED),
        ..USUAL
    }
    .goes_the_whole_way();
}
