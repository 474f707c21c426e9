//! What is there of everything that a deployment is about, before each move towards a goal.

use std::collections::BTreeMap;

use cutover_core::deployment::Replica;
use cutover_core::switch::{Goal, Seen, Situation, Slot};

use super::context::Run;
use super::journey::Journey;
use crate::docker::announce::has_aliases;
use crate::docker::{Container, DockerError};
use crate::driver::way_back::missing_for_start;
use crate::driver::{Found, Look};
use crate::labels;

/// What each container that does not run lacks for a start, by its id: looked at once in a round.
pub(super) type Missing = BTreeMap<String, Vec<String>>;

/// What is there, for the decision and for the move.
pub(super) struct Survey {
    pub(super) situation: Situation,
    pub(super) look: Look,
}

/// Looks at everything that the deployment is about.
pub(super) async fn survey(
    run: &Run,
    journey: &Journey,
    missing: &mut Missing,
) -> Result<Survey, DockerError> {
    let look = run.driver.look(run.deployment()).await?;
    let mut situation = Situation {
        strangers: look.strangers.iter().map(|one| one.name.clone()).collect(),
        ..Situation::default()
    };
    let mut look = look;
    if journey.goal == Goal::Old {
        // What ran of a job goes with the release that failed. After the commit it stays.
        let jobs = std::mem::take(&mut look.jobs);
        look.new.extend(jobs);
    }
    for (found, to) in [
        (&look.old, &mut situation.old),
        (&look.new, &mut situation.new),
    ] {
        for found in found {
            to.push(slot(run, journey, missing, found).await?);
        }
    }
    Ok(Survey { situation, look })
}

/// Whether the networks know the container by the names of the service; of one that was created with them, Docker need not
/// be asked.
fn is_announced(container: &Container, replica: &Replica) -> bool {
    !container.labels.contains_key(labels::UNANNOUNCED) || has_aliases(container, &replica.aliases)
}

async fn slot(
    run: &Run,
    journey: &Journey,
    known: &mut Missing,
    found: &Found,
) -> Result<Slot, DockerError> {
    let replica = found.replica.clone();
    let Some(container) = &found.container else {
        return Ok(Slot {
            replica,
            seen: None,
        });
    };
    let whole = container.state.running || {
        let missing = match known.get(&container.id) {
            Some(missing) => missing,
            None => {
                let deployment = run.deployment();
                let all = deployment.old.iter().chain(&deployment.new);
                let with_it = all.map(|one| one.container.clone()).collect();
                let docker = run.driver.docker();
                let missing = missing_for_start(docker, &container.id, &with_it).await?;
                let missing = missing.into_iter().map(|missing| missing.what).collect();
                known.entry(container.id.clone()).or_insert(missing)
            }
        };
        missing.is_empty()
    };
    let seen = Seen {
        name: container.name.clone(),
        running: container.state.running,
        policy: container.restart_policy.clone(),
        proven: container.state.running && journey.is_proven(container),
        whole,
        announced: is_announced(container, &replica),
        fresh: !container.state.running && container.state.started_at.is_none(),
    };
    Ok(Slot {
        replica,
        seen: Some(seen),
    })
}
