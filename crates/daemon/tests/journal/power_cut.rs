//! A power cut loses what was not synced, and nothing that was acknowledged.
//!
//! The disk is the tests' own ([`cutover_testkit::disk`]). What uses it is a process of its own, which tells what it
//! found and what was acknowledged; what has to be there is kept here, where no power goes.
//!
//! To see it fail, set `synchronous` to `NORMAL` or `OFF` in `journal/opening.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cutover_core::deployment::{Deployment, Event, Request, UnixMillis};
use cutover_daemon::journal::{Journal, JournalError, Opened};
use cutover_testkit::disk::{Dice, Disk, Mounted, Survives};
use rustix::fs::{FlockOperation, flock};

use crate::sample::runs;
use crate::world::*;

/// How often the power goes.
const ROUNDS: u64 = 100;

/// So many deployments are recorded in a round that keeps its power: the log is folded into the file every few rounds
/// while the journal is open, and in each round that comes to its end.
const DEPLOYMENTS: u32 = 20;

/// Set for the process that loses its disk, to how many deployments it shall record.
const COUNT: &str = "CUTOVER_TEST_DEPLOYMENTS";

/// A journal that is there is opened with about so many changes. In a quarter of the rounds the power goes within them.
const CHANGES_OPENING: u64 = 8;

/// The first start is cut at every third change: all of them take a minute. It is odd, so that both kinds of loss come
/// in turn.
const STRIDE: u64 = 3;

/// When deployment 0 began; the others began a minute after each other.
const BEGAN: i64 = 1_790_000_000_000;

/// Request and events of deployment number `number`.
fn script(number: u32) -> (Request, Vec<Event>) {
    let mut runs = runs();
    let (mut request, events) = runs.swap_remove(number as usize % runs.len());
    request.delivery_id = Some(delivery(&format!("github:{number}")));
    (request, events)
}

fn began(number: u32) -> i64 {
    BEGAN + i64::from(number) * 60_000
}

/// What deployment number `number` is after its first `count` events.
fn fold(number: u32, count: u64) -> Deployment {
    let (request, events) = script(number);
    let mut fold = Deployment::requested(id(number), request, UnixMillis(began(number)));
    for (passed, event) in (1..count).zip(&events) {
        let at = began(number) + i64::try_from(passed).expect("few");
        fold.apply(event, UnixMillis(at)).expect("legal");
    }
    fold
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").expect("heard");
    out.flush().expect("heard");
}

/// Not a test of its own: the process that loses its disk. It opens the journal, tells what it holds, records and
/// tells what was acknowledged, and closes it.
#[tokio::test]
async fn records_until_the_power_goes() {
    let Some(directory) = child_directory() else {
        return;
    };
    let count: u32 = std::env::var(COUNT)
        .expect("set")
        .parse()
        .expect("a number");
    let (journal, opened) = match Journal::open(&directory).await {
        Ok(opened) => opened,
        Err(error) => return tell(&format!("refused {error}")),
    };
    tell(match opened {
        Opened::New => "opened new",
        Opened::Fine => "opened fine",
        Opened::Replaced { .. } => "opened damaged",
    });
    assert_ballast_is_whole(&directory);
    let mut held = journal.page(None, None, u32::MAX).await.expect("read");
    held.reverse();
    let first = u32::try_from(held.len()).expect("few");
    for (number, found) in (0..).zip(held) {
        assert_eq!(found, fold(number, found.events), "it is misread");
        tell(&format!("holds {number} {}", found.events));
    }
    tell("holds no more");
    for number in first..first + count {
        if let Err(error) = record(&journal, number).await {
            return tell(&format!("refused {error}"));
        }
    }
    drop(journal);
    let lock = File::open(directory.join("lock")).expect("the lock");
    eventually("the journal is closed", || {
        flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
    .await;
    tell("closed");
}

async fn record(journal: &Journal, number: u32) -> Result<(), JournalError> {
    let (request, events) = script(number);
    let at = UnixMillis(began(number));
    journal.create(&id(number), &request, at).await?;
    tell(&format!("acknowledged {number} 1"));
    let mut deployment = Deployment::requested(id(number), request, at);
    for event in &events {
        add(journal, &mut deployment, event).await?;
        tell(&format!("acknowledged {number} {}", deployment.events));
    }
    Ok(())
}

/// A ballast with the right length and without its bytes would not keep room for anything.
fn assert_ballast_is_whole(directory: &Path) {
    // A disk that fails just now has none.
    if let Ok(bytes) = fs::read(directory.join("ballast")) {
        let is_hole = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
        let holes = bytes.chunks(512).filter(|sector| is_hole(sector)).count();
        assert_eq!(holes, 0, "holes in the ballast");
    }
}

/// What a round was doing when the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Opening,
    Recording,
    Closing,
    Afterwards,
}

/// What the journal has to hold.
#[derive(Debug, Default)]
struct Ledger {
    /// Whether it was open once. Until then it need not be there.
    is_begun: bool,
    /// Of each deployment, how many events were acknowledged.
    acknowledged: Vec<u64>,
}

impl Ledger {
    /// Lets a process work on `disk` until it is done or the power goes, and compares what it tells with what was
    /// acknowledged before.
    fn round(&mut self, disk: &Mounted, deployments: u32) -> Moment {
        let name = "power_cut::records_until_the_power_goes";
        let mut process = child(Command::new(this_program()), name, disk.path())
            .env(COUNT, deployments.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut moment = Moment::Opening;
        let mut held = Vec::new();
        for line in lines {
            let line = line.expect("read");
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["opened", how] => {
                    let may_be_new = !self.is_begun;
                    assert!(how == "fine" || (how == "new" && may_be_new), "{line}");
                    self.is_begun = true;
                }
                ["holds", "no", "more"] => {
                    self.check(std::mem::take(&mut held));
                    moment = Moment::Recording;
                }
                ["holds", _, events] => held.push(events.parse().expect("a number")),
                ["acknowledged", number, events] => self.note(number, events),
                ["closed"] => moment = Moment::Closing,
                _ => {}
            }
        }
        let ended = process.wait_with_output().expect("ends");
        if disk.has_power() {
            let told = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(moment, Moment::Closing, "it gave up with power on: {told}");
            moment = Moment::Afterwards;
        }
        moment
    }

    /// Asserts that what is held is what was acknowledged, or that and the one record that the power cut
    /// interrupted. The next round starts from what is held.
    fn check(&mut self, held: Vec<u64>) {
        let acknowledged = &self.acknowledged;
        let is_whole = held.len() >= acknowledged.len()
            && acknowledged
                .iter()
                .zip(&held)
                .all(|(acknowledged, held)| held >= acknowledged);
        let count = |events: &[u64]| events.iter().sum::<u64>();
        assert!(
            is_whole,
            "a record is gone: {acknowledged:?} were acknowledged, and there is {held:?}"
        );
        let interrupted = count(&held) - count(acknowledged);
        assert!(interrupted <= 1, "{interrupted} came from nowhere");
        self.acknowledged = held;
    }

    fn note(&mut self, number: &str, events: &str) {
        let number: usize = number.parse().expect("a number");
        let events = events.parse().expect("a number");
        match self.acknowledged.get_mut(number) {
            Some(last) => *last = events,
            None => self.acknowledged.push(events),
        }
    }
}

/// What the power cut leaves is nothing at all in one round, and something in the next.
fn survives(round: u64, dice: Dice) -> Survives {
    match round % 2 {
        0 => Survives::Nothing,
        _ => Survives::Some(dice),
    }
}

#[test]
fn every_acknowledged_record_survives_a_power_cut() {
    let name = "power_cut::every_acknowledged_record_survives_a_power_cut";
    if in_a_mount_namespace(name).is_none() {
        return;
    }
    let mut ledger = Ledger::default();
    let mounted = Disk::default().mount().expect("mounted");
    assert_eq!(ledger.round(&mounted, DEPLOYMENTS), Moment::Afterwards);
    let changes = mounted.changes();
    let mut disk = mounted.power_cut(Survives::Nothing);
    let mut moments = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut dice = Dice::new(round);
        let mounted = disk.mount().expect("mounted");
        let bound = if round % 8 < 2 {
            CHANGES_OPENING
        } else {
            changes
        };
        mounted.cut_power_after(dice.below(bound));
        *moments
            .entry(ledger.round(&mounted, DEPLOYMENTS))
            .or_insert(0) += 1;
        disk = mounted.power_cut(survives(round, dice));
    }
    let mounted = disk.mount().expect("mounted");
    assert_eq!(ledger.round(&mounted, DEPLOYMENTS), Moment::Afterwards);
    for moment in [Moment::Opening, Moment::Recording] {
        assert!(
            moments.contains_key(&moment),
            "never in {moment:?}: {moments:?}"
        );
    }
}

#[test]
fn a_power_cut_in_the_first_start_leaves_what_the_next_one_can_use() {
    let name = "power_cut::a_power_cut_in_the_first_start_leaves_what_the_next_one_can_use";
    if in_a_mount_namespace(name).is_none() {
        return;
    }
    let mut changes = 0;
    let mut moment = Moment::Opening;
    while moment != Moment::Afterwards {
        let mut ledger = Ledger::default();
        let mounted = Disk::default().mount().expect("mounted");
        mounted.cut_power_after(changes);
        moment = ledger.round(&mounted, 1);
        let disk = mounted.power_cut(survives(changes, Dice::new(changes)));
        let mounted = disk.mount().expect("mounted");
        assert_eq!(ledger.round(&mounted, 1), Moment::Afterwards);
        changes += STRIDE;
    }
    assert!(changes > 40, "it made only {changes} changes");
}
