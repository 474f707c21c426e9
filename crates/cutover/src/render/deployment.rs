//! `cutover show`: one deployment in full.

use cutover_api::deployment::{Deployment, EventLine};

use crate::render::Audience;
use crate::render::style::{BOLD, FAINT, paint};
use crate::render::text::{clean, clean_lines, hang, quoted, width};
use crate::render::time::{Clock, span};
use crate::render::words;

/// Everything that is known of a deployment.
pub(crate) fn full(deployment: &Deployment, audience: Audience, clock: &Clock) -> String {
    let columns = audience.columns();
    let mut text = fields(&facts(deployment, audience, clock), 0, columns);
    if let Some(cause) = &deployment.cause {
        text.push_str(&heading("cause"));
        let lines = [
            ("what", audience.text(&cause.detail)),
            ("step", clean(&cause.step)),
            ("code", clean(&cause.code)),
            ("next", clean(&cause.hint)),
        ];
        text.push_str(&fields(&lines, 2, columns));
    }
    if !deployment.log.is_empty() {
        text.push_str(&heading("the new container's last output"));
        for line in deployment.log.iter().flat_map(|line| clean_lines(line)) {
            for line in quoted(&line, "  | ", columns) {
                text.push_str(&format!("{line}\n"));
            }
        }
    }
    if !deployment.events.is_empty() {
        text.push_str(&heading("events"));
        for event in &deployment.events {
            text.push_str(&format!("  {}\n", event_line(event, audience, clock)));
        }
    }
    text
}

/// An event in one line: when, in which step, what.
fn event_line(event: &EventLine, audience: Audience, clock: &Clock) -> String {
    let step = words::step(event.status);
    let line = format!(
        "{}  {}  ",
        paint(FAINT, clock.time(event.at)),
        paint(words::style(event.status), format!("{step:<9}")),
    );
    let indent = 2 + width(&line);
    let message = audience.text(&event.message);
    line + &hang(&message, indent, indent, audience.columns())
}

/// Names and values below each other, `indent` columns from the left and wrapped at `columns`.
pub(crate) fn fields(lines: &[(&str, String)], indent: usize, columns: Option<usize>) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let value_column = indent + width + 2;
    lines
        .iter()
        .map(|(name, value)| {
            let name = paint(FAINT, format!("{name:<width$}"));
            let value = hang(value, value_column, value_column, columns);
            format!("{:indent$}{name}  {value}\n", "")
        })
        .collect()
}

/// A heading over a part.
fn heading(text: &str) -> String {
    format!("\n{}\n", paint(BOLD, text))
}

/// The facts that stand before the events.
fn facts<'a>(
    deployment: &'a Deployment,
    audience: Audience,
    clock: &Clock,
) -> Vec<(&'a str, String)> {
    let status = paint(
        words::style(deployment.status),
        words::status(deployment.status),
    );
    let changed = match (deployment.nothing_changed, deployment.outcome) {
        (true, None) => "nothing so far",
        (true, Some(_)) => "nothing",
        (false, _) => "containers were stopped or started",
    };
    let mut facts = vec![
        ("deployment", paint(BOLD, clean(&deployment.id))),
        ("service", clean(&deployment.service)),
        ("tag", audience.text(&deployment.image_sha)),
        (
            if deployment.outcome.is_some() {
                "outcome"
            } else {
                "status"
            },
            status,
        ),
        ("changed", changed.to_owned()),
        ("started", clock.date(deployment.started_at)),
    ];
    let shown = |text: &str| audience.text(text);
    let optional = [
        (
            "ended",
            deployment.finished_at.map(|moment| clock.date(moment)),
        ),
        ("took", deployment.duration_ms.map(span)),
        ("outage", deployment.outage_ms.map(span)),
        ("held", words::held(deployment)),
        ("by", Some(clean(&deployment.actor))),
        ("delivery", deployment.delivery_id.as_deref().map(clean)),
        ("brings back", deployment.rollback_to.as_deref().map(clean)),
        ("image", deployment.image.as_deref().map(shown)),
        ("digest", deployment.digest.as_deref().map(shown)),
        ("image id", deployment.image_id.as_deref().map(shown)),
        ("container", deployment.container.as_deref().map(shown)),
        (
            "previous",
            deployment.previous.as_ref().map(|previous| {
                format!(
                    "{} ({})",
                    shown(&previous.image),
                    clean(&previous.condition)
                )
            }),
        ),
    ];
    facts.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    facts
}
