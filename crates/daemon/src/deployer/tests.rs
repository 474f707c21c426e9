//! What can be known of the deployer without Docker: who waits is told, also when the daemon stops.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use cutover_core::deployment::{
    Event, IfUnchanged, PinnedImage, Replica, Request, UnixMillis, WayBack,
};
use cutover_core::names::{DeliveryId, Tag};
use tempfile::TempDir;

use super::*;
use crate::docker::Docker;
use crate::driver::ComposeDriver;
use crate::driver::command::Compose;

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A deployer whose Docker and Compose are never asked.
pub(crate) struct Bare {
    pub(crate) settings: Settings,
    pub(crate) journal: Journal,
    pub(crate) deployer: Deployer,
    pub(crate) directory: TempDir,
}

impl Bare {
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("compose.yaml"), "services: {}\n").expect("writes");
        std::fs::write(at("docker-compose"), "").expect("writes");
        let program = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(at("docker-compose"), program).expect("a mode");
        let text = format!(
            "[docker]\nsocket = {:?}\ncompose = {:?}\nconfig_directory = {:?}\n[services.shop]\ncompose_files = [{:?}]\n",
            at("none.sock"),
            at("docker-compose"),
            directory.path(),
            at("compose.yaml"),
        );
        std::fs::write(at("cutover.toml"), text).expect("writes");
        let settings = settings::load(&at("cutover.toml")).expect("valid");
        let (journal, _) = Journal::open(directory.path()).await.expect("a journal");
        let compose = Compose::find(&settings.docker).expect("a program");
        let docker = Docker::new(&settings.docker.socket);
        let driver = ComposeDriver::new(docker, compose, directory.path()).expect("a driver");
        let driver = Driver::Compose(driver);
        let deployer = Deployer::new(&settings, driver, journal.clone());
        Self {
            settings,
            journal,
            deployer,
            directory,
        }
    }

    /// A deployment of `shop` as it is when it was accepted.
    pub(crate) async fn accepted(&self, delivery: &str) -> Deployment {
        let request = Request {
            service: ServiceName::new("shop").expect("a name"),
            tag: Tag::new(&"a".repeat(40)).expect("a tag"),
            digest: None,
            actor: "ci".to_owned(),
            delivery_id: Some(DeliveryId::new(delivery).expect("an id")),
            fingerprint: "f".to_owned(),
            rollback_to: None,
            way_back: WayBack::Needed,
            if_unchanged: IfUnchanged::default(),
        };
        let id = DeploymentId::new(&uuid::Uuid::now_v7().to_string()).expect("an id");
        let created = self.journal.create(&id, &request, UnixMillis(1000)).await;
        match created.expect("creates") {
            crate::journal::Created::New(deployment) => deployment,
            other => panic!("{other:?}"),
        }
    }

    /// What `event` makes of a deployment, in memory only.
    pub(crate) fn apply(&self, deployment: &mut Deployment, event: Event) {
        deployment.apply(&event, UnixMillis(2000)).expect("legal");
    }

    /// What a run of an accepted deployment works with.
    async fn run(&self, delivery: &str) -> Run {
        let deployment = self.accepted(delivery).await;
        let service = self.deployer.configured(&deployment.request.service);
        self.deployer
            .run_of(deployment, service.expect("configured"))
    }

    /// Lets every attempt to read or write what was recorded fail from now on.
    pub(crate) fn hide_events(&self) {
        self.execute("ALTER TABLE events RENAME TO hidden_events");
    }

    /// Lets it succeed again.
    pub(crate) fn show_events(&self) {
        self.execute("ALTER TABLE hidden_events RENAME TO events");
    }

    fn execute(&self, query: &str) {
        let path = self.directory.path().join("journal.sqlite");
        let connection = rusqlite::Connection::open(path).expect("opens");
        connection.execute_batch(query).expect("executes");
    }
}

/// From the acceptance until the new container runs and is watched.
pub(crate) fn until_switched() -> Vec<Event> {
    let reference = "ghcr.io/acme/shop:a".to_owned();
    vec![
        Event::PullStarted {
            reference: reference.clone(),
        },
        Event::ImagePinned(PinnedImage {
            reference,
            digest: None,
            id: "sha256:i".to_owned(),
        }),
        Event::StageStarted {
            old: vec![],
            tag_line: None,
        },
        Event::Staged {
            jobs: Vec::new(),
            new: vec![Replica {
                container: "bbbb".to_owned(),
                name: "shop-1".to_owned(),
                ..Replica::default()
            }],
        },
        Event::SwitchStarted,
        Event::Switched {
            service: String::new(),
            outage_ms: 0,
        },
        Event::VerifyStarted {
            checks: "it runs".to_owned(),
        },
    ]
}

/// The commit point.
pub(crate) fn committed() -> Vec<Event> {
    vec![Event::Committed {
        proof: None,
        proofs: std::collections::BTreeMap::new(),
    }]
}

#[tokio::test]
async fn whoever_waits_is_told_when_the_daemon_does_not_wait_any_more() {
    let bare = Bare::new().await;
    let deployment = bare.accepted("1-1").await;
    let service = bare.deployer.configured(&deployment.request.service);
    let _run = bare
        .deployer
        .run_of(deployment.clone(), service.expect("configured"));
    // A deployment that does not come to its end.
    bare.deployer.inner.runs.spawn(std::future::pending::<()>());
    let waiting = tokio::spawn({
        let (deployer, id) = (bare.deployer.clone(), deployment.id.clone());
        async move { deployer.ended(&id).await }
    });
    bare.deployer.shut_down(Duration::from_millis(1)).await;
    let told = tokio::time::timeout(PATIENCE, waiting).await;
    let told = told.expect("in time").expect("no panic").expect("read");
    assert_eq!((told.id, told.finished_at), (deployment.id, None));
}

#[tokio::test]
async fn a_deployment_that_the_next_start_goes_on_with_is_not_counted_as_ended() {
    let bare = Bare::new().await;
    let mut endings = bare.deployer.endings();
    let mut run = bare.run("1-1").await;
    for event in until_switched().into_iter().chain(committed()) {
        run.record.anyway(event).await;
    }
    bare.deployer.finish(&mut run).await;
    assert!(endings.try_recv().is_err());
    run.record.anyway(Event::Succeeded).await;
    bare.deployer.finish(&mut run).await;
    let ended = endings.try_recv().expect("counted");
    assert_eq!(ended.id, run.record.deployment().id);
}

#[tokio::test]
async fn an_end_that_cannot_be_recorded_is_told_at_once_and_recorded_when_that_can_be_done() {
    let bare = Bare::new().await;
    let mut run = bare.run("1-1").await;
    let id = run.record.deployment().id.clone();
    bare.hide_events();
    let why = "a test".to_owned();
    run.record.anyway(Event::Cancelled { why }).await;
    let deployer = bare.deployer.clone();
    let finished = tokio::spawn(async move { deployer.finish(&mut run).await });
    let told = tokio::time::timeout(PATIENCE, bare.deployer.ended(&id)).await;
    let told = told.expect("in time").expect("told");
    assert_eq!(told.status(), Status::Cancelled);
    assert!(!finished.is_finished(), "nothing else may begin");
    let unrecorded = bare.deployer.ended_unrecorded(&id);
    assert_eq!(
        unrecorded.map(|ended| ended.status()),
        Some(Status::Cancelled)
    );
    bare.show_events();
    let recorded = tokio::time::timeout(PATIENCE, finished).await;
    recorded.expect("in time").expect("no panic");
    let found = bare.journal.deployment(&id).await.expect("read");
    assert_eq!(found.map(|found| found.status()), Some(Status::Cancelled));
    assert!(bare.deployer.ended_unrecorded(&id).is_none());
}

/// Who watches reads the journal when told, so being told before the write is seeing the event with the next one.
#[tokio::test]
async fn an_event_is_told_after_it_was_written() {
    let bare = Bare::new().await;
    let mut run = bare.run("1-1").await;
    let mut told = run.record.live().subscribe();
    let why = "a test".to_owned();
    let recorded = run.record.anyway(Event::Cancelled { why });
    let mut recorded = std::pin::pin!(recorded);
    let first = futures_util::poll!(recorded.as_mut());
    assert!(first.is_pending(), "another thread writes to the disk");
    assert!(told.try_recv().is_err(), "it is not written yet");
    recorded.await;
    assert!(told.try_recv().is_ok());
}

#[tokio::test]
async fn a_deployment_that_has_its_end_is_not_under_way() {
    let bare = Bare::new().await;
    let mut run = bare.run("1-1").await;
    let id = run.record.deployment().id.clone();
    let service = ServiceName::new("shop").expect("a name");
    let turn = bare.deployer.turn(&service).expect("configured");
    turn.lock().await.current = Some(id.clone());
    let now = bare.deployer.service(&service).await.expect("a view");
    assert_eq!(now.current.map(|current| current.id), Some(id.clone()));
    let why = "a test".to_owned();
    run.record.anyway(Event::Cancelled { why }).await;
    let now = bare.deployer.service(&service).await.expect("a view");
    assert!(now.current.is_none(), "only its clean-up goes on");
    assert_eq!(now.last.map(|last| last.id), Some(id));
}
