//! A daemon that is killed at any moment has lost nothing that it was told is recorded.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cutover_core::deployment::{Status, UnixMillis};
use cutover_core::names::DeploymentId;
use cutover_daemon::journal::Journal;

use crate::world::*;

/// Marks a line of the child that says what was recorded.
const ACKNOWLEDGED: &str = "acknowledged";

/// After so many records the child is killed, round after round on the same journal: within the first
/// deployment, between two, and long after the log was first folded into the file.
const KILL_AFTER: [usize; 8] = [1, 2, 5, 8, 13, 40, 150, 600];

/// Not a test of its own: the victim of the one below.
#[tokio::test]
async fn records_until_it_is_killed() {
    let Some(directory) = child_directory() else {
        return;
    };
    let (journal, _) = Journal::open(&directory).await.expect("opens");
    let first = journal
        .page(None, None, u32::MAX)
        .await
        .expect("read")
        .len();
    let first = u32::try_from(first).expect("few");
    let acknowledge = |id: &DeploymentId, seq: u64| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{ACKNOWLEDGED} {id} {seq}").expect("heard");
        out.flush().expect("heard");
    };
    for number in first.. {
        let mut deployment = recorded(&journal, &id(number), request(), &[], 1000).await;
        acknowledge(&deployment.id, 1);
        for event in up_to_success() {
            add(&journal, &mut deployment, &event)
                .await
                .expect("recorded");
            acknowledge(&deployment.id, deployment.events);
        }
    }
}

/// Runs the victim until it has acknowledged `records`, kills it, and returns the last number that it
/// acknowledged of each deployment.
fn killed_after(records: usize, directory: &Path) -> HashMap<DeploymentId, u64> {
    let victim = Command::new(this_program());
    let mut victim = child(victim, "kill::records_until_it_is_killed", directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(victim.stdout.take().expect("piped")).lines();
    let mut acknowledged = HashMap::new();
    let mut count = 0;
    // After the kill the pipe still holds what was acknowledged before it.
    while let Some(Ok(line)) = lines.next() {
        let words: Vec<_> = line.split(' ').collect();
        let [ACKNOWLEDGED, id, seq] = words[..] else {
            continue;
        };
        let (Ok(id), Ok(seq)) = (DeploymentId::new(id), seq.parse()) else {
            continue;
        };
        acknowledged.insert(id, seq);
        count += 1;
        if count == records {
            victim.kill().expect("killed");
        }
    }
    victim.wait().expect("ends");
    assert!(count >= records, "the victim ended by itself after {count}");
    acknowledged
}

#[tokio::test]
async fn every_acknowledged_record_survives_a_kill() {
    let directory = state_directory();
    let mut acknowledged = HashMap::new();
    for records in KILL_AFTER {
        let newest = killed_after(records, directory.path());
        acknowledged.extend(newest);
        let journal = reopened(Journal::open(directory.path()).await);
        let mut unacknowledged = 0;
        for deployment in journal.page(None, None, u32::MAX).await.expect("read") {
            let known = acknowledged.remove(&deployment.id).unwrap_or(0);
            assert!(deployment.events >= known, "{deployment:?} lost a record");
            unacknowledged += deployment.events - known;
            // The next round starts from what is there.
            acknowledged.insert(deployment.id, deployment.events);
        }
        assert!(unacknowledged <= 1, "{unacknowledged} came from nowhere");
        let present = journal.page(None, None, u32::MAX).await.expect("read");
        assert_eq!(acknowledged.len(), present.len(), "a deployment is gone");
        for mut deployment in journal.unfinished().await.expect("read") {
            let seq = deployment.events + 1;
            let recovery = cutover_core::deployment::Event::RecoveryStarted;
            let taken_up = journal
                .record(&deployment.id, seq, &recovery, UnixMillis(1))
                .await;
            taken_up.expect("goes on where it stopped");
            deployment.apply(&recovery, UnixMillis(1)).expect("legal");
            assert_ne!(deployment.status(), Status::Succeeded);
            acknowledged.insert(deployment.id, deployment.events);
        }
    }
}
