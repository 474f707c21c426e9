//! Which containers Docker starts by itself after it was away: what the restart policies of the trial rely on.
//!
//! Measured on Engine 28.5. Docker answers only when it has started what it starts, so no test has to wait.

use cutover_core::deployment::RestartPolicy;
use cutover_testkit::images::ImageSpec;

use crate::bench::Bench;
use crate::restarts::{Misfortune, own_docker_with, strike};

/// A container before Docker went away, and after which misfortunes Docker starts it.
struct Case {
    /// The policy at its creation.
    created_with: &'static str,
    /// Stopped through the API.
    stopped: bool,
    /// The policy that was set after that, if any.
    then: &'static str,
    /// After a power cut, after Docker was killed, and after it was stopped and started.
    starts: [bool; 3],
}

const fn case(created_with: &'static str, starts: [bool; 3]) -> Case {
    Case {
        created_with,
        stopped: false,
        then: "",
        starts,
    }
}

const fn stopped(created_with: &'static str, then: &'static str, starts: [bool; 3]) -> Case {
    Case {
        created_with,
        stopped: true,
        then,
        starts,
    }
}

const CASES: [Case; 11] = [
    case("no", [false; 3]),
    // A power cut is an exit with code 255. Otherwise Docker stops the container, which ends with code 0.
    case("on-failure", [true, false, false]),
    case("on-failure:3", [true, false, false]),
    // After it was killed, Docker stops what outlived it, as if somebody had asked for it.
    case("unless-stopped", [true, false, true]),
    case("always", [true; 3]),
    stopped("on-failure", "", [false; 3]),
    stopped("unless-stopped", "", [false; 3]),
    stopped("always", "", [true; 3]),
    // What the old container of a trial is, whatever its own policy.
    stopped("on-failure", "always", [true; 3]),
    stopped("unless-stopped", "always", [true; 3]),
    stopped("always", "no", [false; 3]),
];

async fn started_after(misfortune: Misfortune) -> Vec<bool> {
    let (mut engine, _directory) = own_docker_with("{}");
    let bench = Bench::at(&engine.socket());
    let docker = &bench.docker;
    let image = bench.image(&ImageSpec::new("1"));
    let mut ids = Vec::new();
    for case in CASES {
        let id = bench.create(&image, &["--restart", case.created_with]);
        docker.ensure_started(&id).await.expect("started");
        if case.stopped {
            docker.ensure_stopped(&id, None).await.expect("stopped");
        }
        if !case.then.is_empty() {
            let policy = RestartPolicy {
                name: case.then.to_owned(),
                retries_max: 0,
            };
            let set = docker.ensure_restart_policy(&id, &policy).await;
            set.expect("set");
        }
        ids.push(id);
    }
    tokio::task::block_in_place(|| strike(&mut engine, misfortune));
    let mut running = Vec::new();
    for id in &ids {
        let found = docker.container(id).await.expect("an answer");
        running.push(found.expect("there").state.running);
    }
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_starts_what_the_policy_says_by_how_it_went_away() {
    let misfortunes = [Misfortune::PowerCut, Misfortune::Crash, Misfortune::Restart];
    for (index, misfortune) in misfortunes.into_iter().enumerate() {
        let running = started_after(misfortune).await;
        for (case, runs) in CASES.iter().zip(running) {
            let Case {
                created_with,
                stopped,
                then,
                starts,
            } = case;
            assert_eq!(
                runs, starts[index],
                "{misfortune:?}: {created_with}, stopped: {stopped}, then {then}"
            );
        }
    }
}
