//! The acts: what is typed, and what is promised.

use anyhow::Result;

use super::act::{Act, Container, Ending, Sender};
use super::stage::Stage;

/// A release of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The first one.
    First,
    /// A better one.
    Good,
    /// Runs, answers, and says of itself that it is not healthy.
    NeverHealthy,
    /// Exits before it serves anything.
    ExitsAtOnce,
    /// Its web server is fine, its worker exits.
    WorkerFails,
    /// Was never built.
    Missing,
}

impl Release {
    /// Those that are in the registry.
    pub(crate) const PUSHED: [Self; 5] = [
        Self::First,
        Self::Good,
        Self::NeverHealthy,
        Self::ExitsAtOnce,
        Self::WorkerFails,
    ];

    /// The commit that it is tagged with.
    pub(crate) fn sha(self) -> &'static str {
        match self {
            Self::First => "1f0c2ad4e95b7386d2c41b0aa5f96e7783c1d250",
            Self::Good => "2b7e94c60d1fa8353e6c9b02d7481faa5590c3e1",
            Self::NeverHealthy => "3d51fb08c7e2a94610bd3c85e9f7a2640e8b17c9",
            Self::ExitsAtOnce => "4ac83d9be0571f62c4d92ab7318e65f0d77c0b34",
            Self::WorkerFails => "6f0b7c12e95d84a3f7218ce04b9d65fa1e3308c7",
            Self::Missing => "5e96d0a1b38c74f2e5106cbd29a7f843cc01d9e6",
        }
    }

    /// What it answers to visitors.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::First => "shop 1.0",
            Self::Good => "shop 1.1",
            Self::NeverHealthy => "shop 1.2",
            Self::ExitsAtOnce => "shop 1.3",
            Self::WorkerFails => "shop 1.5",
            Self::Missing => "shop 1.4",
        }
    }

    /// The variable that makes the example service misbehave.
    pub(crate) fn misfortune(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::First | Self::Good | Self::Missing => None,
            Self::NeverHealthy => Some(("NEVER_HEALTHY", "1")),
            Self::ExitsAtOnce => Some(("EXIT_AT_ONCE", "3")),
            Self::WorkerFails => Some(("WORKER_EXIT_AT_ONCE", "3")),
        }
    }
}

/// The delivery id that is used twice.
const REPEATED: &str = "ci-run-104";

/// Plays all acts, also after one that broke its promise.
///
/// # Errors
/// If an act cannot be played at all.
pub(crate) fn play(stage: &mut Stage<'_>) -> Result<()> {
    first_half(stage)?;
    second_half(stage)
}

fn first_half(stage: &mut Stage<'_>) -> Result<()> {
    stage.play(&Act {
        title: "first deployment",
        happens: "Nothing of the shop runs. CI has pushed its first image and asks for it: a web server, its worker and a migration.",
        promise: "success means that the migration ended well, and that this very image runs, is healthy and answers.",
        sender: Sender::Ci(Release::First, "ci-run-101"),
        exit: 0,
        ending: Ending::Deployment("succeeded"),
        container: Container::New,
        worker: Container::New,
        serves: Release::First,
        says: &["(healthy for", "the job migrate ended with code 0"],
    })?;
    stage.play(&Act {
        title: "a good release",
        happens: "The next commit, while a prober asks the published port a thousand times a second.",
        promise: "the new release runs; no visitor's request fails: those that come between the old one's stop and the new one's health wait.",
        sender: Sender::Ci(Release::Good, "ci-run-102"),
        exit: 0,
        ending: Ending::Deployment("succeeded"),
        container: Container::New,
        worker: Container::New,
        serves: Release::Good,
        says: &["(healthy for"],
    })?;
    stage.play(&Act {
        title: "a release that never becomes healthy",
        happens: "It starts and even answers, but its health check fails and goes on failing.",
        promise: "the previous container, the very same one, is started again; exit code 3.",
        sender: Sender::Ci(Release::NeverHealthy, "ci-run-103"),
        exit: 3,
        ending: Ending::Deployment("rolled_back"),
        container: Container::SameStartedAgain,
        worker: Container::Untouched,
        serves: Release::Good,
        says: &["rolled back", "again (healthy for"],
    })?;
    stage.play(&Act {
        title: "a release that exits at once",
        happens: "It cannot reach its database and gives up.",
        promise: "rolled back without waiting for any deadline, and its last words are shown.",
        sender: Sender::Ci(Release::ExitsAtOnce, REPEATED),
        exit: 3,
        ending: Ending::Deployment("rolled_back"),
        container: Container::SameStartedAgain,
        worker: Container::Untouched,
        serves: Release::Good,
        says: &["rolled back", "fatal: cannot connect to the database"],
    })?;
    stage.play(&Act {
        title: "a release whose worker fails",
        happens: "The new web server is healthy and serves already when the new worker gives up.",
        promise: "all or nothing: web server and worker are the very same containers again.",
        sender: Sender::Ci(Release::WorkerFails, "ci-run-107"),
        exit: 3,
        ending: Ending::Deployment("rolled_back"),
        container: Container::SameStartedAgain,
        worker: Container::SameStartedAgain,
        serves: Release::Good,
        says: &["rolled back", "service `worker`: "],
    })
}

fn second_half(stage: &mut Stage<'_>) -> Result<()> {
    stage.play(&Act {
        title: "a sha that does not exist",
        happens: "Somebody deploys a commit for which no image was pushed.",
        promise: "nothing is stopped; no request fails, the container does not notice.",
        sender: Sender::Ci(Release::Missing, "ci-run-105"),
        exit: 1,
        ending: Ending::Deployment("failed"),
        container: Container::Untouched,
        worker: Container::Untouched,
        serves: Release::Good,
        says: &["image_not_found"],
    })?;
    stage.play(&Act {
        title: "a wrong signature",
        happens: "Somebody who does not know the secret asks for the first release.",
        promise: "401, no deployment is recorded, nothing is touched.",
        sender: Sender::Forger(Release::First, "ci-run-106"),
        exit: 1,
        ending: Ending::Refused(401),
        container: Container::Untouched,
        worker: Container::Untouched,
        serves: Release::Good,
        says: &["401"],
    })?;
    stage.play(&Act {
        title: "a repeat of a finished request",
        happens: "CI never saw the answer to the release that exits at once, and sends its request again.",
        promise: "the same answer from the record, marked as such; the release is not tried again.",
        sender: Sender::Ci(Release::ExitsAtOnce, REPEATED),
        exit: 3,
        ending: Ending::Replayed(500),
        container: Container::Untouched,
        worker: Container::Untouched,
        serves: Release::Good,
        says: &["nothing is deployed twice", "rolled back"],
    })?;
    stage.shop().stop_registry()?;
    stage.play(&Act {
        title: "rollback by hand",
        happens: "Release 1.1 turns out to be wrong, and the registry is down (the demo has just ended it).",
        promise: "the release before it runs again, from the image that is still on the machine.",
        sender: Sender::Operator,
        exit: 0,
        ending: Ending::Deployment("succeeded"),
        container: Container::New,
        worker: Container::New,
        serves: Release::First,
        says: &["(healthy for"],
    })?;
    stage.shop().restart_registry()
}
