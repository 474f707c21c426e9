//! The Markdown of GitHub's job summary, in which nothing from the daemon can act as Markdown.

use std::fmt::Write;

use cutover_api::deployment::{Deployment, Outcome};

use crate::client::failure::Failure;
use crate::render::conclusion::{changed, failure_of, headline, last_lines, was_the_first};
use crate::render::text::{clean, clean_lines, short_shas};
use crate::render::time::span;
use crate::render::words;

/// GitHub drops a step's summary over 1 MiB; the end of the log is what explains a failure.
const LOG_LEN_MAX: usize = 64 << 10;

/// So many of the container's last lines stand under the cause; if there are more, all of them are folded away below.
const LAST_LINES: usize = 30;

/// So many of the last events are listed.
const EVENTS_MAX: usize = 200;

/// How a deployment ended.
pub(crate) fn of_deployment(deployment: &Deployment) -> String {
    let outcome = match deployment.outcome {
        _ if was_the_first(deployment) => words::outcome(Outcome::Failed),
        Some(outcome) => words::outcome(outcome),
        None => words::status(deployment.status),
    };
    let mut text = format!(
        "### {} {}: {outcome}\n\n{}\n\n",
        sign(deployment),
        inert(&deployment.service),
        inert(&headline(deployment))
    );
    if !deployment.log.is_empty() {
        text.push_str(&fenced(&last_lines(deployment, LAST_LINES)));
        text.push('\n');
    }
    let rows = [
        ("Image", Some(code(&short_shas(words::image(deployment))))),
        ("Digest", deployment.digest.as_deref().map(code)),
        ("Changed", Some(inert(&changed(deployment)))),
        (
            "Next",
            failure_of(deployment).map(|cause| inert(&cause.hint)),
        ),
        (
            "Cause",
            failure_of(deployment).map(|cause| code(&cause.code)),
        ),
        ("Outage", deployment.outage_ms.map(span)),
        ("Held", words::held(deployment)),
        ("Took", deployment.duration_ms.map(span)),
        ("Deployment", Some(code(&deployment.id))),
    ];
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(text, "| {name} | {value} |").ok();
        }
    }
    text.push_str(&events(deployment));
    if deployment.log.iter().flat_map(|line| line.lines()).count() > LAST_LINES {
        text.push_str("\n<details><summary>The new container's last output</summary>\n\n");
        text.push_str(&fenced(&deployment.log));
        text.push_str("\n</details>\n");
    }
    text.push('\n');
    text
}

/// What happened, folded away.
fn events(deployment: &Deployment) -> String {
    if deployment.events.is_empty() {
        return String::new();
    }
    let mut text = "\n<details><summary>What happened</summary>\n\n\
        | time | step | event |\n|---|---|---|\n"
        .to_owned();
    let first = deployment.events.len().saturating_sub(EVENTS_MAX);
    if first > 0 {
        text.push_str("| … | | |\n");
    }
    for event in &deployment.events[first..] {
        let message = inert(&short_shas(&event.message));
        let step = words::step(event.status);
        writeln!(text, "| {:.0} | {step} | {message} |", event.at).ok();
    }
    text + "\n</details>\n"
}

/// Why nothing is known of a deployment.
pub(crate) fn of_failure(service: &str, failure: &Failure) -> String {
    let sign = match failure {
        Failure::Lost { .. } | Failure::Interrupted { .. } => "❓",
        _ => "❌",
    };
    let mut text = format!(
        "### {sign} {}: {}\n\n",
        inert(service),
        inert(&failure.to_string())
    );
    if !failure.hint().is_empty() {
        writeln!(text, "**Next:** {}\n", inert(failure.hint())).ok();
    }
    text
}

/// A sign that is seen from afar.
fn sign(deployment: &Deployment) -> &'static str {
    match deployment.outcome {
        Some(Outcome::Succeeded | Outcome::Unchanged) => "✅",
        Some(Outcome::RolledBack) => "↩️",
        Some(Outcome::RollbackFailed) if !was_the_first(deployment) => "🚨",
        Some(Outcome::RollbackFailed | Outcome::Failed | Outcome::Cancelled) | None => "❌",
    }
}

/// Text as a reader sees it, with every character that means something to Markdown or HTML as an entity.
fn inert(text: &str) -> String {
    let mut inert = String::with_capacity(text.len());
    for c in clean(text).chars() {
        if c.is_ascii_punctuation() && !matches!(c, '.' | ',' | '-' | '/' | ':' | ';' | '%') {
            write!(inert, "&#{};", u32::from(c)).ok();
        } else {
            inert.push(c);
        }
    }
    inert
}

/// Text in the font of code.
fn code(text: &str) -> String {
    format!("<code>{}</code>", inert(text))
}

/// Lines in a code block whose fence is longer than any run of back-ticks inside.
fn fenced(lines: &[String]) -> String {
    let mut kept = Vec::new();
    let mut length = 0;
    for line in lines.iter().rev().flat_map(|line| {
        let mut parts = clean_lines(line);
        parts.reverse();
        parts
    }) {
        length += line.len() + 1;
        if length > LOG_LEN_MAX {
            kept.push("… (earlier lines left out)".to_owned());
            break;
        }
        kept.push(line);
    }
    kept.reverse();
    let body = kept.join("\n");
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}text\n{body}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_is_longer_than_any_run_of_back_ticks() {
        let log = [
            "a ``` b".to_owned(),
            "`````".to_owned(),
            "\u{1b}[1m``\u{1b}[0m```````".to_owned(),
        ];
        let block = fenced(&log);
        let fence = "`".repeat(10);
        assert_eq!(
            block,
            format!("{fence}text\na ``` b\n`````\n`````````\n{fence}\n")
        );
        assert!(fenced(&["x".to_owned()]).starts_with("```text\n"));
    }

    #[test]
    fn a_long_log_keeps_its_end() {
        let log: Vec<String> = (0..5000)
            .map(|i| format!("line {i} {}", "x".repeat(50)))
            .collect();
        let block = fenced(&log);
        assert!(block.len() < LOG_LEN_MAX + 200);
        assert!(block.contains("earlier lines left out"));
        assert!(block.contains("line 4999 "));
    }

    #[test]
    fn markdown_and_html_are_inert() {
        assert_eq!(
            inert("a|b `c` <img> [x](y) *z*"),
            "a&#124;b &#96;c&#96; &#60;img&#62; &#91;x&#93;&#40;y&#41; &#42;z&#42;"
        );
    }
}
