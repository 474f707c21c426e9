//! Where cutover's time goes, by its own record of a deployment.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::report::{Report, Table};
use super::statistics::{Summary, millis};

/// The steps of one deployment: what was recorded at the end of each, and how long it took.
pub(super) type Steps = Vec<(String, Duration)>;

/// The deployment in an answer, wherever it stands.
pub(super) fn deployment_in(answer: &Value) -> &Value {
    if answer["deployment"].is_object() {
        &answer["deployment"]
    } else {
        answer
    }
}

/// When a deployment recorded each of its events: the kind, and the moment, exact to a millisecond.
pub(super) fn events(deployment: &Value) -> Result<Vec<(String, SystemTime)>> {
    let lines = deployment["events"]
        .as_array()
        .context("the answer holds no events")?;
    lines
        .iter()
        .map(|line| {
            let kind = line["kind"].as_str().context("an event without a kind")?;
            let at: Timestamp = line["at"]
                .as_str()
                .context("an event without a time")?
                .parse()?;
            Ok((kind.to_owned(), SystemTime::from(at)))
        })
        .collect()
}

/// The steps from the request to the answer.
pub(super) fn steps_between(
    asked: SystemTime,
    deployment: &Value,
    answered: SystemTime,
) -> Result<Steps> {
    let mut before = asked;
    let mut steps = Vec::new();
    let answer = ("(answered)".to_owned(), answered);
    for (kind, at) in events(deployment)?.into_iter().chain([answer]) {
        steps.push((kind, at.duration_since(before).unwrap_or_default()));
        before = at;
    }
    Ok(steps)
}

/// Prints the median of each step over several deployments of the same course.
pub(super) fn print_steps(deployments: &[Steps], report: &mut Report) {
    let Some(first) = deployments.first() else {
        return;
    };
    let mut table = Table::new(&[
        "recorded by cutover, ms after the line above",
        "median",
        "min",
        "max",
    ]);
    for (position, (kind, _)) in first.iter().enumerate() {
        let values = deployments
            .iter()
            .filter_map(|steps| steps.get(position))
            .filter(|(other, _)| other == kind)
            .map(|(_, took)| millis(*took));
        if let Some(summary) = Summary::of(values) {
            let cells = [summary.median, summary.min, summary.max].map(|ms| format!("{ms:.1}"));
            table.row(kind, cells.to_vec());
        }
    }
    report.say(&table.to_string());
}
