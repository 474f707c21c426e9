//! Watches the service from outside, with a request each millisecond, while something is done to it.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::prober::{Observations, Prober};

use super::http;
use super::stage::{PATIENCE, Stage};

/// So many answers are awaited after the end, that the prober has certainly seen one of them.
const ANSWERS_AFTER: u32 = 20;
/// Before each measurement, for what the one before it left to do in the background.
const SETTLE: Duration = Duration::from_millis(500);

/// What was seen of one action.
#[derive(Debug)]
pub(super) struct Seen {
    /// From the last good answer before the service was gone to the first one after it was back.
    pub(super) outage: Duration,
    /// How long the action took.
    pub(super) whole: Duration,
    /// Every attempt.
    pub(super) observations: Observations,
    /// One moment by both clocks, to compare with what others recorded.
    epoch: (SystemTime, Instant),
}

impl Seen {
    /// How long after a moment of the wall clock the service answered for the first time.
    pub(super) fn answered_after(&self, moment: SystemTime) -> Option<Duration> {
        let (wall, monotonic) = self.epoch;
        let moment = monotonic + moment.duration_since(wall).ok()?;
        let attempts = self.observations.attempts();
        let first = attempts
            .iter()
            .find(|attempt| attempt.began >= moment && attempt.outcome.is_ok())?;
        Some(first.ended - moment)
    }
}

/// How the client behaves while nothing listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// It is refused and asks again.
    Refused,
    /// It waits, because its connection is held.
    Waiting,
}

/// Does something to the service, after which it must answer `version`.
pub(super) fn observe<T>(
    stage: &mut Stage,
    version: &str,
    client: Client,
    action: impl FnOnce(&mut Stage) -> Result<T>,
) -> Result<(T, Seen)> {
    thread::sleep(SETTLE);
    let prober = match client {
        Client::Refused => Prober::start(stage.service()),
        Client::Waiting => Prober::start_patient(stage.service()),
    };
    prober.wait_for_answer(PATIENCE)?;
    let epoch = (SystemTime::now(), Instant::now());
    let done = action(stage)?;
    let whole = epoch.1.elapsed();
    for _ in 0..ANSWERS_AFTER {
        wait_for("the service to answer as it should", PATIENCE, || {
            Ok((serves(stage).as_deref() == Some(version)).then_some(()))
        })?;
    }
    let observations = prober.stop()?;
    let last = observations.attempts().last();
    ensure!(
        last.is_some_and(|attempt| attempt.outcome.is_ok()),
        "the prober saw no end of the outage"
    );
    let outage = match client {
        Client::Refused => observations.outage(),
        Client::Waiting => observations.longest_silence(),
    };
    ensure!(
        client == Client::Refused || observations.failures().is_empty(),
        "a request failed: {:?}",
        observations.failures().first()
    );
    ensure!(
        !outage.is_zero(),
        "the prober saw no outage where there must be one"
    );
    Ok((
        done,
        Seen {
            outage,
            whole,
            observations,
            epoch,
        },
    ))
}

/// The version that the service answers, if it answers.
pub(super) fn serves(stage: &Stage) -> Option<String> {
    version_at(stage.service())
}

/// The version that is answered at this address.
pub(super) fn version_at(address: SocketAddr) -> Option<String> {
    let answer = http::send(address, &http::get("/version")).ok()?;
    let text = String::from_utf8(answer.body).ok()?;
    (answer.status == 200).then(|| text.trim().to_owned())
}
