//! Compares what happened in an act with what was promised.

use std::time::Duration;

use cutover_testkit::prober::Observations;
use serde_json::Value;

use super::act::{Act, Container, Ending};
use super::docker::Identity;
use super::screen::{Row, span};
use super::shop::{NEIGHBOR, WORKER};

/// Everything that an act must or must not change.
#[derive(Debug)]
pub(crate) struct Sight {
    /// The container that is deployed.
    pub(crate) shop: Option<Identity>,
    /// That of the worker, which is released with it.
    pub(crate) worker: Option<Identity>,
    /// The container beside it.
    pub(crate) neighbor: Option<Identity>,
    /// cutover's record, newest first.
    pub(crate) deployments: Vec<Value>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code.
    pub(crate) exit: i32,
    /// What it printed to stdout and stderr.
    pub(crate) text: String,
}

/// An answer to `POST /deploy`.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Whether it says that it comes from the record.
    pub(crate) is_replayed: bool,
    /// The problem's code.
    pub(crate) code: String,
    /// The deployment in it.
    pub(crate) deployment: Value,
}

/// Compares what was promised with what was observed.
pub(crate) fn compare(
    act: &Act,
    before: &Sight,
    after: &Sight,
    ended: &Ended,
    raw: Option<&Answer>,
    serves: &str,
) -> Row {
    let added = after.deployments.len() - before.deployments.len().min(after.deployments.len());
    let newest = || after.deployments.first().map(|newest| &newest["outcome"]);
    let outcome = match (added, raw) {
        (0, Some(answer)) if answer.is_replayed => format!("{} replayed", answer.status),
        (0, Some(answer)) => answer.status.to_string(),
        (0, None) => "no deployment".to_owned(),
        (1, _) => newest()
            .and_then(Value::as_str)
            .unwrap_or("unfinished")
            .replace('_', " "),
        (more, _) => format!("{more} deployments"),
    };
    let promised = match act.ending {
        Ending::Deployment(outcome) => outcome.replace('_', " "),
        Ending::Refused(status) => status.to_string(),
        Ending::Replayed(status) => format!("{status} replayed"),
    };
    let container = Container::between(before.shop.as_ref(), after.shop.as_ref());
    let line =
        |outcome: &str, container: &str, serves: &str| format!("{outcome}, {container}, {serves}");
    let mut row = Row {
        title: act.title,
        promised: line(&promised, act.container.words(), act.serves.version()),
        observed: line(
            &outcome,
            container.map_or("no container", Container::words),
            serves,
        ),
        visitors: None,
        took: Duration::ZERO,
        broken: Vec::new(),
    };
    if row.promised != row.observed {
        let broken = format!("promised: {}; observed: {}", row.promised, row.observed);
        row.broken.push(broken);
    }
    if ended.exit != act.exit {
        let broken = format!("exit code {} instead of {}", ended.exit, act.exit);
        row.broken.push(broken);
    }
    if let (Ending::Replayed(_), Some(answer)) = (act.ending, raw)
        && !before
            .deployments
            .iter()
            .any(|known| known["id"] == answer.deployment["id"])
    {
        row.broken
            .push("the answer is about another deployment".to_owned());
    }
    for words in act
        .says
        .iter()
        .filter(|words| !ended.text.contains(**words))
    {
        row.broken
            .push(format!("the client does not say {words:?}"));
    }
    let worker = Container::between(before.worker.as_ref(), after.worker.as_ref());
    if worker != Some(act.worker) {
        let words = worker.map_or("no container", Container::words);
        row.broken.push(format!("the service {WORKER}: {words}"));
    }
    if before.neighbor != after.neighbor || after.neighbor.is_none() {
        row.broken
            .push(format!("the service {NEIGHBOR} beside it was touched"));
    }
    row
}

/// No request may fail, unless cutover said that it cannot hold any and had to stop a container; the last one must be
/// answered.
pub(crate) fn judge_prober(act: &Act, seen: &Observations, ended: &Ended, row: &mut Row) {
    let failed = seen.failures().len();
    let is_held = !ended.text.contains("cannot be held");
    if (is_held || act.container == Container::Untouched) && failed > 0 {
        row.broken
            .push(format!("{failed} requests to the shop failed"));
    }
    let ends_well = seen
        .attempts()
        .last()
        .is_some_and(|last| last.outcome.as_deref() == Ok(act.serves.version()));
    if !ends_well {
        row.broken.push(format!(
            "the prober's last request was not answered by {}",
            act.serves.version()
        ));
    }
}

/// What the prober saw, in one line.
pub(crate) fn probed(seen: &Observations) -> String {
    let requests = seen.attempts().len();
    let versions = seen.versions().join(" -> ");
    let longest = span(seen.longest_wait());
    match seen.failures().len() {
        0 => format!("{requests} requests, none failed, the longest took {longest}: {versions}"),
        failed => {
            format!("{requests} requests, {failed} failed, the longest took {longest}: {versions}")
        }
    }
}
