//! The releases that are deployed, and the Compose file that they are deployed with.

use crate::engine::packages::ComposeVersion;
use crate::images::ImageSpec;
use crate::scene::Scene;

/// How the release that is asked for behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// It serves.
    Good,
    /// It exits at once.
    Exits,
    /// It runs and is never healthy.
    NeverHealthy,
}

impl Behavior {
    /// Every behavior.
    pub const ALL: [Self; 3] = [Self::Good, Self::Exits, Self::NeverHealthy];
}

/// One release: what it is asked for by, and what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The image's tag.
    pub tag: String,
    /// What it answers at `/version`.
    pub version: &'static str,
}

/// The releases of a scene.
#[derive(Debug, Clone)]
pub struct Releases {
    one: Release,
    two: Release,
    exits: Release,
    never_healthy: Release,
}

impl Releases {
    /// Pushes the image of each. Of several services, the last is the one that exits at once.
    pub fn push(scene: &mut Scene, members: Members) -> Self {
        let exits = match members {
            Members::One | Members::Replicas => "EXIT_AT_ONCE",
            Members::Several => "WORKER_EXIT_AT_ONCE",
        };
        let mut push = |version: &'static str, spec: ImageSpec| Release {
            tag: scene.push(&spec),
            version,
        };
        Self {
            one: push("one", ImageSpec::new("one")),
            two: push("two", ImageSpec::new("two")),
            exits: push("exits", ImageSpec::new("exits").env(exits, "1")),
            never_healthy: push("sick", ImageSpec::new("sick").env("NEVER_HEALTHY", "1")),
        }
    }

    /// The good release that is deployed first.
    #[must_use]
    pub fn first(&self) -> &Release {
        &self.one
    }

    /// A release of this behavior which is not `present`.
    #[must_use]
    pub fn other(&self, behavior: Behavior, present: &Release) -> &Release {
        match behavior {
            Behavior::Good if *present == self.one => &self.two,
            Behavior::Good => &self.one,
            Behavior::Exits => &self.exits,
            Behavior::NeverHealthy => &self.never_healthy,
        }
    }

    /// The good release with this tag.
    #[must_use]
    pub fn good(&self, tag: &str) -> Option<&Release> {
        [&self.one, &self.two]
            .into_iter()
            .find(|release| release.tag == tag)
    }
}

/// What a release of several services has besides.
const WAITS: &str = "    depends_on: {migrate: {condition: service_completed_successfully}}\n    environment: {ROLE: app}\n";
const WORKS: &str = "    depends_on: [app]\n    environment: {ROLE: worker}\n";
const JOB: &str = "  migrate:\n    image: {image}\n    environment: {ROLE: migrate, MIGRATE_EXIT_AT_ONCE: \"0\"}\n";

/// A restart policy, as a Compose file has it and as Docker calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// `unless-stopped`
    UnlessStopped,
    /// `always`
    Always,
    /// `on-failure`
    OnFailure,
    /// `no`
    No,
}

impl Policy {
    /// Each as often as it is met.
    pub const USUAL: [Self; 6] = [
        Self::UnlessStopped,
        Self::UnlessStopped,
        Self::UnlessStopped,
        Self::Always,
        Self::OnFailure,
        Self::No,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnlessStopped => "unless-stopped",
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::No => "no",
        }
    }
}

/// How the service is reached. Without a published port, two containers of it can run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// On a port of the host.
    Published,
    /// On its own address only.
    Inside,
}

/// How many services a release has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// One.
    One,
    /// A job, and two services that wait for it, of which the second is switched when the first is proven.
    Several,
    /// One with two replicas, of which the second is switched when the first is proven.
    Replicas,
}

impl Members {
    /// The services and the numbers of the containers that are switched, in their order.
    #[must_use]
    pub fn all(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::One => &[("app", 1)],
            Self::Several => &[("app", 1), ("worker", 1)],
            Self::Replicas => &[("app", 1), ("app", 2)],
        }
    }
}

/// The service as it is deployed. A sweep keeps to one, random rounds change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many services there are.
    pub members: Members,
    /// Its restart policy.
    pub policy: Policy,
    /// How it is reached.
    pub door: Door,
    /// The Compose that it is deployed with.
    pub version: ComposeVersion,
}

impl Shape {
    /// What most services look like.
    pub const USUAL: Self = Self {
        members: Members::One,
        policy: Policy::UnlessStopped,
        door: Door::Published,
        version: ComposeVersion::Newest,
    };

    /// A release of several services.
    pub const SEVERAL: Self = Self {
        members: Members::Several,
        ..Self::USUAL
    };

    /// A service with several replicas.
    pub const REPLICAS: Self = Self {
        members: Members::Replicas,
        door: Door::Inside,
        ..Self::USUAL
    };

    /// The same with this Compose.
    #[must_use]
    pub fn with_compose(self, version: ComposeVersion) -> Self {
        Self { version, ..self }
    }

    /// The Compose file, for [`Scene::write_compose`].
    #[must_use]
    pub fn compose(self) -> String {
        let ports = match self.door {
            Door::Published => "    ports: [\"127.0.0.1:{port}:8080\"]\n",
            Door::Inside => "",
        };
        let service = format!(
            "    image: {{image}}\n    restart: \"{}\"\n    stop_grace_period: 1s\n",
            self.policy.as_str()
        );
        let app = format!("name: {{project}}\nservices:\n  app:\n{service}{ports}");
        match self.members {
            Members::One => app,
            Members::Replicas => format!("{app}    scale: 2\n"),
            Members::Several => format!("{app}{WAITS}  worker:\n{service}{WORKS}{JOB}"),
        }
    }
}
