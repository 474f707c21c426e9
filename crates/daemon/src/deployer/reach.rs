//! Reaching one of the two states in which a deployment may end: look, make a move, look again.
//!
//! What comes next is decided in `cutover_core::switch`, from what is there. A round ends at the goal, or where
//! nothing more can be done now; then it is tried again, with pauses that grow to a minute, for as long as the
//! daemon lives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::switch::{Goal, Move, Next, Patience, Situation, next};
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::Run;
use super::journey::Journey;
use super::prove::prove;
use super::recreate::recreate;
use super::survey::{Missing, survey};
use super::{holding, hooks};
use crate::driver::{Found, Look, docker_cause, millis_between};

/// More moves than any round takes: one that takes more fights with somebody.
const MOVES_MAX: usize = 100;

/// How often a container is started in one round: the second time because Docker may have been restarted.
const STARTS_MAX: u32 = 2;

/// After so many rounds the answer is given, and the trying goes on behind it.
const ANSWERED_AFTER: u32 = 3;

/// For so long a Docker that is away is waited for before the answer is given: its own restart takes less.
const AWAY_MAX: Duration = Duration::from_secs(120);

/// After so many rounds that failed, anything that can run is better than nothing.
const EXHAUSTED_AFTER: u32 = 4;

/// After the first round; then twice as long after each.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause between two rounds.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Between two looks whether Docker is back.
const DOCKER_PAUSE: Duration = Duration::from_millis(500);

/// Between two looks whether a new container still runs that was started because no old one can be.
const STAND_IN_PAUSE: Duration = Duration::from_secs(10);

/// How far a journey came.
#[derive(Debug)]
pub(super) enum Reached {
    /// The goal.
    Goal,
    /// Not the goal, for this reason; it is worth trying on.
    NotYet(Cause),
    /// Not the goal, for this reason: somebody else's container runs.
    Rests(Cause),
    /// It was called off.
    CalledOff,
}

/// For how long is tried.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    pub(super) rounds: Rounds,
    /// Cancelled when it shall be left as it is.
    pub(super) called_off: CancellationToken,
}

/// How many rounds there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounds {
    /// Until the answer must be given.
    UntilAnswer,
    /// The answer was given.
    Endless,
}

impl Budget {
    /// Until the answer must be given, whatever happens.
    pub(super) fn answer() -> Self {
        Self {
            rounds: Rounds::UntilAnswer,
            called_off: CancellationToken::new(),
        }
    }
}

/// How one round ended.
enum Round {
    Done,
    /// Docker does not answer.
    Away(Cause),
    Stuck(Cause, Situation),
}

/// Tries, in rounds, until the goal is reached or the budget is used up.
pub(super) async fn reach(run: &mut Run, journey: &mut Journey, budget: &Budget) -> Reached {
    let is_bounded = budget.rounds == Rounds::UntilAnswer;
    let mut away_since: Option<Instant> = None;
    loop {
        let patience = match journey.attempts {
            0..EXHAUSTED_AFTER => Patience::Left,
            EXHAUSTED_AFTER.. => Patience::Exhausted,
        };
        let mut has_stand_in = false;
        let (cause, pause) = match round(run, journey, patience).await {
            Round::Done => return Reached::Goal,
            Round::Away(cause) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if is_bounded && since.elapsed() > AWAY_MAX {
                    return Reached::NotYet(cause);
                }
                (cause, DOCKER_PAUSE)
            }
            Round::Stuck(cause, now) => {
                away_since = None;
                journey.attempts += 1;
                if !now.strangers.is_empty() {
                    return Reached::Rests(cause);
                }
                has_stand_in = is_stood_in_for(&now, journey, patience);
                let answered_after = answered_after(&now, journey.goal);
                if is_bounded && (has_stand_in || journey.attempts >= answered_after) {
                    return Reached::NotYet(cause);
                }
                let doublings = (journey.attempts - 1).min(6);
                (cause, (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX))
            }
        };
        tell(run, journey, &cause).await;
        let again = async {
            tokio::time::sleep(pause).await;
            if has_stand_in {
                nothing_runs(run).await;
            }
        };
        tokio::select! {
            () = again => {}
            () = budget.called_off.cancelled() => return Reached::CalledOff,
        }
    }
}

/// Returns when no container that the deployment is about runs any more.
///
/// A new container that was started because no old one could be is left alone while it runs: to try the old ones
/// again, it would have to be stopped. Docker does not start it again when it ends, so cutover looks after it.
pub(super) async fn nothing_runs(run: &Run) {
    let runs = |found: &Found| {
        found
            .container
            .as_ref()
            .is_some_and(|one| one.state.running)
    };
    loop {
        if let Ok(look) = run.driver.look(run.deployment()).await
            && !look.old.iter().chain(&look.new).any(runs)
            && look.strangers.is_empty()
        {
            return;
        }
        tokio::time::sleep(STAND_IN_PAUSE).await;
    }
}

/// Where every new container runs and is proven, only clean-up is left, for which there is more time. One that is gone
/// does not come back by waiting.
fn answered_after(now: &Situation, goal: Goal) -> u32 {
    const CLEANED_UP_AFTER: u32 = 8;
    if goal == Goal::New && now.new.iter().any(|new| new.seen.is_none()) {
        return 1;
    }
    let only_clean_up = now
        .new
        .iter()
        .all(|new| new.seen.as_ref().is_some_and(|seen| seen.proven));
    if only_clean_up && !now.new.is_empty() {
        CLEANED_UP_AFTER
    } else {
        ANSWERED_AFTER
    }
}

/// Whether a new container runs because the old ones were refused often enough.
fn is_stood_in_for(now: &Situation, journey: &Journey, patience: Patience) -> bool {
    let old_runs = now
        .old
        .iter()
        .any(|old| old.seen.as_ref().is_some_and(|seen| seen.running));
    journey.goal == Goal::Old
        && patience == Patience::Exhausted
        && !old_runs
        && now.something_runs()
}

/// Once for each reason, however long it takes.
async fn tell(run: &mut Run, journey: &mut Journey, cause: &Cause) {
    if cause.detail == journey.told {
        return;
    }
    let what = match journey.goal {
        Goal::Old => "the previous release is not back yet",
        Goal::New => "the new release is not settled yet",
    };
    let what = format!("{what}: {}; retrying", cause.detail);
    run.record.warn(what).await;
    journey.told.clone_from(&cause.detail);
}

async fn round(run: &mut Run, journey: &mut Journey, patience: Patience) -> Round {
    let mut made = Made::default();
    let id = run.deployment().id.clone();
    for _ in 0..MOVES_MAX {
        let now = match survey(run, journey, &mut made.missing).await {
            Ok(now) => now,
            Err(error) => return Round::Away(docker_cause(step(journey), &error)),
        };
        let refused: BTreeSet<Move> = made.refused.keys().cloned().collect();
        let moves = match next(journey.goal, &now.situation, &refused, patience, &id) {
            Next::Done => return Round::Done,
            Next::Stuck => return Round::Stuck(made.why(&now.situation, journey), now.situation),
            Next::Do(moves) => moves,
        };
        hooks::before_stops(run, journey, &now.look, &moves).await;
        tracing::debug!(deployment.id = %id, ?moves, "what comes next");
        let ended = match &moves[..] {
            [wanted] => vec![make(run, journey, &mut made, &now.look, wanted).await],
            // Effects on one container each.
            several => join_all(several.iter().map(|wanted| effect(run, wanted))).await,
        };
        let failed = moves.into_iter().zip(ended);
        let failed = failed.filter_map(|(wanted, ended)| Some((wanted, ended.err()?)));
        let failed: Vec<(Move, Cause)> = failed.collect();
        if let Some((_, cause)) = failed.first()
            && run.driver.docker().ping().await.is_err()
        {
            return Round::Away(cause.clone());
        }
        made.refused.extend(failed);
    }
    let detail = "the containers of the service are changed by somebody else all the time";
    let cause = Cause::new(Code::Interfered, step(journey), detail);
    Round::Stuck(cause, Situation::default())
}

/// What was made and refused in one round.
#[derive(Debug, Default)]
struct Made {
    refused: BTreeMap<Move, Cause>,
    starts: BTreeMap<String, u32>,
    missing: Missing,
}

impl Made {
    /// What keeps the goal from being reached.
    fn why(&self, now: &Situation, journey: &Journey) -> Cause {
        if let Some(name) = now.strangers.first() {
            let detail = format!(
                "the container {name} runs in the service's place; it belongs to no deployment, so somebody made it by hand"
            );
            return Cause::new(Code::Interfered, step(journey), detail);
        }
        // A start that was refused tells more than what was refused because of it.
        let starts = self
            .refused
            .iter()
            .find(|(wanted, _)| matches!(wanted, Move::Start { .. }));
        let first = starts.or_else(|| self.refused.iter().next());
        let cause = first.map(|(_, cause)| cause.clone());
        cause.unwrap_or_else(|| {
            let missing: Vec<_> = self.missing.values().flatten().cloned().collect();
            let detail = if missing.is_empty() {
                "a container of it is gone: somebody removed it".to_owned()
            } else {
                missing.join(", and ")
            };
            Cause::new(code(journey), step(journey), detail)
        })
    }
}

async fn make(
    run: &mut Run,
    journey: &mut Journey,
    made: &mut Made,
    look: &Look,
    wanted: &Move,
) -> Result<(), Cause> {
    let of_move = |found: &&Found| wanted.container() == Some(&found.replica.container);
    let found = look.old.iter().chain(&look.new).find(of_move);
    let Some(found) = found else {
        return Err(Cause::new(
            code(journey),
            step(journey),
            "the container is gone",
        ));
    };
    match wanted {
        Move::Prove { .. } => {
            if journey.goal == Goal::Old {
                holding::release_when_back(run, &look.old).await;
            }
            let proven = prove(run, journey, found).await;
            hooks::end_post_start(run, journey, found).await;
            proven
        }
        Move::Recreate { from, .. } => recreate(run, journey, found, *from).await,
        Move::Start { container } => {
            let starts = made.starts.entry(container.clone()).or_default();
            *starts += 1;
            if *starts > STARTS_MAX {
                return Err(ended_again(journey, found));
            }
            effect(run, wanted).await?;
            journey.started(container);
            hooks::begin_post_start(run, journey, found);
            note_start(run, journey, look, found).await;
            Ok(())
        }
        _ => effect(run, wanted).await,
    }
}

async fn effect(run: &Run, wanted: &Move) -> Result<(), Cause> {
    let made = run.driver.make(wanted, &run.deployment().id).await;
    made.map_err(|error| docker_cause(step_of(wanted), &error))
}

fn ended_again(journey: &Journey, found: &Found) -> Cause {
    let exit_code = found
        .container
        .as_ref()
        .map_or(0, |one| one.state.exit_code);
    let detail = format!(
        "the container {} ended again right after it was started, with code {exit_code}",
        found.replica.name
    );
    Cause::new(code(journey), step(journey), detail)
}

/// A previous container runs again: for how long none of its service did, by Docker's own clock. `look` is from before.
async fn note_start(run: &mut Run, journey: &mut Journey, look: &Look, found: &Found) {
    let is_old = run
        .deployment()
        .old
        .iter()
        .any(|old| old.container == found.replica.container);
    if journey.goal != Goal::Old || !is_old {
        return;
    }
    let all = look.old.iter().chain(&look.new);
    let mut of_service = all.filter(|one| one.replica.service == found.replica.service);
    if of_service.any(|one| one.container.as_ref().is_some_and(|one| one.state.running)) {
        // The others served meanwhile, or serve again since a moment ago.
        return;
    }
    let stopped_at = found
        .container
        .as_ref()
        .and_then(|before| before.state.finished_at);
    let now = run
        .driver
        .docker()
        .container(&found.replica.container)
        .await;
    let started_at = now.ok().flatten().and_then(|now| now.state.started_at);
    let outage_ms = millis_between(stopped_at, started_at);
    let all_ms = journey.outage_ms.unwrap_or(0).saturating_add(outage_ms);
    journey.outage_ms = Some(all_ms);
    run.record_restored(all_ms).await;
}

fn step(journey: &Journey) -> Step {
    match journey.goal {
        Goal::Old => Step::RollBack,
        Goal::New => Step::CleanUp,
    }
}

/// Docker's refusal of a start is the service's trouble, not Docker's.
fn step_of(wanted: &Move) -> Step {
    match wanted {
        Move::Start { .. } => Step::Switch,
        _ => Step::RollBack,
    }
}

fn code(journey: &Journey) -> Code {
    match journey.goal {
        Goal::Old => Code::RollbackFailed,
        Goal::New => Code::SwitchFailed,
    }
}
