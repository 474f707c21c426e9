//! One random round: a deployment, and something that happens at a random moment of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::case::now_ms;
use super::ending::{Ending, Watch};
use super::fault::Fault;
use super::ground::Ground;
use super::random::Random;
use super::release::{Behavior, Door, Policy, Shape};
use super::verdict::Verdict;

/// Rounds of one fault and one shape follow each other: changing the shape takes a deployment.
pub const BLOCK: u32 = 6;

/// So long after a deployment's usual length a strike may come.
const AFTER: Duration = Duration::from_millis(1000);

/// The longest that Docker alone is given to bring something up.
const ALONE: Duration = Duration::from_secs(3);

/// What a round is, before it is played: the same for the same seed and number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Its number.
    pub number: u32,
    /// What happens.
    pub fault: Fault,
    /// The service.
    pub shape: Shape,
    /// The release that is asked for.
    pub behavior: Behavior,
    /// When, from 0 at the request to 1 some time after the answer.
    pub moment: f64,
    /// Whether cutover comes up only after what Docker alone has started was looked at.
    pub docker_alone: bool,
}

/// How a round ended.
#[derive(Debug)]
pub struct Played {
    /// What it was.
    pub round: Round,
    /// When it was struck, in milliseconds from the request.
    pub moment_ms: u64,
    /// How long all of it took.
    pub took: Duration,
    /// After a power cut, what Docker alone had running before cutover came up: how many containers.
    pub alone: Option<usize>,
    /// What came of it.
    pub ending: Ending,
}

/// How long deployments take when nothing happens.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    good: Duration,
    exits: Duration,
    never_healthy: Duration,
}

impl Lengths {
    /// Deploys each once.
    ///
    /// # Errors
    /// If the scene is not in order.
    pub fn measure(ground: &mut Ground) -> Result<Self> {
        let mut measured = [Duration::ZERO; 3];
        for (behavior, length) in Behavior::ALL.into_iter().zip(&mut measured) {
            let case = ground.prepare(Shape::USUAL, None, behavior)?;
            let started = Instant::now();
            drop(ground.scene.deploy(&case.new.tag));
            *length = started.elapsed();
        }
        let [good, exits, never_healthy] = measured;
        Ok(Self {
            good,
            exits,
            never_healthy,
        })
    }

    fn of(self, behavior: Behavior) -> Duration {
        match behavior {
            Behavior::Good => self.good,
            Behavior::Exits => self.exits,
            Behavior::NeverHealthy => self.never_healthy,
        }
    }
}

impl Round {
    /// The round with this number, of these faults.
    #[must_use]
    pub fn of(seed: u64, number: u32, faults: &[Fault]) -> Self {
        let block = number / BLOCK;
        let mut shared = Random::new(seed, u64::from(block) << 32);
        let mut own = Random::new(seed, u64::from(number));
        let count = u32::try_from(faults.len()).unwrap_or(1).max(1);
        let behavior = match own.below(10) {
            0..6 => Behavior::Good,
            6..8 => Behavior::Exits,
            _ => Behavior::NeverHealthy,
        };
        Self {
            number,
            fault: faults[usize::try_from(block % count).unwrap_or_default()],
            shape: Shape {
                policy: shared.one_of(&Policy::USUAL),
                door: shared.one_of(&[Door::Published, Door::Inside]),
                ..Shape::USUAL
            },
            behavior,
            moment: thousandths(own.below(1000)),
            docker_alone: own.below(2) == 0,
        }
    }

    /// Plays it on this ground. Of a third state, everything is kept in `details`.
    ///
    /// # Errors
    /// If the ground cannot be brought in order beforehand.
    #[expect(
        clippy::zombie_processes,
        reason = "an error ends this program, and with it the client"
    )]
    pub fn play(
        self,
        ground: &mut Ground,
        lengths: Lengths,
        patience: Duration,
        details: &Path,
    ) -> Result<Played> {
        let began = Instant::now();
        let mut case = ground.prepare(self.shape, Some(self.fault), self.behavior)?;
        let watch = Watch::begin(ground, details, patience);
        let moment = (lengths.of(self.behavior) + AFTER).mul_f64(self.moment);
        let requested_ms = now_ms();
        let client = ground.scene.begin(&case.new.tag);
        std::thread::sleep(moment);
        let strike = ground.strike(self.fault)?;
        case.span = strike.span;
        let alone =
            (self.fault == Fault::PowerCut && self.docker_alone).then(|| docker_alone(ground));
        let moment_ms = u64::try_from(case.span.from_ms - requested_ms).unwrap_or_default();
        let heading = format!("{self:?}, struck {moment_ms} ms after the request");
        let mut ending = watch.end(ground, &case, client, &heading, &strike.said)?;
        if let Some(count @ 2..) = alone {
            ending.verdict =
                Verdict::Third(vec![format!("Docker alone started {count} containers")]);
        }
        Ok(Played {
            round: self,
            moment_ms,
            took: began.elapsed(),
            alone,
            ending,
        })
    }
}

/// How many containers run with Docker alone, as soon as one does.
fn docker_alone(ground: &Ground) -> usize {
    let started = Instant::now();
    loop {
        let containers = super::sight::containers(&ground.scene).unwrap_or_default();
        let count = containers.iter().filter(|one| one.running).count();
        if count > 0 || started.elapsed() > ALONE {
            return count;
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a number below a thousand is exact"
)]
fn thousandths(number: u64) -> f64 {
    number as f64 / 1000.0
}
