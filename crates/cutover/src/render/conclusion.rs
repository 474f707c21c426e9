//! How a deployment ended, in a few lines: what happened, what was changed, what to do next.

use anstyle::Style;
use cutover_api::deployment::{Deployment, Outcome};

use crate::render::deployment::fields;
use crate::render::style::{BAD, BOLD, GOOD, WARNING, paint};
use crate::render::text::{clean, clean_lines, hang, quoted, readable};
use crate::render::time::span;
use crate::render::words;

/// So many of the container's last lines stand under the cause; `cutover logs` has them all.
const LAST_LINES: usize = 20;

/// The end of a deployment as a block of lines, wrapped at `columns`.
pub(crate) fn conclusion(deployment: &Deployment, columns: Option<usize>) -> String {
    let mut lines = vec![("changed", changed(deployment))];
    if deployment.rollback_to.is_some() && deployment.outcome == Some(Outcome::Succeeded) {
        let service = clean(&deployment.service);
        let back = format!("a second `cutover rollback {service}` returns to what ran before");
        lines.push(("next", back));
    }
    if let Some(cause) = failure_of(deployment) {
        lines.push(("next", clean(&cause.hint)));
        lines.push(("code", clean(&cause.code)));
    }
    if let Some(outage) = deployment.outage_ms.filter(|_| !deployment.nothing_changed) {
        lines.push(("outage", span(outage)));
    }
    if let Some(held) = words::held(deployment) {
        lines.push(("held", held));
    }
    if let Some(duration) = deployment.duration_ms {
        lines.push(("took", span(duration)));
    }
    lines.push(("deployment", clean(&deployment.id)));
    let (word, style) = verdict(deployment);
    let first = format!("{}: {}", paint(style, word), headline(deployment));
    let mut text = hang(&first, 0, 2, columns) + "\n";
    for line in last_lines(deployment, LAST_LINES) {
        for line in quoted(&line, "  | ", columns) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text + &fields(&lines, 2, columns)
}

/// The last `count` lines that the container that failed has written, harmless each.
pub(crate) fn last_lines(deployment: &Deployment, count: usize) -> Vec<String> {
    let lines: Vec<String> = (deployment.log.iter())
        .flat_map(|line| clean_lines(line))
        .collect();
    let (all, first) = (lines.len(), lines.len().saturating_sub(count));
    let left_out = (first > 0).then(|| format!("… ({first} of {all} lines left out)"));
    left_out
        .into_iter()
        .chain(lines.into_iter().skip(first))
        .collect()
}

/// The word for the end and how it looks.
pub(crate) fn verdict(deployment: &Deployment) -> (&'static str, Style) {
    match deployment.outcome {
        Some(Outcome::Succeeded) => ("succeeded", GOOD),
        Some(Outcome::Unchanged) => ("unchanged", GOOD),
        Some(Outcome::Failed) => ("failed", BAD),
        Some(Outcome::RolledBack) => ("rolled back", WARNING),
        Some(Outcome::RollbackFailed) if was_the_first(deployment) => ("failed", BAD),
        Some(Outcome::RollbackFailed) => ("needs an operator", BAD),
        Some(Outcome::Cancelled) => ("cancelled", WARNING),
        None => (words::status(deployment.status), BOLD),
    }
}

/// What happened, in one sentence.
pub(crate) fn headline(deployment: &Deployment) -> String {
    let service = clean(&deployment.service);
    let image = readable(words::image(deployment));
    match deployment.outcome {
        Some(Outcome::Succeeded) => format!("{service} runs {image}{}", seen(deployment)),
        Some(Outcome::Unchanged) => format!("{service} already ran {image}{}", seen(deployment)),
        _ => match &deployment.cause {
            Some(cause) => readable(&cause.detail),
            None => format!("the deployment of {image} to {service}"),
        },
    }
}

/// What was changed and what runs now.
pub(crate) fn changed(deployment: &Deployment) -> String {
    let service = clean(&deployment.service);
    let previous = deployment.previous.as_ref();
    let before = previous.map(|previous| readable(&previous.image));
    let not_in_order = previous.filter(|previous| !previous.verified_after_rollback());
    match (deployment.outcome, before) {
        (Some(Outcome::Succeeded), Some(before)) => format!("{service} ran {before} before"),
        (Some(Outcome::Succeeded), None) => format!("{service} did not run before"),
        (Some(Outcome::RolledBack), Some(before)) if let Some(previous) = not_in_order => format!(
            "the container of {before} is back as it was found, which is {}",
            clean(&previous.condition)
        ),
        (Some(Outcome::RolledBack), Some(before)) => {
            format!("{service} runs {before} again{}", seen(deployment))
        }
        (Some(Outcome::RolledBack), None) => {
            format!(
                "{service} runs its previous release again{}",
                seen(deployment)
            )
        }
        (Some(Outcome::RollbackFailed), _) if was_the_first(deployment) => {
            format!("{service} does not run; this was its first deployment")
        }
        (Some(Outcome::RollbackFailed), _) => match deployment.events.last() {
            // The last event of such a deployment says what runs now, after the cause, which is the headline.
            Some(last) => {
                let cause = deployment.cause.as_ref().map(|cause| &cause.detail);
                let rest = cause.and_then(|cause| last.message.strip_prefix(cause.as_str()));
                readable(rest.map_or(&last.message, |rest| rest.trim_start_matches("; ")))
            }
            None => format!("rolling back failed too; what runs: `cutover status {service}`"),
        },
        (Some(Outcome::Unchanged | Outcome::Failed | Outcome::Cancelled) | None, before)
            if deployment.nothing_changed =>
        {
            match (before, not_in_order) {
                (Some(before), Some(previous)) => format!(
                    "nothing: {service} is still {}, with {before}",
                    clean(&previous.condition)
                ),
                (Some(before), None) => format!("nothing: {service} still runs {before}"),
                (None, _) => "nothing".to_owned(),
            }
        }
        (_, _) => format!(
            "containers were stopped or started; see `cutover show {}`",
            deployment.id
        ),
    }
}

/// What was seen of what runs now, as the end of a sentence.
fn seen(deployment: &Deployment) -> String {
    let proof = deployment.proof.as_deref();
    proof.map_or_else(String::new, |proof| format!(" ({})", clean(proof)))
}

/// Whether there was nothing to go back to. Then no operator is needed: the next release is the remedy.
pub(crate) fn was_the_first(deployment: &Deployment) -> bool {
    let cause = deployment.cause.as_ref();
    cause.is_some_and(|cause| cause.code == "no_rollback_target")
}

/// Why it did not succeed.
pub(crate) fn failure_of(deployment: &Deployment) -> Option<&cutover_api::deployment::Cause> {
    match deployment.outcome {
        Some(Outcome::Succeeded | Outcome::Unchanged) => None,
        _ => deployment.cause.as_ref(),
    }
}
