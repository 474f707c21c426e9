//! `cutover status`: what runs, at a glance, and one service in full.

use anstyle::Style;
use cutover_api::deployment::Deployment;
use cutover_api::service::{Member, Running, Service};
use jiff::Timestamp;

use crate::render::Audience;
use crate::render::deployment::fields;
use crate::render::style::{ACTIVE, BAD, BOLD, FAINT, PLAIN, WARNING, paint};
use crate::render::table::{Cell, Need, Table};
use crate::render::text::{clean, short_tag, tag};
use crate::render::time::Clock;
use crate::render::words;

/// All services, a line each.
pub(crate) fn table(services: &[Service], audience: Audience, clock: &Clock) -> String {
    if services.is_empty() {
        return "no service is configured\n".to_owned();
    }
    let mut table = Table::new(&[
        ("SERVICE", Need::Always),
        ("RUNS", Need::Always),
        ("CONDITION", Need::Always),
        ("SINCE", Need::WhereItFits),
        ("LAST DEPLOYMENT", Need::Always),
        ("NOTE", Need::Always),
    ]);
    for service in services {
        let running = service.running.as_ref();
        let (note, note_style) = note(service);
        table.row(vec![
            Cell::new(clean(&service.name), BOLD),
            Cell::new(
                running.map_or_else(String::new, |it| runs(it, audience)),
                PLAIN,
            ),
            condition(service),
            Cell::new(
                running.map_or_else(String::new, |it| since(it, clock)),
                FAINT,
            ),
            last(service.last.as_ref(), clock),
            Cell::new(note, note_style),
        ]);
    }
    table.render(audience)
}

/// One service, a line for each thing that is known of it.
pub(crate) fn full(service: &Service, audience: Audience, clock: &Clock) -> String {
    let mut lines: Vec<(&str, String)> = vec![("service", paint(BOLD, clean(&service.name)))];
    match &service.running {
        Some(running) => {
            let condition = clean(&running.condition);
            let painted = paint(words::condition_style(&condition), condition);
            let since = match running.started_at {
                Some(_) => format!(", started {}", since(running, clock)),
                None => String::new(),
            };
            lines.push(("runs", audience.text(&running.image)));
            let restarts = match running.restarts {
                0 => String::new(),
                1 => ", restarted once by Docker".to_owned(),
                times => format!(", restarted {times} times by Docker"),
            };
            lines.push(("condition", format!("{painted}{since}{restarts}")));
            lines.push((
                "container",
                format!(
                    "{} {}",
                    clean(&running.name),
                    paint(FAINT, audience.text(&running.container))
                ),
            ));
        }
        None => lines.push(("runs", paint(BAD, nothing_runs(service, audience)))),
    }
    if service.services.len() > 1 {
        for (place, one) in service.services.iter().enumerate() {
            let label = if place == 0 { "its services" } else { "" };
            lines.push((label, member(one, audience, clock)));
        }
    }
    lines.push(("deployments", accepted(service, clock)));
    if let Some(why) = &service.needs_operator {
        lines.push(("needs an operator", paint(BAD, audience.text(why))));
    }
    let deployments = [
        ("under way", &service.current),
        ("waiting", &service.waiting),
        ("last", &service.last),
    ];
    for (name, deployment) in deployments {
        if let Some(deployment) = deployment {
            lines.push((name, one_line(deployment, audience, clock)));
        }
    }
    fields(&lines, 0, audience.columns())
}

/// One Compose service of the release, in a line.
fn member(member: &Member, audience: Audience, clock: &Clock) -> String {
    let name = clean(&member.service);
    let Some(container) = &member.container else {
        return format!("{name} {}", paint(BAD, "no container"));
    };
    let condition = clean(&container.condition);
    let painted = paint(words::condition_style(&condition), &condition);
    let since = match container.started_at {
        Some(_) if condition != "stopped" => format!(", started {}", since(container, clock)),
        _ => String::new(),
    };
    format!("{name} {} {painted}{since}", runs(container, audience))
}

/// Why no container is shown that runs.
fn nothing_runs(service: &Service, audience: Audience) -> String {
    match (&service.running_unknown, &service.stopped) {
        (Some(why), _) => format!("not known: {}", clean(why)),
        (None, Some(stopped)) => format!(
            "nothing; the container {} of {} is stopped",
            clean(&stopped.name),
            audience.text(&stopped.image)
        ),
        (None, None) => "no container".to_owned(),
    }
}

/// Whose deployments are accepted.
fn accepted(service: &Service, clock: &Clock) -> String {
    match &service.paused {
        Some(paused) => format!(
            "{} since {}{}",
            paint(WARNING, "paused"),
            clock.when(paused.since),
            paused
                .why
                .as_deref()
                .map_or_else(String::new, |why| format!(": {}", clean(why)))
        ),
        None if service.needs_operator.is_some() => format!(
            "{} if signed, until `cutover resume {}`; accepted from an operator",
            paint(WARNING, "refused"),
            clean(&service.name)
        ),
        None => "accepted".to_owned(),
    }
}

/// What runs: the tag, in short for a person.
fn runs(running: &Running, audience: Audience) -> String {
    let tag = tag(&running.image);
    match audience {
        Audience::Person { .. } => short_tag(tag),
        Audience::Pipe => clean(tag),
    }
}

/// The container's condition.
fn condition(service: &Service) -> Cell {
    match &service.running {
        Some(running) => {
            let condition = clean(&running.condition);
            let style = words::condition_style(&condition);
            Cell::new(condition, style)
        }
        None if service.running_unknown.is_some() => Cell::new("not known", BAD),
        None if service.stopped.is_some() => Cell::new("stopped", BAD),
        None => Cell::new("no container", BAD),
    }
}

/// When the container was started; Docker's own words where they are no moment.
fn since(running: &Running, clock: &Clock) -> String {
    let Some(started) = running.started_at.as_deref() else {
        return String::new();
    };
    match started.parse::<Timestamp>() {
        Ok(moment) => clock.when(moment),
        Err(_) => clean(started),
    }
}

/// How the last deployment ended and when.
fn last(deployment: Option<&Deployment>, clock: &Clock) -> Cell {
    match deployment {
        Some(deployment) => {
            let ended = deployment.finished_at.unwrap_or(deployment.started_at);
            let outcome = words::status(deployment.status);
            Cell::new(
                format!("{outcome} {}", clock.when(ended)),
                words::style(deployment.status),
            )
        }
        None => Cell::new("none", FAINT),
    }
}

/// What is special about a service, the worst first.
fn note(service: &Service) -> (String, Style) {
    let mut notes = Vec::new();
    let mut style = PLAIN;
    if let Some(waiting) = &service.waiting {
        notes.push(format!("{} waits", short_tag(&waiting.image_sha)));
    }
    if let Some(current) = &service.current {
        style = ACTIVE;
        notes.push(format!(
            "deploying {}: {}",
            short_tag(&current.image_sha),
            words::status(current.status)
        ));
    }
    if let Some(paused) = &service.paused {
        style = WARNING;
        notes.push(match &paused.why {
            Some(why) => format!("paused: {}", clean(why)),
            None => "paused".to_owned(),
        });
    }
    for member in other_members(service) {
        let condition = member.container.as_ref().map(|one| one.condition.as_str());
        let condition = clean(condition.unwrap_or("no container"));
        if !matches!(condition.as_str(), "healthy" | "running") {
            style = BAD;
            notes.push(format!("{}: {condition}", clean(&member.service)));
        }
    }
    if let Some(why) = &service.running_unknown {
        style = BAD;
        notes.push(clean(why));
    }
    if let Some(why) = &service.needs_operator {
        style = BAD;
        notes.push(format!("needs an operator: {}", clean(why)));
    }
    notes.reverse();
    (notes.join("; "), style)
}

/// The Compose services of the release but the one whose container is shown.
fn other_members(service: &Service) -> impl Iterator<Item = &Member> {
    let shown = service.running.as_ref().or(service.stopped.as_ref());
    let shown = shown.map(|container| &container.container);
    let members = service
        .services
        .iter()
        .filter(|_| service.services.len() > 1);
    members.filter(move |member| {
        let own = member.container.as_ref().map(|one| &one.container);
        own.is_none() || own != shown
    })
}

/// A deployment in one line.
fn one_line(deployment: &Deployment, audience: Audience, clock: &Clock) -> String {
    let style = words::style(deployment.status);
    format!(
        "{} {} {} {}",
        audience.text(&deployment.image_sha),
        paint(style, words::status(deployment.status)),
        clock.when(deployment.finished_at.unwrap_or(deployment.started_at)),
        paint(FAINT, clean(&deployment.id)),
    )
}
