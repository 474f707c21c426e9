//! A prober: a client that asks a service for its version every millisecond, on a fresh connection
//! each time, and remembers what it got. What it saw is the outage that users would have seen.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::engine::http::Request;
use crate::engine::wait::wait_for;

/// From the start of one attempt to the start of the next, if the answer came in time.
const PACE: Duration = Duration::from_millis(1);
/// How long one attempt may take. A request that finds nobody fails at once; this bounds those that
/// fall into a hole.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
/// The same of a visitor who waits: longer than any connection is held.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(40);

/// One request.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When it began.
    pub began: Instant,
    /// When the answer or the failure was there.
    pub ended: Instant,
    /// The version that answered with status 200, or what went wrong.
    pub outcome: Result<String, String>,
}

/// When the last attempt began that was answered.
type Answered = Arc<Mutex<Option<Instant>>>;

/// A running prober. Dropping it ends it.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    answered: Answered,
    thread: Option<JoinHandle<Vec<Attempt>>>,
}

impl Prober {
    /// Starts asking `http://ADDRESS/version`, in the calling thread's network namespace.
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        Self::start_with(address, ATTEMPT_TIMEOUT)
    }

    /// The same with the patience of a visitor, who is not lost because an answer takes long.
    #[must_use]
    pub fn start_patient(address: SocketAddr) -> Self {
        Self::start_with(address, PATIENT_TIMEOUT)
    }

    fn start_with(address: SocketAddr, timeout: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Answered::default();
        let thread = thread::spawn({
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            move || probe(address, timeout, &stop, &answered)
        });
        Self {
            stop,
            answered,
            thread: Some(thread),
        }
    }

    /// Waits until the service has answered once, so that what follows is measured from a service
    /// that runs.
    ///
    /// # Errors
    /// If it does not answer within the bound.
    pub fn wait_for_answer(&self, bound: Duration) -> Result<()> {
        wait_for("the service to answer", bound, || {
            Ok(self.last_answered().map(|_| ()))
        })
    }

    /// Waits until the service has answered a request that was sent after this call, so that what runs now
    /// is among what was seen.
    ///
    /// # Errors
    /// If it does not answer within the bound.
    pub fn wait_for_next_answer(&self, bound: Duration) -> Result<()> {
        let called = Instant::now();
        wait_for("the service to answer again", bound, || {
            let last = self.last_answered();
            Ok(last.is_some_and(|began| began > called).then_some(()))
        })
    }

    fn last_answered(&self) -> Option<Instant> {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it and returns what it saw.
    ///
    /// # Errors
    /// If the prober itself failed.
    pub fn stop(mut self) -> Result<Observations> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the prober ended before")?;
        let attempts = thread
            .join()
            .map_err(|_| anyhow::anyhow!("the prober panicked"))?;
        Ok(Observations { attempts })
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What a prober saw.
#[derive(Debug, Clone)]
pub struct Observations {
    attempts: Vec<Attempt>,
}

impl Observations {
    /// Every attempt, in order.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The outage: the longest time from a good answer to the next good one with a failure in
    /// between, or zero if nothing failed between two good answers. Failures before the first and
    /// after the last good answer do not count, for nobody knows how long they would have lasted.
    #[must_use]
    pub fn outage(&self) -> Duration {
        self.longest_gap(Between::Failures)
    }

    /// The longest time from a good answer to the next good one, failure or not: a request that is
    /// held back for a second fails nobody and is still noticed.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        self.longest_gap(Between::Anything)
    }

    /// The attempts that failed.
    #[must_use]
    pub fn failures(&self) -> Vec<&Attempt> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.outcome.is_err())
            .collect()
    }

    /// How long the request took that took longest.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        let all = self.attempts.iter();
        let waits = all.map(|attempt| attempt.ended - attempt.began);
        waits.max().unwrap_or_default()
    }

    /// The versions seen, in order, each once for every time that it came.
    #[must_use]
    pub fn versions(&self) -> Vec<&str> {
        let mut versions: Vec<&str> = self
            .attempts
            .iter()
            .filter_map(|attempt| attempt.outcome.as_deref().ok())
            .collect();
        versions.dedup();
        versions
    }

    fn longest_gap(&self, between: Between) -> Duration {
        let mut longest = Duration::ZERO;
        let mut last_good: Option<Instant> = None;
        let mut failed_since = false;
        for attempt in &self.attempts {
            if attempt.outcome.is_err() {
                failed_since = true;
                continue;
            }
            if let Some(last_good) = last_good
                && (failed_since || between == Between::Anything)
            {
                longest = longest.max(attempt.ended - last_good);
            }
            last_good = Some(attempt.ended);
            failed_since = false;
        }
        longest
    }
}

/// What must lie between two good answers for the gap to count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Failures,
    Anything,
}

fn probe(
    address: SocketAddr,
    timeout: Duration,
    stop: &AtomicBool,
    answered: &Mutex<Option<Instant>>,
) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let outcome = ask(address, timeout).map_err(|error| format!("{error:#}"));
        if outcome.is_ok() {
            *answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        }
        attempts.push(Attempt {
            began,
            ended: Instant::now(),
            outcome,
        });
        thread::sleep(PACE.saturating_sub(began.elapsed()));
    }
    attempts
}

fn ask(address: SocketAddr, timeout: Duration) -> Result<String> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let answer = Request::get("/version").send(&address.to_string(), &stream)?;
    ensure!(answer.status == 200, "status {}", answer.status);
    Ok(answer.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observations(outcomes: &[(u64, Option<&str>)]) -> Observations {
        let start = Instant::now();
        let attempts = outcomes
            .iter()
            .map(|&(millis, version)| Attempt {
                began: start + Duration::from_millis(millis),
                ended: start + Duration::from_millis(millis),
                outcome: version
                    .map(str::to_owned)
                    .ok_or_else(|| "refused".to_owned()),
            })
            .collect();
        Observations { attempts }
    }

    #[test]
    fn an_outage_lasts_from_the_last_good_answer_to_the_next() {
        let seen = observations(&[
            (0, None),
            (10, Some("1")),
            (20, None),
            (30, None),
            (50, Some("2")),
            (150, Some("2")),
            (160, None),
        ]);
        assert_eq!(seen.outage(), Duration::from_millis(40));
        assert_eq!(seen.longest_silence(), Duration::from_millis(100));
        assert_eq!(seen.versions(), ["1", "2"]);
        assert_eq!(seen.failures().len(), 4);
    }

    #[test]
    fn without_a_failure_there_is_no_outage() {
        let seen = observations(&[(0, Some("1")), (100, Some("1"))]);
        assert_eq!(seen.outage(), Duration::ZERO);
    }
}
