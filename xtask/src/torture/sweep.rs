//! Sweeps over every call, some points beside each other.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use cutover_testkit::torture::fault::Fault;
use cutover_testkit::torture::ground::Ground;
use cutover_testkit::torture::sweep::{Blow, Point, Scenario, Swept, recoveries};

use super::table::Table;
use super::{Arguments, conclude, details};

/// How often a worker may need a new ground in a row: then it is not the point's doing any more.
const FRESH_GROUNDS: u32 = 3;

/// What all workers share.
struct Shared<'a> {
    arguments: &'a Arguments,
    cutover: &'a str,
    /// What is left to do, last first.
    points: Mutex<Vec<Point>>,
    table: Mutex<Table>,
}

/// Sweeps; returns whether no point ended in a third state.
pub(super) fn play(arguments: &Arguments, cutover: &str) -> Result<ExitCode> {
    let began = Instant::now();
    let points = Ground::with(cutover, arguments.shape(), |ground| {
        points(arguments, ground)
    })??;
    println!("{} points", points.len());
    let shared = Shared {
        arguments,
        cutover,
        points: Mutex::new(points.into_iter().rev().collect()),
        table: Mutex::default(),
    };
    let worked = thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs)
            .map(|_| scope.spawn(|| shared.work()))
            .collect();
        let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ended.collect::<Vec<_>>()
    });
    let table = shared
        .table
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    println!("\n{} s", began.elapsed().as_secs());
    for ended in worked {
        match ended {
            Ok(ended) => ended?,
            Err(_) => bail!("a worker died"),
        }
    }
    Ok(conclude(&table))
}

/// Counts the calls of clean runs; returns every point, those of one fault beside each other.
fn points(arguments: &Arguments, ground: &mut Ground) -> Result<Vec<Point>> {
    let (calls, _) = Scenario::Deployment.calls(ground)?;
    let mut points = Vec::new();
    if arguments.sweep {
        let mut swept = vec![(Scenario::Deployment, 0..calls.len())];
        for scenario in [Scenario::Rollback].into_iter().chain(recoveries(&calls)) {
            let (calls, first) = scenario.calls(ground)?;
            swept.push((scenario, first..calls.len()));
        }
        for blow in blows(arguments)? {
            for (scenario, range) in &swept {
                points.extend(Point::spread(
                    *scenario,
                    blow,
                    range.clone(),
                    arguments.points,
                ));
            }
        }
    }
    if arguments.pairs {
        let is_change = |call: &&String| !call.starts_with("GET ") && !call.starts_with("HEAD ");
        for killed_after in 0..calls.iter().filter(is_change).count() {
            let scenario = Scenario::Recovery(killed_after);
            let (calls, _) = scenario.calls(ground)?;
            for blow in second_blows(arguments)? {
                points.extend(Point::spread(
                    scenario,
                    blow,
                    0..calls.len(),
                    arguments.points,
                ));
            }
        }
    }
    Ok(points)
}

fn blows(arguments: &Arguments) -> Result<Vec<Blow>> {
    let all = || {
        let faults = Fault::ALL.map(|fault| fault.as_str().to_owned());
        let calls = Blow::CALLS.map(Blow::name);
        calls.into_iter().chain(faults).collect()
    };
    let names: Vec<String> = if arguments.fault == ["all"] {
        all()
    } else {
        arguments.fault.clone()
    };
    let mut blows = Vec::new();
    for name in names {
        blows.extend(Blow::named(&name)?);
    }
    Ok(blows)
}

/// What happens in the recovery, after the daemon was killed in the deployment.
fn second_blows(arguments: &Arguments) -> Result<Vec<Blow>> {
    if arguments.fault != ["all"] {
        return blows(arguments);
    }
    let deaths = [Fault::KillCutover, Fault::KillDocker].into_iter();
    Ok(deaths
        .flat_map(|fault| [Blow::Before(fault), Blow::After(fault)])
        .collect())
}

impl Shared<'_> {
    /// Takes points until there are none; one whose ground was lost is tried again upon another one.
    fn work(&self) -> Result<()> {
        let mut at_hand = None;
        let mut lost = 0;
        loop {
            let mut played = 0;
            let worked = Ground::with(self.cutover, self.arguments.shape(), |ground| {
                self.play_on(ground, &mut at_hand, &mut played)
            });
            let Err(error) = worked.and_then(|worked| worked) else {
                return Ok(());
            };
            println!("a ground was lost: {error:#}");
            lost = if played > 0 { 1 } else { lost + 1 };
            if lost == FRESH_GROUNDS {
                return Err(error);
            }
        }
    }

    fn play_on(
        &self,
        ground: &mut Ground,
        at_hand: &mut Option<Point>,
        played: &mut u32,
    ) -> Result<()> {
        loop {
            let next = at_hand.take().or_else(|| self.next());
            let Some(point) = next else {
                return Ok(());
            };
            *at_hand = Some(point);
            let name = point.to_string().replace(' ', "-");
            let swept = point.play(ground, self.arguments.patience(), &details().join(name))?;
            *at_hand = None;
            *played += 1;
            self.tell(&swept);
        }
    }

    fn next(&self) -> Option<Point> {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        points.pop()
    }

    fn tell(&self, swept: &Swept) {
        let struck = if swept.struck { "" } else { " (no such call)" };
        let verdict = &swept.ending.verdict;
        println!("{}: {}{struck}", swept.point, verdict.as_str());
        print!("{}", swept.ending.story);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let name = swept.point.blow.name();
        table.add(&name, verdict, swept.ending.is_down);
    }
}
