//! Sweeps: the calls of a clean run are counted; then, for each of them in turn, something happens before it, after it,
//! or to it. The list grows by itself when the product makes another call.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::case::{Case, now_ms};
use super::ending::{Ending, Watch};
use super::fault::Fault;
use super::ground::Ground;
use super::release::Behavior;
use super::rendezvous::Rendezvous;
use super::sight;
use crate::engine::wait::{pause_after, wait_for};
use crate::faults::{self, Counted, FaultyDocker};

/// The longest that a clean run takes, on a busy machine.
const CLEAN: Duration = Duration::from_secs(60);

/// So long after the answer images are removed.
const TIDY: Duration = Duration::from_millis(500);

/// What a call without an answer may take beyond the usual, by the product's own bound for a start.
const HANG: Duration = Duration::from_secs(130);

/// What is swept over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// All calls of a deployment that succeeds.
    Deployment,
    /// The calls of one that is rolled back, from the start of its container on.
    Rollback,
    /// The changing calls of the recovery of one whose daemon was killed after its changing call with this number.
    Recovery(usize),
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The call itself goes wrong.
    Call(faults::Fault),
    /// Something happens before Docker gets the call.
    Before(Fault),
    /// Something happens when Docker has done it, before its answer arrives.
    After(Fault),
}

/// One point of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// What is swept over.
    pub scenario: Scenario,
    /// The number of the call, from 0.
    pub number: usize,
    /// What happens at it.
    pub blow: Blow,
}

/// How a point ended.
#[derive(Debug)]
pub struct Swept {
    /// The point.
    pub point: Point,
    /// Whether there was such a call: another run may make fewer.
    pub struck: bool,
    /// What came of it.
    pub ending: Ending,
}

impl Blow {
    /// What can go wrong with a call.
    pub const CALLS: [Self; 4] = [
        Self::Call(faults::Fault::Error),
        Self::Call(faults::Fault::Hang),
        Self::Call(faults::Fault::LoseAnswer),
        Self::Call(faults::Fault::Twice),
    ];

    /// Everything that is called so: what goes wrong with a call, or what happens before it and after it.
    ///
    /// # Errors
    /// If nothing is called so.
    pub fn named(name: &str) -> Result<Vec<Self>> {
        if let Some(call) = Self::CALLS.into_iter().find(|call| call.name() == name) {
            return Ok(vec![call]);
        }
        let fault: Fault = name.parse()?;
        Ok(vec![Self::Before(fault), Self::After(fault)])
    }

    /// The words for it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Call(faults::Fault::Error) => "error".to_owned(),
            Self::Call(faults::Fault::Hang) => "hang".to_owned(),
            Self::Call(faults::Fault::Twice) => "twice".to_owned(),
            Self::Call(_) => "lost-answer".to_owned(),
            Self::Before(fault) | Self::After(fault) => fault.to_string(),
        }
    }

    fn fault(self) -> Option<Fault> {
        match self {
            Self::Call(_) => None,
            Self::Before(fault) | Self::After(fault) => Some(fault),
        }
    }
}

impl Scenario {
    fn behavior(self) -> Behavior {
        match self {
            Self::Rollback => Behavior::Exits,
            Self::Deployment | Self::Recovery(_) => Behavior::Good,
        }
    }

    fn counted(self) -> Counted {
        match self {
            // Whoever waits for the end of a recovery asks, and the answer takes calls that only read.
            Self::Recovery(_) => Counted::Changing,
            Self::Deployment | Self::Rollback => Counted::All,
        }
    }

    /// The calls of a clean run, and the number of the first that is swept over.
    ///
    /// # Errors
    /// If the ground cannot be brought in order.
    pub fn calls(self, ground: &mut Ground) -> Result<(Vec<String>, usize)> {
        let case = ground.prepare(ground.shape(), None, self.behavior())?;
        let counted = self.counted();
        let mut client = self.set_off(ground, &case, |docker| docker.count(counted))?;
        let reached = self.wait(ground, &case, &mut client, &Rendezvous::new(), CLEAN);
        let calls = ground.scene.docker.calls();
        drop(client.kill());
        drop(client.wait());
        reached?;
        let first = match self {
            Self::Rollback => calls.iter().position(|call| call.ends_with("/start")),
            Self::Deployment | Self::Recovery(_) => Some(0),
        };
        Ok((calls, first.context("the rollback starts no container")?))
    }

    /// Goes to where the calls begin that are swept over, lets `arm` be done, and goes on.
    #[expect(
        clippy::zombie_processes,
        reason = "an error ends this program, and with it the client"
    )]
    fn set_off(
        self,
        ground: &Ground,
        case: &Case,
        arm: impl FnOnce(&FaultyDocker),
    ) -> Result<Child> {
        let scene = &ground.scene;
        let Self::Recovery(killed_after) = self else {
            arm(&scene.docker);
            return Ok(scene.begin(&case.new.tag));
        };
        scene.docker.arm(killed_after, faults::Fault::StrikeAfter);
        let client = scene.begin(&case.new.tag);
        wait_for("the daemon's end", CLEAN, || {
            Ok((!scene.daemon_runs()).then_some(()))
        })?;
        arm(&scene.docker);
        scene.spawn_daemon();
        Ok(client)
    }

    /// Waits until the call has come, or there will be none any more; returns whether it has.
    fn wait(
        self,
        ground: &Ground,
        case: &Case,
        client: &mut Child,
        call: &Rendezvous,
        bound: Duration,
    ) -> Result<bool> {
        let started = Instant::now();
        let (mut ended, mut pause) = (None, Duration::ZERO);
        while started.elapsed() < bound {
            if call.is_reached(pause) {
                return Ok(true);
            }
            let looked = Instant::now();
            let is_over = match self {
                Self::Deployment | Self::Rollback => matches!(client.try_wait(), Ok(Some(_))),
                Self::Recovery(_) => has_ended(ground, &case.known),
            };
            if is_over {
                let since = ended.get_or_insert_with(Instant::now);
                if since.elapsed() > TIDY {
                    return Ok(false);
                }
            }
            pause = pause_after(looked.elapsed());
        }
        bail!("it has not ended within {bound:?}")
    }
}

/// After which changing calls of a deployment its daemon is killed, for a recovery that goes back and for one that goes
/// forward: the stop of the old container, and the last change of a restart policy.
#[must_use]
pub fn recoveries(calls: &[String]) -> Vec<Scenario> {
    let is_change = |call: &&String| !call.starts_with("GET ") && !call.starts_with("HEAD ");
    let changes: Vec<_> = calls.iter().filter(is_change).collect();
    let stop = changes.iter().position(|call| call.ends_with("/stop"));
    let update = changes.iter().rposition(|call| call.ends_with("/update"));
    let both = stop.into_iter().chain(update);
    both.map(Scenario::Recovery).collect()
}

/// Whether the daemon is ready, and what was asked for has ended.
fn has_ended(ground: &Ground, known: &str) -> bool {
    let record = sight::newest(&ground.scene, known).0;
    ground.scene.is_ready() && record.is_some_and(|record| record.outcome.is_some())
}

impl Point {
    /// The points of a sweep with this blow over these calls: all of them, or `limit`, spread evenly.
    #[must_use]
    pub fn spread(
        scenario: Scenario,
        blow: Blow,
        calls: Range<usize>,
        limit: Option<usize>,
    ) -> Vec<Self> {
        let count = calls.len();
        let wanted = limit.unwrap_or(count).min(count);
        let numbers = (0..wanted).map(|index| calls.start + index * count / wanted);
        numbers
            .map(|number| Self {
                scenario,
                number,
                blow,
            })
            .collect()
    }

    /// Plays it on this ground. Of a third state, everything is kept in `details`.
    ///
    /// # Errors
    /// If the ground cannot be brought in order, or what shall happen cannot be brought about.
    pub fn play(self, ground: &mut Ground, patience: Duration, details: &Path) -> Result<Swept> {
        let fault = self.blow.fault();
        let mut case = ground.prepare(ground.shape(), fault, self.scenario.behavior())?;
        let watch = Watch::begin(ground, details, patience + HANG);
        let call = Rendezvous::new();
        let mut client = self
            .scenario
            .set_off(ground, &case, |docker| self.arm(docker, &call))?;
        let mut said = String::new();
        let mut struck = false;
        // What has not ended by then is among what is judged.
        let waited = self
            .scenario
            .wait(ground, &case, &mut client, &call, patience + HANG);
        if let Some(fault) = fault {
            case.fault = None;
            if matches!(waited, Ok(true)) {
                let strike = ground.strike(fault);
                call.done();
                let strike = strike?;
                (struck, said, case.span) = (true, strike.said, strike.span);
                case.fault = Some(fault);
            }
        } else {
            struck = ground.scene.docker.struck() > 0;
            case.span.from_ms = now_ms();
        }
        let ending = watch.end(ground, &case, client, &self.to_string(), &said)?;
        Ok(Swept {
            point: self,
            struck,
            ending,
        })
    }

    fn arm(self, docker: &FaultyDocker, call: &Rendezvous) {
        let counted = self.scenario.counted();
        let call = call.clone();
        let strike = move || call.reach();
        // A connection of a dead daemon is nobody's; with everybody else the call goes on.
        let breaks = |fault| matches!(fault, Fault::KillCutover | Fault::PowerCut);
        let how = match self.blow {
            Blow::Call(fault) => return docker.arm_counted(counted, self.number, fault),
            Blow::Before(fault) if breaks(fault) => faults::Fault::StrikeBefore,
            Blow::Before(_) => faults::Fault::ActBefore,
            Blow::After(fault) if breaks(fault) => faults::Fault::StrikeAfter,
            Blow::After(_) => faults::Fault::ActAfter,
        };
        docker.arm_strike(counted, self.number, how, strike);
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match self.blow {
            Blow::Call(_) => "at",
            Blow::Before(_) => "before",
            Blow::After(_) => "after",
        };
        let (blow, number) = (self.blow.name(), self.number);
        match self.scenario {
            Scenario::Deployment => write!(f, "{blow} {at} call {number} of a deployment"),
            Scenario::Rollback => write!(f, "{blow} {at} call {number} of a rollback"),
            Scenario::Recovery(killed_after) => write!(
                f,
                "{blow} {at} changing call {number} of the recovery after call {killed_after}"
            ),
        }
    }
}
