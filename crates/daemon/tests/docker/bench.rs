//! Containers and images of one test, removed when it ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cutover_core::names::ServiceName;
use cutover_daemon::docker::Docker;
use cutover_daemon::settings::Service;
use cutover_testkit::engine::command::output_of;
use cutover_testkit::images::{self, ImageSpec};

/// The longest that a test waits for something that takes well under a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static BENCHES: AtomicU32 = AtomicU32::new(0);

/// What a test makes, under a name of its own.
pub(crate) struct Bench {
    /// The client under test.
    pub(crate) docker: Docker,
    /// A name that no other test uses.
    pub(crate) name: String,
    socket: PathBuf,
}

impl Bench {
    /// In the Docker that the tests share.
    pub(crate) fn new() -> Self {
        Self::at(&cutover_testkit::world().socket())
    }

    /// In the Docker behind this socket.
    pub(crate) fn at(socket: &Path) -> Self {
        let number = BENCHES.fetch_add(1, Ordering::Relaxed);
        Self {
            docker: Docker::new(socket),
            name: format!("bench-{}-{number}", std::process::id()),
            socket: socket.to_owned(),
        }
    }

    /// Runs Docker's own client and returns what it prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments)
            .unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }

    /// As [`Self::cli`], with the error if it fails.
    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = cutover_testkit::world().packages.command("docker");
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .args(arguments);
        output_of(&mut command)
            .map(|text| text.trim().to_owned())
            .map_err(|error| format!("{error:#}"))
    }

    /// Puts an image on the machine and returns its reference.
    pub(crate) fn image(&self, spec: &ImageSpec) -> String {
        let number = BENCHES.fetch_add(1, Ordering::Relaxed);
        let reference = format!("{}:{number}", self.name);
        // A content of its own: an image that has it in common with another's has one id with it.
        let spec = spec.clone().label("reference", &reference);
        self.load(&reference, &spec);
        reference
    }

    /// Puts an image on the machine under this reference.
    pub(crate) fn load(&self, reference: &str, spec: &ImageSpec) {
        images::load(&self.socket, reference, spec).expect("loaded");
    }

    /// Creates a container of `image` with more options of `docker create`, and returns its id.
    pub(crate) fn create(&self, image: &str, options: &[&str]) -> String {
        let label = format!("bench={}", self.name);
        let mut arguments = vec!["create", "--label", &label];
        arguments.extend(options);
        arguments.push(image);
        self.cli(&arguments)
    }

    /// An image and a container of it in one.
    pub(crate) fn container(&self, spec: &ImageSpec, options: &[&str]) -> String {
        let image = self.image(spec);
        self.create(&image, options)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let label = format!("label=bench={}", self.name);
        // Images by their references: images of the same content have one id, and removing that takes
        // them from the tests beside this one.
        let named = ["images", "--format", "{{.Repository}}:{{.Tag}}", &self.name];
        for (list, remove) in [
            (&["ps", "-aq", "--filter", &label][..], ["rm", "-fv"]),
            (&named[..], ["rmi", "-f"]),
        ] {
            let found = self.try_cli(list).unwrap_or_default();
            for name in found.lines() {
                let _ = self.try_cli(&[remove[0], remove[1], name]);
            }
        }
    }
}

/// The settings of a service with nothing but defaults.
pub(crate) fn service() -> Service {
    let name = ServiceName::new("app").expect("a name");
    Service {
        monitor: Some(Duration::ZERO),
        ..Service::new(name, vec![PathBuf::from("/nonexistent/compose.yaml")])
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually<C: AsyncFn() -> bool>(
    what: &'static str,
    condition: C,
) -> impl Future<Output = ()> {
    let location = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{location}: {what} did not happen");
    }
}

#[test]
fn a_test_that_ends_removes_only_what_it_made() {
    let (ended, beside) = (Bench::new(), Bench::new());
    let same = ImageSpec::new("the same");
    let [gone, kept] = [&ended, &beside].map(|bench| {
        let reference = format!("{}:same", bench.name);
        bench.load(&reference, &same);
        reference
    });
    drop(ended);
    assert!(beside.try_cli(&["image", "inspect", &gone]).is_err());
    beside.create(&kept, &[]);
}
