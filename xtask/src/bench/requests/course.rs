//! What came of the requests: how many failed and how long they waited, as a table, a file, a chart, and beside what is
//! promised.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Venue;
use super::contestant::Contestant;
use super::visitors::{Asked, Kind, Outcome};
use crate::bench::chart::{Bar, Chart, Whose};
use crate::bench::report::{Report, Table};
use crate::bench::statistics::{Summary, millis};
use crate::bench::target::Target;

/// The visitors of one deployment, from its beginning to that of the next.
#[derive(Debug)]
pub(super) struct Deployment {
    is_broken: bool,
    took: Duration,
    asked: Vec<Asked>,
}

/// One contestant's deployments.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) contestant: Contestant,
    pub(super) deployments: Vec<Deployment>,
    /// For how long visitors came.
    pub(super) visited: Duration,
}

impl Course {
    fn asked(&self, kind: Kind) -> impl Iterator<Item = &Asked> {
        let all = self.deployments.iter().flat_map(|one| &one.asked);
        all.filter(move |one| one.kind == kind)
    }

    fn count(&self, kind: Kind, counts: impl Fn(Outcome) -> bool) -> usize {
        self.asked(kind).filter(|one| counts(one.outcome)).count()
    }

    fn failed(&self, kind: Kind) -> usize {
        self.count(kind, |outcome| outcome != Outcome::Answered)
    }

    fn longest(&self, kind: Kind) -> f64 {
        self.asked(kind)
            .map(|one| millis(one.waited))
            .fold(0.0, f64::max)
    }

    /// Requests with a connection each that came in a second.
    fn rate(&self) -> f64 {
        self.asked(Kind::OneConnection).count() as f64 / self.visited.as_secs_f64()
    }
}

/// A deployment of an application that boots at once, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtOnce {
    /// As cutover's answer tells it.
    pub(super) outage: f64,
    /// The longest that a visitor waited.
    pub(super) longest: f64,
}

impl AtOnce {
    fn beyond_outage(&self) -> f64 {
        self.longest - self.outage
    }
}

/// Gives each request to the deployment that had begun last when it was due.
pub(super) fn assign(asked: &[Asked], times: &[(bool, Instant, Duration)]) -> Vec<Deployment> {
    let began = |number: usize| times.get(number).map(|(_, began, _)| *began);
    let of = |number: usize| {
        let is_of = move |one: &&Asked| {
            (number == 0 || began(number).is_none_or(|began| one.due >= began))
                && began(number + 1).is_none_or(|next| one.due < next)
        };
        asked.iter().filter(is_of).cloned().collect()
    };
    (0..times.len())
        .map(|number| Deployment {
            is_broken: times[number].0,
            took: times[number].2,
            asked: of(number),
        })
        .collect()
}

pub(super) fn csv(courses: &[Course]) -> String {
    let mut text = "contestant,deployment,release,took_ms,kind,sent,failed,failed_after_retry,longest_wait_ms\n".to_owned();
    for course in courses {
        for (number, deployment) in (1..).zip(&course.deployments) {
            for (name, kind) in [
                ("one_connection", Kind::OneConnection),
                ("keep_alive", Kind::KeepAlive),
            ] {
                let asked = || deployment.asked.iter().filter(|one| one.kind == kind);
                let count =
                    |counts: fn(Outcome) -> bool| asked().filter(|one| counts(one.outcome)).count();
                text += &format!(
                    "{},{number},{},{:.0},{name},{},{},{},{:.1}\n",
                    course.contestant.name(),
                    if deployment.is_broken {
                        "broken"
                    } else {
                        "good"
                    },
                    millis(deployment.took),
                    asked().count(),
                    count(|outcome| outcome != Outcome::Answered),
                    count(|outcome| outcome == Outcome::Failed),
                    asked().map(|one| millis(one.waited)).fold(0.0, f64::max),
                );
            }
        }
    }
    text
}

pub(super) fn print(courses: &[Course], at_once: &[AtOnce], report: &mut Report) -> Result<()> {
    let mut table = Table::new(&[
        "requests",
        "sent",
        "per second",
        "failed",
        "longest, ms",
        "keep-alive",
        "failed",
        "after retry",
        "longest, ms",
    ]);
    for course in courses {
        let (one, open) = (Kind::OneConnection, Kind::KeepAlive);
        let cells = vec![
            course.asked(one).count().to_string(),
            format!("{:.0}", course.rate()),
            course.failed(one).to_string(),
            format!("{:.0}", course.longest(one)),
            course.asked(open).count().to_string(),
            course.failed(open).to_string(),
            course
                .count(open, |outcome| outcome == Outcome::Failed)
                .to_string(),
            format!("{:.0}", course.longest(open)),
        ];
        table.row(course.contestant.title(), cells);
    }
    report.say(&table.to_string());
    let mut table = Table::new(&[
        "cutover, boots at once (milliseconds)",
        "median",
        "min",
        "max",
    ]);
    let mut row = |title: &str, value: fn(&AtOnce) -> f64| -> Result<()> {
        let of = Summary::of(at_once.iter().map(value)).context("nothing was measured")?;
        let cells = [of.median, of.min, of.max].map(|ms| format!("{ms:.0}"));
        table.row(title, cells.to_vec());
        Ok(())
    };
    row("outage", |one| one.outage)?;
    row("longest wait", |one| one.longest)?;
    row("longest wait - outage", AtOnce::beyond_outage)?;
    report.say(&table.to_string());
    Ok(())
}

pub(super) fn chart(courses: &[Course], venue: &Venue<'_>) -> Result<Chart> {
    let (crowd, deployments) = (venue.crowd, venue.deployments);
    let mut chart = Chart::new(
        &format!("Requests that fail in {deployments} deployments"),
        &format!(
            "the application boots for 2 s; every fourth release is broken; {} requests per second, {} keep-alive clients",
            crowd.rate, crowd.clients
        ),
    );
    let bars = |value: &dyn Fn(&Course) -> f64| {
        let bar = |course: &Course| {
            let whose = match course.contestant {
                Contestant::Cutover => Whose::Ours,
                _ => Whose::Others,
            };
            let exactly = Summary::of([value(course)]).context("one value")?;
            Ok(Bar::new(course.contestant.title(), exactly, whose))
        };
        courses.iter().map(bar).collect::<Result<Vec<_>>>()
    };
    chart.group(
        "Failed, of requests with a connection each",
        bars(&|course| course.failed(Kind::OneConnection) as f64)?,
    );
    chart.group(
        "Failed, of requests of clients that keep their connection open",
        bars(&|course| course.failed(Kind::KeepAlive) as f64)?,
    );
    chart.group(
        "The longest that a client waited, milliseconds",
        bars(&|course| course.longest(Kind::OneConnection))?,
    );
    Ok(chart)
}

pub(super) fn judge(courses: &[Course], at_once: &[AtOnce], report: &mut Report) -> Result<()> {
    let mut all = courses.iter();
    let ours = all.find(|course| course.contestant == Contestant::Cutover);
    let ours = ours.context("cutover did not run")?;
    report.judge(Target::at_most(
        "failed requests with a connection each",
        0.0,
        "",
        ours.failed(Kind::OneConnection) as f64,
    ));
    report.judge(Target::at_most(
        "failed keep-alive requests in 2,000",
        1.0,
        "",
        ours.failed(Kind::KeepAlive) as f64 / ours.asked(Kind::KeepAlive).count() as f64 * 2000.0,
    ));
    report.judge(Target::at_most(
        "failed keep-alive requests, sent once more",
        0.0,
        "",
        ours.count(Kind::KeepAlive, |outcome| outcome == Outcome::Failed) as f64,
    ));
    report.judge(Target::at_most(
        "longest wait - outage, boots at once",
        200.0,
        "ms",
        at_once
            .iter()
            .map(AtOnce::beyond_outage)
            .fold(f64::NAN, f64::max),
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_belongs_to_the_deployment_that_had_begun_last() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let asked = [1, 5, 9, 10, 30].map(|seconds| Asked {
            kind: Kind::OneConnection,
            due: at(seconds),
            waited: Duration::ZERO,
            outcome: Outcome::Answered,
        });
        let times = [
            (false, at(5), Duration::ZERO),
            (true, at(10), Duration::ZERO),
        ];
        let assigned = assign(&asked, &times);
        let counts: Vec<_> = assigned.iter().map(|one| one.asked.len()).collect();
        assert_eq!(counts, [3, 2]);
    }
}
