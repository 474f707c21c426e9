//! A whole project out of `crates/testkit/projects`, as if it were somebody's.
//!
//! Its files are copied as they are. Two texts in them become others: `registry.example` is the registry of the scene,
//! and `/var/run/docker.sock` the socket of its Docker. Every image that the project names is made of the example
//! service: those of `registry.example` are pushed, the others are on the machine already.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::{Scene, Wishes};
use crate::images::{self, ImageSpec};

/// The registry that the files name.
const REGISTRY: &str = "registry.example";
/// Docker's socket as the files name it. It must not be made on the machine that the tests run on.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// What the projects call the program in their images: to run the application, and to ask for its health.
const PROGRAMS: &[&str] = &[
    "sh",
    "bundle",
    "caddy",
    "celery",
    "curl",
    "dotnet",
    "gunicorn",
    "java",
    "mix",
    "mysqladmin",
    "nginx",
    "node",
    "npm",
    "npx",
    "pg_isready",
    "php",
    "php-fpm",
    "ping",
    "python",
    "redis-cli",
    "server",
    "shop",
    "traefik",
    "uvicorn",
    "wget",
    "worker",
    "entrypoint",
];

/// The images that were loaded into the Docker of the world.
static LOADED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

impl Scene {
    /// A scene with the files of a project of `crates/testkit/projects`, in a directory of the same name. Compose calls
    /// it `project`. There is no configuration, and no daemon runs.
    ///
    /// # Panics
    /// If it cannot be set up.
    #[must_use]
    pub fn of_project(cutover: &str, name: &str, project: &str) -> Self {
        let scene = Self::empty(cutover, &Wishes::default(), name, project.to_owned());
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("projects")
            .join(name);
        let registry = scene.registry.addr().to_string();
        let socket = scene.docker_socket.display().to_string();
        for path in files_in(&from) {
            let text = fs::read_to_string(&path).expect("a text");
            let text = text
                .replace(REGISTRY, &registry)
                .replace(DOCKER_SOCKET, &socket);
            let to = path.strip_prefix(&from).expect("a file of the project");
            let to = scene.project_directory().join(to);
            fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
            fs::write(to, text).expect("a file");
        }
        scene
    }

    /// What Compose makes of the project with these options.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    #[track_caller]
    pub fn described(&self, options: &[&str]) -> Value {
        let said = self.compose(&[options, &["config", "--format", "json"]].concat());
        let json = said.find('{').map_or("", |start| &said[start..]);
        // Warnings stand before and behind it.
        let mut read = serde_json::Deserializer::from_str(json).into_iter();
        let project = read.next().expect("a project");
        project.unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Makes every image that the project names with these options: those of the scene's registry as `own` says, the
    /// others as something that runs. Returns the repositories of its own.
    ///
    /// # Panics
    /// If an image cannot be made.
    #[track_caller]
    pub fn make_images(&self, options: &[&str], own: &ImageSpec) -> BTreeSet<String> {
        let project = self.described(options);
        let services = project["services"].as_object().into_iter().flatten();
        let name = project["name"].as_str().unwrap_or_default();
        // One without an image line was built before.
        let image = |(service, described): (&String, &Value)| {
            let written = described["image"].as_str().map(str::to_owned);
            written.unwrap_or_else(|| format!("{name}-{service}"))
        };
        let images: BTreeSet<String> = services.map(image).collect();
        let registry = format!("{}/", self.registry.addr());
        let mut repositories = BTreeSet::new();
        for image in &images {
            match image.strip_prefix(&registry) {
                Some(rest) => {
                    let (repository, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
                    self.push_to(repository, tag, own);
                    repositories.insert(repository.to_owned());
                }
                None => load(image),
            }
        }
        repositories
    }

    /// Pushes an image that stands for every program of the projects.
    ///
    /// # Panics
    /// If it cannot be pushed.
    pub fn push_to(&self, repository: &str, tag: &str, spec: &ImageSpec) {
        // No other scene, and no other repository, has this very image.
        let own = spec.clone().also_called(PROGRAMS);
        let own = own.label("scene", &self.project).label("of", repository);
        self.registry.push(repository, tag, &own).expect("an image");
    }
}

/// Hands the image to the Docker of the world, once.
fn load(image: &str) {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if !loaded.contains(image) {
        let spec = ImageSpec::new(image).also_called(PROGRAMS);
        let spec = spec.entrypoint(&["/bin/entrypoint"]);
        let name = image.rsplit('/').next().unwrap_or(image);
        let tag = if name.contains(':') { "" } else { ":latest" };
        let reference = format!("{image}{tag}");
        images::load(&crate::world().socket(), &reference, &spec).expect("an image");
        loaded.insert(image.to_owned());
    }
}

/// The files in a directory and below.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files_in(&path),
            false => vec![path],
        })
        .collect()
}
