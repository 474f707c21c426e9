//! Images `FROM scratch` with the example service in them, assembled without Docker: a tar for
//! each layer, a configuration and a manifest. [`Registry::push`] uploads them, [`load`] hands them
//! to a Docker directly.
//!
//! [`Registry::push`]: crate::registry::Registry::push

mod tar;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::engine::http::Request;
use tar::Tar;

/// The media type of a manifest.
pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The media type of an index, which holds a manifest for each platform.
pub const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Loading an image includes writing its layers to the disk.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How Docker asks the service for its health.
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// Between two checks.
    pub interval: Duration,
    /// The longest that one check may take.
    pub timeout: Duration,
    /// How long failed checks after the start do not count.
    pub start_period: Duration,
    /// Between two checks during `start_period`; Docker looks at it since Engine 25.
    pub start_interval: Duration,
    /// So many failed checks in a row make the container unhealthy.
    pub retries: u32,
}

impl Default for HealthCheck {
    /// Every 250 ms, unhealthy after two failures.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(250),
            timeout: Duration::from_secs(2),
            start_period: Duration::from_secs(1),
            start_interval: Duration::from_millis(100),
            retries: 2,
        }
    }
}

/// What an image of the example service shall be. See the `behavior` module of `shopd` for the
/// variables that it understands.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    env: BTreeMap<String, String>,
    health_check: Option<HealthCheck>,
    cmd: Vec<String>,
    entrypoint: Vec<String>,
    names: Vec<String>,
    labels: BTreeMap<String, String>,
    architecture: String,
    ports: Vec<u16>,
    volumes: Vec<String>,
    extra_layer_bytes: usize,
    program: Option<PathBuf>,
}

impl ImageSpec {
    /// The well-behaved service: answers `version` on port 8080 and has no `HEALTHCHECK`.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self {
            env: BTreeMap::from([("VERSION".to_owned(), version.to_owned())]),
            health_check: None,
            cmd: vec!["/shopd".to_owned()],
            entrypoint: Vec::new(),
            names: Vec::new(),
            labels: BTreeMap::new(),
            architecture: machine_architecture().to_owned(),
            ports: vec![8080],
            volumes: Vec::new(),
            extra_layer_bytes: 0,
            program: None,
        }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds the service's own health check.
    #[must_use]
    pub fn health_check(mut self, health_check: HealthCheck) -> Self {
        self.health_check = Some(health_check);
        self
    }

    /// Replaces the command, `/shopd` unless changed.
    #[must_use]
    pub fn cmd(mut self, words: &[&str]) -> Self {
        self.cmd = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Sets a program that is started with the command as its arguments.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Lets the program be found under more names, as if they were programs in `/bin`.
    #[must_use]
    pub fn also_called(mut self, names: &[&str]) -> Self {
        self.names.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Claims to be for another architecture, in Docker's words such as `amd64` and `arm64`. The
    /// program inside stays the same.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    /// Exposes one more port; 8080 always is.
    #[must_use]
    pub fn expose(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// Declares a volume, as `VOLUME` does. `/data` exists in every image.
    #[must_use]
    pub fn volume(mut self, path: &str) -> Self {
        self.volumes.push(path.to_owned());
        self
    }

    /// Adds a layer with a file of this size which cannot be compressed and is in no other image
    /// of another version, so that pulling takes time.
    #[must_use]
    pub fn extra_layer_bytes(mut self, count: usize) -> Self {
        self.extra_layer_bytes = count;
        self
    }

    /// Takes the service's program from here, instead of from the test world.
    #[must_use]
    pub fn program(mut self, path: &Path) -> Self {
        self.program = Some(path.to_owned());
        self
    }

    /// Makes layers, configuration and manifest. The result depends on nothing but this
    /// specification and the program.
    pub(crate) fn assemble(&self) -> Result<Image> {
        let shopd = match &self.program {
            Some(program) => program,
            None => &crate::world().shopd,
        };
        let program = fs::read(shopd)
            .with_context(|| format!("the example service {} cannot be read", shopd.display()))?;
        let mut layers = vec![base_layer(&program)];
        if !self.names.is_empty() {
            let link = |tar: Tar, name: &String| tar.link(&format!("bin/{name}"), "/shopd");
            let tar = Tar::default().directory("bin/", 0o755);
            let tar = self.names.iter().fold(tar, link);
            layers.push(Blob::new(LAYER, tar.finish()));
        }
        if self.extra_layer_bytes > 0 {
            let seed = self.env.get("VERSION").map_or("", String::as_str);
            let content = noise(seed, self.extra_layer_bytes);
            let tar = Tar::default().file("ballast", 0o644, &content);
            layers.push(Blob::new(LAYER, tar.finish()));
        }
        let config = Blob::new(CONFIG, self.config(&layers).to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        let manifest = Blob::new(MANIFEST, manifest.to_string().into_bytes());
        Ok(Image {
            layers,
            config,
            manifest,
        })
    }

    fn config(&self, layers: &[Blob]) -> Value {
        let env: Vec<String> = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let ports: serde_json::Map<String, Value> = self
            .ports
            .iter()
            .map(|port| (format!("{port}/tcp"), json!({})))
            .collect();
        let volumes: serde_json::Map<String, Value> = self
            .volumes
            .iter()
            .map(|path| (path.clone(), json!({})))
            .collect();
        let mut container = json!({
            "Env": env, "Cmd": self.cmd, "Labels": self.labels,
            "ExposedPorts": ports, "Volumes": volumes, "WorkingDir": "/",
        });
        if !self.entrypoint.is_empty() {
            container["Entrypoint"] = json!(self.entrypoint);
        }
        if let Some(check) = &self.health_check {
            container["Healthcheck"] = json!({
                "Test": ["CMD", "/shopd", "healthcheck"],
                "Interval": nanos(check.interval),
                "Timeout": nanos(check.timeout),
                "StartPeriod": nanos(check.start_period),
                "StartInterval": nanos(check.start_interval),
                "Retries": check.retries,
            });
        }
        let digests: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let history = vec![json!({ "created_by": "cutover testkit" }); layers.len()];
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": container,
            "rootfs": { "type": "layers", "diff_ids": digests },
            "history": history,
        })
    }
}

/// Content with its digest, as registries keep it.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) media_type: &'static str,
    pub(crate) digest: String,
    pub(crate) content: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, content: Vec<u8>) -> Self {
        Self {
            media_type,
            digest: format!("sha256:{}", hex::encode(digest(&SHA256, &content))),
            content,
        }
    }

    fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.content.len(),
        })
    }
}

/// An assembled image.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) layers: Vec<Blob>,
    pub(crate) config: Blob,
    pub(crate) manifest: Blob,
}

/// The index over the manifests of several platforms.
pub(crate) fn index(members: &[(&ImageSpec, Blob)]) -> Blob {
    let manifests: Vec<Value> = members
        .iter()
        .map(|(spec, manifest)| {
            let mut descriptor = manifest.descriptor();
            descriptor["platform"] = json!({ "architecture": spec.architecture, "os": "linux" });
            descriptor
        })
        .collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    Blob::new(INDEX, index.to_string().into_bytes())
}

/// Hands an image to a Docker without any registry, under a reference such as `shop:1`, and
/// returns its image id.
///
/// # Errors
/// If Docker does not take it.
///
/// # Panics
/// If the specification names no program and the test was not started through `cargo xtask`.
pub fn load(socket: &Path, reference: &str, spec: &ImageSpec) -> Result<String> {
    let image = spec.assemble()?;
    let mut tar = Tar::default();
    let mut paths = Vec::new();
    for layer in &image.layers {
        let path = format!("{}.tar", layer.digest.replace(':', "-"));
        tar = tar.file(&path, 0o644, &layer.content);
        paths.push(path);
    }
    let manifest = json!([{ "Config": "config.json", "RepoTags": [reference], "Layers": paths }]);
    let archive = tar
        .file("config.json", 0o644, &image.config.content)
        .file("manifest.json", 0o644, manifest.to_string().as_bytes())
        .finish();
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LOAD_TIMEOUT))?;
    let request = Request {
        method: "POST",
        target: "/images/load?quiet=1",
        headers: &[("Content-Type", "application/x-tar")],
        body: &archive,
    };
    let answer = request.send("docker", &stream)?;
    ensure!(
        answer.status == 200 && !answer.text().contains("errorDetail"),
        "Docker answered {} to the image {reference}: {}",
        answer.status,
        answer.text()
    );
    Ok(image.config.digest)
}

/// The layer that all images share: the program, and the directories that tests mount over.
fn base_layer(program: &[u8]) -> Blob {
    let tar = Tar::default()
        .directory("data/", 0o777)
        .directory("tmp/", 0o777)
        .file("shopd", 0o755, program)
        .finish();
    Blob::new(LAYER, tar)
}

/// Bytes that do not compress, always the same for a seed (xorshift).
fn noise(seed: &str, count: usize) -> Vec<u8> {
    let start = digest(&SHA256, seed.as_bytes());
    let mut state = start.as_ref()[..8]
        .iter()
        .fold(1_u64, |state, &byte| (state << 8) | u64::from(byte));
    let mut content = Vec::with_capacity(count + 8);
    while content.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend(state.to_le_bytes());
    }
    content.truncate(count);
    content
}

/// The machine's architecture in Docker's words.
fn machine_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
