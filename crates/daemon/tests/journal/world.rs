//! What the tests of the journal are made of: a state directory, and short ways to name things.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{
    Deployment, Event, Failure, IfUnchanged, Request, UnixMillis, WayBack,
};
use cutover_core::names::{DeliveryId, DeploymentId, ServiceName, Tag};
use cutover_daemon::journal::{Created, Journal, JournalError, Opened};
use tempfile::TempDir;

/// Set in a test that was started by another one, to the directory that it shall work in.
const CHILD: &str = "CUTOVER_TEST_CHILD_DIRECTORY";

/// A bound on closing a journal: a few waits for the disk.
const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// A state directory of its own.
pub(crate) fn state_directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Opens a journal that must be as it was left.
#[track_caller]
pub(crate) fn reopened(opened: Result<(Journal, Opened), JournalError>) -> Journal {
    let (journal, found) = opened.expect("opens");
    assert_eq!(found, Opened::Fine);
    journal
}

/// A new journal in `directory`.
pub(crate) async fn new_journal(directory: &Path) -> Journal {
    let (journal, opened) = Journal::open(directory).await.expect("opens");
    assert_eq!(opened, Opened::New);
    journal
}

/// Waits until `is_so`, within the time that closing a journal may take.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < CLOSE_DEADLINE,
            "not within the bound: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Closes the journal and waits until its log is folded into its file.
pub(crate) async fn closed(journal: Journal, directory: &Path) {
    drop(journal);
    let log = directory.join("journal.sqlite-wal");
    eventually("the journal is closed", || !log.exists()).await;
}

pub(crate) fn journal_file(directory: &Path) -> PathBuf {
    directory.join("journal.sqlite")
}

pub(crate) fn id(number: u32) -> DeploymentId {
    DeploymentId::new(&format!("01938f3e-7c1a-7abc-8def-0000{number:08x}")).expect("a UUID")
}

pub(crate) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a service")
}

pub(crate) fn delivery(name: &str) -> DeliveryId {
    DeliveryId::new(name).expect("a delivery id")
}

/// A request for a release of `app`.
pub(crate) fn request() -> Request {
    Request {
        service: service("app"),
        tag: Tag::new(&"a1".repeat(20)).expect("a tag"),
        digest: None,
        actor: "ci".to_owned(),
        delivery_id: None,
        fingerprint: "f00d".to_owned(),
        rollback_to: None,
        way_back: WayBack::Needed,
        if_unchanged: IfUnchanged::default(),
    }
}

pub(crate) fn failure(code: Code, step: Step) -> Failure {
    Failure {
        cause: Cause::new(code, step, "it did not answer"),
        log: vec!["listening".to_owned(), "panicked: \"no\"".to_owned()],
    }
}

pub(crate) fn pull_started() -> Event {
    Event::PullStarted {
        reference: "ghcr.io/acme/shop:a1".to_owned(),
    }
}

pub(crate) fn verify_started() -> Event {
    Event::VerifyStarted {
        checks: "health check of the image".to_owned(),
    }
}

pub(crate) fn warned() -> Event {
    Event::Warned {
        what: "the env file could not be written".to_owned(),
    }
}

/// The shortest run of each kind, without its request.
pub(crate) fn up_to_the_stage() -> Vec<Event> {
    vec![
        pull_started(),
        Event::StageStarted {
            old: vec![],
            tag_line: None,
        },
    ]
}

pub(crate) fn up_to_the_switch() -> Vec<Event> {
    [up_to_the_stage(), vec![Event::SwitchStarted]].concat()
}

pub(crate) fn up_to_the_commit() -> Vec<Event> {
    [
        up_to_the_switch(),
        vec![
            verify_started(),
            Event::Committed {
                proof: None,
                proofs: std::collections::BTreeMap::new(),
            },
        ],
    ]
    .concat()
}

pub(crate) fn up_to_success() -> Vec<Event> {
    [up_to_the_commit(), vec![Event::Succeeded]].concat()
}

pub(crate) fn failed() -> Event {
    Event::Failed(failure(Code::ImageNotFound, Step::Pull))
}

/// Records `request` and `events`, event number n at millisecond `began` + n, and returns what the fold
/// of them is.
pub(crate) async fn recorded(
    journal: &Journal,
    id: &DeploymentId,
    request: Request,
    events: &[Event],
    began: i64,
) -> Deployment {
    let created = journal.create(id, &request, UnixMillis(began)).await;
    let mut deployment = match created.expect("recorded") {
        Created::New(deployment) => deployment,
        Created::KnownDelivery { deployment } => panic!("known: {deployment:?}"),
    };
    for event in events {
        add(journal, &mut deployment, event)
            .await
            .expect("recorded");
    }
    deployment
}

/// Records the next event of `deployment` and folds it in.
pub(crate) async fn add(
    journal: &Journal,
    deployment: &mut Deployment,
    event: &Event,
) -> Result<(), JournalError> {
    let seq = deployment.events + 1;
    let passed = i64::try_from(deployment.events).expect("few");
    let at = UnixMillis(deployment.started_at.0 + passed);
    journal.record(&deployment.id, seq, event, at).await?;
    deployment.apply(event, at).expect("legal");
    Ok(())
}

/// Asserts that the journal holds `deployment`, exactly so.
#[track_caller]
pub(crate) fn assert_holds(
    found: Result<Option<Deployment>, JournalError>,
    deployment: &Deployment,
) {
    assert_eq!(found.expect("read").as_ref(), Some(deployment));
}

/// In a test that was started by another one: the directory to work in.
pub(crate) fn child_directory() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// A command whose arguments are completed to start the test `name` of this program in `directory`.
pub(crate) fn child(mut command: Command, name: &str, directory: &Path) -> Command {
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, directory);
    command
}

pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program")
}

/// Runs the test `name` of this program once more, in a mount namespace of its own; returns its directory within that
/// run. `None` means that it ran there and held.
pub(crate) fn in_a_mount_namespace(name: &str) -> Option<PathBuf> {
    if let Some(directory) = child_directory() {
        return Some(directory);
    }
    let directory = state_directory();
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.arg(this_program());
    let outcome = child(unshare, name, directory.path())
        .output()
        .expect("unshare is there");
    assert!(
        outcome.status.success(),
        "on a disk of its own (which needs the right to mount in a namespace of its own): {}{}",
        String::from_utf8_lossy(&outcome.stdout),
        String::from_utf8_lossy(&outcome.stderr)
    );
    let ran = String::from_utf8_lossy(&outcome.stdout).contains("1 passed");
    assert!(ran, "no such test: {name}");
    None
}
