//! The containers of a service, sorted out: the one that it runs in, and what earlier deployments left.

use super::staging::rewrite::DEPLOYMENT_LABEL;
use super::{FAILED_SUFFIX, PARKED_INFIX};
use crate::docker::Container;

/// The containers of a service, sorted out.
#[derive(Debug, PartialEq)]
pub struct Present {
    /// The one that the service runs in; none before its first deployment.
    pub current: Option<Container>,
    /// New containers that earlier deployments left, staged or failed; none of them runs.
    pub leftovers: Vec<Container>,
    /// Previous containers that a failed rollback left put aside; none of them runs. Each may be the last one
    /// that was ever proven, so it stays until a new one is.
    pub parked: Vec<Container>,
}

/// Sorts out what was `found`. The number of containers, if more than one is left.
pub(super) fn sort_out(found: Vec<Container>) -> Result<Present, usize> {
    let (mut leftovers, mut rest): (Vec<_>, Vec<_>) = found.into_iter().partition(is_failed);
    let mut parked = Vec::new();
    if rest.len() > 1 {
        if rest
            .iter()
            .any(|one| is_put_aside(one) && one.state.running)
        {
            // After a failed rollback Docker started the old one at boot, where it was put aside: what was new
            // then is not proven, and does not run.
            let (failed, others) = rest.into_iter().partition(|one| is_ours(one) && !runs(one));
            leftovers.extend::<Vec<_>>(failed);
            rest = others;
        } else {
            (parked, rest) = rest.into_iter().partition(is_put_aside);
            if rest.is_empty() {
                // The service's own was removed: the newest of these is the nearest to it.
                parked.sort_by_key(|one| one.created);
                rest.extend(parked.pop());
            }
        }
    }
    match rest.len() {
        0 | 1 => Ok(Present {
            current: rest.pop(),
            leftovers,
            parked,
        }),
        count => Err(count),
    }
}

/// Whether this is a new container that was never started, or one that was put aside because it failed.
fn is_failed(container: &Container) -> bool {
    let never_started = is_ours(container) && container.state.started_at.is_none();
    let failed = is_put_aside(container) && container.name.ends_with(FAILED_SUFFIX);
    !runs(container) && (never_started || failed)
}

fn is_ours(container: &Container) -> bool {
    container.labels.contains_key(DEPLOYMENT_LABEL)
}

fn is_put_aside(container: &Container) -> bool {
    container.name.contains(PARKED_INFIX)
}

fn runs(container: &Container) -> bool {
    container.state.running
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: &str = "shop-app-1";
    const OLD: &str = "shop-app-1_cutover-1234";
    const FAILED: &str = "shop-app-1_cutover-1234-new";

    /// A container of some deployment.
    fn container(name: &str, running: bool, started: bool) -> Container {
        let started_at = if started {
            "2026-11-22T21:00:01Z"
        } else {
            "0001-01-01T00:00:00Z"
        };
        let answer = json!({
            "Id": format!("id of {name}"),
            "Name": format!("/{name}"),
            "State": { "Running": running, "StartedAt": started_at },
            "Config": { "Labels": { DEPLOYMENT_LABEL: "d1" } },
        });
        Container::from_docker(serde_json::from_value(answer).expect("bollard reads it"))
            .expect("it has an id")
    }

    fn names(of: &[Container]) -> Vec<&str> {
        of.iter().map(|one| one.name.as_str()).collect()
    }

    #[track_caller]
    fn expect(found: Vec<Container>, current: Option<&str>, leftovers: &[&str], parked: &[&str]) {
        let present = sort_out(found).expect("sorted out");
        assert_eq!(
            present.current.as_ref().map(|one| one.name.as_str()),
            current
        );
        assert_eq!(names(&present.leftovers), leftovers);
        assert_eq!(names(&present.parked), parked);
    }

    #[test]
    fn one_container_is_the_services_own_whatever_it_does() {
        expect(vec![], None, &[], &[]);
        expect(vec![container(NAME, true, true)], Some(NAME), &[], &[]);
        expect(vec![container(NAME, false, true)], Some(NAME), &[], &[]);
        expect(vec![container(OLD, false, true)], Some(OLD), &[], &[]);
    }

    #[test]
    fn a_new_one_that_never_started_or_failed_is_left_over() {
        let found = vec![
            container("aaaaaaaaaaaa_shop-app-1", false, false),
            container(NAME, true, true),
            container(FAILED, false, true),
        ];
        let left = ["aaaaaaaaaaaa_shop-app-1", FAILED];
        expect(found, Some(NAME), &left, &[]);
    }

    #[test]
    fn an_old_one_beside_one_that_took_over_is_parked() {
        for runs in [true, false] {
            let found = vec![container(OLD, false, true), container(NAME, runs, true)];
            expect(found, Some(NAME), &[], &[OLD]);
        }
    }

    #[test]
    fn of_two_that_are_parked_alone_the_newer_is_the_services_own() {
        let mut newer = container("shop-app-1_cutover-5678", false, true);
        newer.created = "2026-11-22T21:00:00Z".parse().ok();
        let found = vec![newer, container(OLD, false, true)];
        expect(found, Some("shop-app-1_cutover-5678"), &[], &[OLD]);
    }

    #[test]
    fn an_old_one_that_runs_where_it_was_put_aside_is_the_services_own() {
        let found = vec![container(OLD, true, true), container(NAME, false, true)];
        expect(found, Some(OLD), &[NAME], &[]);
    }

    #[test]
    fn two_that_run_are_not_sorted_out() {
        let found = vec![container(OLD, true, true), container(NAME, true, true)];
        assert_eq!(sort_out(found), Err(2));
    }
}
