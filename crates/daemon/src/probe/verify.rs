//! Watches a container until it is proven, or has failed.
//!
//! Three things are told to the health window of `cutover_core`: what Docker's own health check says, what
//! the probes find, and that the container ended. Docker's health and exits come as events and are never
//! polled; the container is looked at once in the beginning, after a gap in the events, and when a failure
//! is to be explained. A Docker that is away costs time, and nothing else: the deadline goes on.
//!
//! A new release must not end even once. A previous one that was put back is treated with more patience,
//! because there is nothing else to go back to: when it ends and Docker starts it again, as it does when
//! Docker itself is restarted, the proof begins anew, a few times.

use std::time::Duration;

use cutover_core::health::{HealthWindow, Sample, Source, Unhealthy, Verdict};
use jiff::Timestamp;
use tokio::time::Instant;

use self::life::Life;
use self::probes::Probes;
use crate::docker::container::HealthState;
use crate::docker::events::{Change, ContainerEvent};
use crate::docker::{Container, ContainerEvents, Docker};

mod checks;
mod failure;
mod life;
mod probes;

pub use checks::Checks;
pub use failure::VerifyFailure;

use checks::Purpose;

/// How often a restored container may end before it is given up.
const DEATHS_MAX: u32 = 3;

/// Between two looks at a Docker that does not answer.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// How long an explanation that the decision does not depend on is waited for.
const GLANCE_TIMEOUT: Duration = Duration::from_secs(2);

/// Signals that end a process, by which Docker's `stop` and `kill` are told from, say, a reload.
const DEADLY_SIGNALS: &[&str] = &["2", "3", "9", "15"];

/// With these codes a container ends that was told to; any other is its own doing.
const STOPPED_CODES: &[i64] = &[0, 130, 137, 143];

/// How long after the end of a container was seen the signal that ended it may still be on its way.
const SIGNAL_GRACE: Duration = Duration::from_millis(250);

/// What is known of a container that was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// When the life began in which it was, by Docker's clock.
    pub began: Option<Timestamp>,
    /// So much later it was healthy for the first time; zero where nobody says so.
    pub answered_after: Duration,
}

/// Proves that the container with this id may stay.
///
/// `events` must have been subscribed before the container was started, so that nothing is missed. `born` is when
/// the life began that is to be proven, by Docker's clock, if that is known: any other life is not it. What is told
/// of the time before it is no end of it: Docker may have died between the subscription and the start.
///
/// # Errors
/// Why it must go.
pub async fn verify(
    docker: &Docker,
    mut events: ContainerEvents,
    container: &str,
    checks: &Checks,
    born: Option<Timestamp>,
) -> Result<Proven, VerifyFailure> {
    let began = Instant::now();
    let mut watch = Watch {
        docker,
        id: container,
        checks,
        deadline: began + checks.rules.healthy_deadline,
        born,
        deaths: 0,
        life: None,
        signal: None,
        out_of_memory: false,
        last_end: None,
    };
    let found = watch.look().await?;
    if !found.state.running {
        watch.await_signal(found.state.exit_code, &mut events).await;
    }
    if watch.is_another_life(&found) {
        return Err(watch.restarted(&found, began.elapsed()));
    }
    watch.take_up(found).await?;
    loop {
        let wakeup = match watch.life.as_ref().map(|life| life.window.verdict()) {
            Some(Verdict::Healthy) => match watch.confirmed().await? {
                Confirmed::Yes => return Ok(watch.proven()),
                Confirmed::No => continue,
            },
            Some(Verdict::Unhealthy(why)) => return Err(watch.explained(why.clone()).await),
            Some(Verdict::Pending) | None => watch.wakeup(),
        };
        let probes = watch.life.as_mut().map(|life| &mut life.probes);
        tokio::select! {
            event = events.next() => watch.note(event, &mut events).await?,
            (source, sample) = probes::next(probes) => watch.sample(source, sample),
            () = tokio::time::sleep_until(wakeup) => watch.wake()?,
        }
    }
}

/// What is known about the container.
struct Watch<'a> {
    docker: &'a Docker,
    id: &'a str,
    checks: &'a Checks,
    deadline: Instant,
    /// When the life began that is to be proven, if that is known.
    born: Option<Timestamp>,
    /// How often it has ended.
    deaths: u32,
    /// None while a restored container waits to be started again.
    life: Option<Life>,
    /// The deadly signal that somebody had Docker send last.
    signal: Option<String>,
    out_of_memory: bool,
    /// How it ended last.
    last_end: Option<VerifyFailure>,
}

/// Whether a last look at the container agrees with the verdict.
enum Confirmed {
    Yes,
    No,
}

impl Watch<'_> {
    /// The container as it is now. Waits for a Docker that is away, until the deadline.
    async fn look(&self) -> Result<Container, VerifyFailure> {
        loop {
            match self.docker.container(self.id).await {
                Ok(Some(container)) => return Ok(container),
                Ok(None) => {
                    return Err(VerifyFailure::interfered("somebody removed the container"));
                }
                Err(error) if error.is_uncertain() && Instant::now() < self.deadline => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                Err(error) => return Err(VerifyFailure::Docker(error)),
            }
        }
    }

    /// Goes on from a look at the container: it lives as before, lives anew, or does not live.
    async fn take_up(&mut self, container: Container) -> Result<(), VerifyFailure> {
        let state = &container.state;
        if !state.running || state.restarting {
            self.out_of_memory |= state.oom_killed;
            return self.ended(state.exit_code, Some(container)).await;
        }
        if state.paused {
            return Err(VerifyFailure::interfered("somebody paused the container"));
        }
        let goes_on = match &self.life {
            Some(life) => life.started_at == state.started_at,
            None => false,
        };
        if goes_on {
            return self.note_health(&container).await;
        }
        match &self.life {
            Some(life) if self.checks.purpose == Purpose::NewRelease => {
                Err(self.restarted(&container, life.began.elapsed()))
            }
            _ => self.begin_life(&container).await,
        }
    }

    /// Whether a new release runs, and has run before: it was started again after the switch started it.
    fn is_another_life(&self, found: &Container) -> bool {
        self.checks.purpose == Purpose::NewRelease
            && found.state.running
            && self
                .born
                .is_some_and(|born| found.state.started_at != Some(born))
    }

    fn restarted(&self, container: &Container, after: Duration) -> VerifyFailure {
        VerifyFailure::Exited {
            code: container.state.exit_code,
            oom_killed: self.out_of_memory,
            why: Unhealthy::Restarted { after }.to_string(),
        }
    }

    /// A verdict that was reached while Docker was away, or a moment ago, may be out of date: no answer says
    /// "healthy" of a container that does not run.
    async fn confirmed(&mut self) -> Result<Confirmed, VerifyFailure> {
        let found = self.look().await?;
        let lives_on = self
            .life
            .as_ref()
            .is_some_and(|life| life.started_at == found.state.started_at);
        let runs = found.state.running && !found.state.restarting && !found.state.paused;
        if lives_on && runs {
            return match found.health {
                Some(HealthState::Unhealthy) => Err(VerifyFailure::Unhealthy {
                    why: "Docker reports the container unhealthy".to_owned(),
                    last_health_output: found.last_health_output,
                }),
                _ => Ok(Confirmed::Yes),
            };
        }
        self.take_up(found).await?;
        Ok(Confirmed::No)
    }

    fn proven(&self) -> Proven {
        let life = self.life.as_ref();
        Proven {
            began: life.and_then(|life| life.started_at),
            answered_after: life.and_then(Life::answered_after).unwrap_or_default(),
        }
    }

    /// When to look at the clock.
    fn wakeup(&self) -> Instant {
        self.life
            .as_ref()
            .and_then(|life| Some(life.began + life.window.next_wakeup()?))
            .unwrap_or(self.deadline)
    }

    /// The container was started, or is looked at for the first time.
    async fn begin_life(&mut self, container: &Container) -> Result<(), VerifyFailure> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let rules = self
            .checks
            .rules_for(container, remaining, Timestamp::now());
        let probes = Probes::start(self.docker, container, self.checks)
            .await
            .map_err(VerifyFailure::unhealthy)?;
        let window = HealthWindow::new(rules, self.checks.sources());
        self.life = Some(Life::begun(container, window, probes));
        self.note_health(container).await
    }

    async fn note_health(&mut self, container: &Container) -> Result<(), VerifyFailure> {
        match container.health {
            Some(health) => self.health(health, Some(container)).await,
            None => Ok(()),
        }
    }

    /// Takes an event into account.
    async fn note(
        &mut self,
        event: ContainerEvent,
        events: &mut ContainerEvents,
    ) -> Result<(), VerifyFailure> {
        let began = self.life.as_ref().and_then(|life| life.started_at);
        let began = began.or(self.born);
        let of_earlier_life = event.at.zip(began).is_some_and(|(at, began)| at < began);
        match event.change {
            // It was looked at before it was started.
            Change::Resync(container)
                if began.is_some_and(|began| container.state.started_at < Some(began)) =>
            {
                Ok(())
            }
            Change::Resync(container) => self.take_up(*container).await,
            Change::Destroyed => Err(VerifyFailure::interfered("somebody removed the container")),
            _ if of_earlier_life => Ok(()),
            Change::Died { exit_code } => {
                self.await_signal(exit_code, events).await;
                self.ended(exit_code, None).await
            }
            Change::Started if self.life.is_none() => {
                let found = self.look().await?;
                self.take_up(found).await
            }
            Change::Health(health) => self.health(health, None).await,
            Change::Signalled { signal } => {
                self.note_signal(signal);
                Ok(())
            }
            Change::OutOfMemory => {
                self.out_of_memory = true;
                Ok(())
            }
            Change::Paused => Err(VerifyFailure::interfered("somebody paused the container")),
            // A restart ends the container first, which has been told; names change because we change them.
            Change::Started | Change::Restarted | Change::Unpaused | Change::Renamed { .. } => {
                Ok(())
            }
        }
    }

    fn note_signal(&mut self, signal: String) {
        if DEADLY_SIGNALS.contains(&signal.as_str()) {
            self.signal = Some(signal);
        }
    }

    /// The container ended as one does that was told to: waits a moment for the signal to be told, too. Only a
    /// new release is asked about: its end decides, whatever else is told meanwhile.
    async fn await_signal(&mut self, code: i64, events: &mut ContainerEvents) {
        if self.checks.purpose != Purpose::NewRelease || !STOPPED_CODES.contains(&code) {
            return;
        }
        let signalled = async {
            while self.signal.is_none() {
                if let Change::Signalled { signal } = events.next().await.change {
                    self.note_signal(signal);
                }
            }
        };
        // Without one, it ended by itself.
        let _ = tokio::time::timeout(SIGNAL_GRACE, signalled).await;
    }

    async fn health(
        &mut self,
        health: HealthState,
        container: Option<&Container>,
    ) -> Result<(), VerifyFailure> {
        let sample = match health {
            HealthState::Starting => return Ok(()),
            HealthState::Healthy => Sample::Healthy,
            HealthState::Unhealthy => {
                let output = match container {
                    Some(container) => container.last_health_output.clone(),
                    None => self.look().await?.last_health_output,
                };
                Sample::Unhealthy(output.unwrap_or_else(|| "it printed nothing".to_owned()))
            }
        };
        self.sample(Source::HealthCheck, sample);
        Ok(())
    }

    fn sample(&mut self, source: Source, sample: Sample) {
        if let Some(life) = &mut self.life {
            life.sample(source, sample);
        }
    }

    /// The container ended; a restored one may be started again by Docker.
    async fn ended(
        &mut self,
        code: i64,
        container: Option<Container>,
    ) -> Result<(), VerifyFailure> {
        let life = self.life.take();
        let container = match container {
            Some(container) => Some(container),
            None if self.checks.purpose == Purpose::NewRelease => self.glance().await,
            None => Some(self.look().await?),
        };
        let after = match (&life, &container) {
            (Some(life), _) => life.began.elapsed(),
            (None, Some(container)) => container.state.ran_for().unwrap_or_default(),
            (None, None) => Duration::ZERO,
        };
        let end = match self.signal.take() {
            Some(signal) => VerifyFailure::stopped_from_outside(&signal),
            None => VerifyFailure::Exited {
                code,
                oom_killed: self.out_of_memory
                    || container.as_ref().is_some_and(|c| c.state.oom_killed),
                why: Unhealthy::Exited { code, after }.to_string(),
            },
        };
        self.out_of_memory = false;
        self.deaths += 1;
        let Some(container) = container.filter(|container| {
            self.checks.purpose == Purpose::Restored
                && self.deaths <= DEATHS_MAX
                && !matches!(container.restart_policy.name.as_str(), "" | "no")
        }) else {
            return Err(end);
        };
        tracing::warn!(container = self.id, %end, "the restored container ended; docker will start it again");
        self.last_end = Some(end);
        // Either it lives again already, or its start is yet to be told.
        if container.state.running && !container.state.restarting {
            self.begin_life(&container).await?;
        }
        Ok(())
    }

    /// The container as it is now, if Docker says so soon.
    async fn glance(&self) -> Option<Container> {
        let look = self.docker.container(self.id);
        tokio::time::timeout(GLANCE_TIMEOUT, look)
            .await
            .ok()?
            .ok()?
    }

    /// The time of the window, or the deadline of a container that waits to be started, has come.
    fn wake(&mut self) -> Result<(), VerifyFailure> {
        match &mut self.life {
            Some(life) => {
                life.window.at(life.began.elapsed());
                Ok(())
            }
            None => Err(self.last_end.take().unwrap_or_else(|| {
                VerifyFailure::unhealthy("the container was not started again in time")
            })),
        }
    }

    /// The window's decision, with what else helps to understand it.
    async fn explained(&self, why: Unhealthy) -> VerifyFailure {
        let words = why.to_string();
        match why {
            Unhealthy::Exited { code, .. } => VerifyFailure::Exited {
                code,
                oom_killed: self.out_of_memory,
                why: words,
            },
            _ => VerifyFailure::Unhealthy {
                why: words,
                last_health_output: self
                    .glance()
                    .await
                    .and_then(|found| found.last_health_output),
            },
        }
    }
}

#[cfg(test)]
mod tests;
