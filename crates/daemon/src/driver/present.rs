//! Which containers a service has: the only answer to that question. Those that it runs in, and what earlier
//! deployments left.

use std::collections::BTreeMap;

use cutover_core::deployment::Replica;
use cutover_core::switch::{is_failed, is_put_aside};

use super::ComposeDriver;
use crate::docker::{Container, DockerError};
use crate::labels;

/// So many digits of the replaced container's id are in the name that Compose gives to the new one until it starts it.
const COMPOSES_SHORT_ID_LEN: usize = 12;

/// The containers of a service, sorted out.
#[derive(Debug, Default, PartialEq)]
pub struct Present {
    /// Those that the service runs in, in the order of their numbers; none before its first deployment.
    pub current: Vec<Container>,
    /// New containers that earlier deployments left, staged or failed; none of them runs.
    pub leftovers: Vec<Container>,
    /// Previous containers that a failed rollback left put aside; none of them runs. Each may be the last one
    /// that was ever proven, so it stays until a new one is.
    pub parked: Vec<Container>,
    /// Containers of other numbers that do not run, in the order of their numbers, as an earlier `--scale` leaves them.
    /// Compose itself would remove them; they are not looked at, and go when a new release is proven.
    pub surplus: Vec<Container>,
}

impl Present {
    /// The same where the service is to have so many containers: those that do not run count as well, the lowest numbers
    /// first, until there are enough. Compose would take them up again.
    #[must_use]
    pub fn up_to(mut self, replicas: usize) -> Self {
        let missing = replicas.saturating_sub(self.current.len());
        let taken = missing.min(self.surplus.len());
        if taken > 0 {
            self.current.extend(self.surplus.drain(..taken));
            self.current.sort_by_key(number);
        }
        self
    }

    /// Those that Compose does not get to see while it creates a new container.
    pub fn hidden(&self) -> impl Iterator<Item = &Container> {
        self.parked.iter().chain(&self.surplus)
    }

    /// Every container that there is.
    #[must_use]
    pub fn all(self) -> Vec<Container> {
        [self.current, self.parked, self.leftovers, self.surplus].concat()
    }
}

impl ComposeDriver {
    /// The containers of a service of a Compose project.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn present(
        &self,
        project: &str,
        compose_service: &str,
    ) -> Result<Present, DockerError> {
        let found = self.docker.service_containers(project, compose_service);
        Ok(sort_out(found.await?))
    }
}

/// The record of a container that is about to be replaced.
pub(super) fn as_replica(container: &Container) -> Replica {
    let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
    Replica {
        project: label(labels::PROJECT),
        service: label(labels::SERVICE),
        number: number(container),
        container: container.id.clone(),
        name: container.name.clone(),
        image: container.image_ref.clone(),
        image_id: container.image_id.clone(),
        restart_policy: container.restart_policy.clone(),
        aliases: container.aliases.clone(),
        condition: container.condition(),
    }
}

/// Compose's number of the container within its service.
fn number(container: &Container) -> u32 {
    let label = container.labels.get(labels::NUMBER);
    label.and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// Sorts out what was `found`: for each number, the container that the service runs in and what is left over.
fn sort_out(found: Vec<Container>) -> Present {
    let mut by_number: BTreeMap<u32, Vec<Container>> = BTreeMap::new();
    for container in found {
        by_number
            .entry(number(&container))
            .or_default()
            .push(container);
    }
    let mut present = Present::default();
    for containers in by_number.into_values() {
        sort_out_one(containers, &mut present);
    }
    if present.current.len() > 1 {
        // Where none runs, the service is the one with the lowest number.
        let none_runs = !present.current.iter().any(runs);
        let first = present.current[0].id.clone();
        let is_current = |one: &Container| runs(one) || (none_runs && one.id == first);
        (present.current, present.surplus) = present.current.into_iter().partition(is_current);
    }
    present
}

fn sort_out_one(found: Vec<Container>, present: &mut Present) {
    let (leftovers, mut rest): (Vec<_>, Vec<_>) = found.into_iter().partition(is_left_over);
    present.leftovers.extend(leftovers);
    if rest.len() > 1 {
        if rest.iter().any(|one| is_put_aside(&one.name) && runs(one)) {
            // After a failed rollback Docker started the old one at boot, where it was put aside: what was new
            // then is not proven, and does not run.
            let (failed, others): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|one| is_ours(one) && !runs(one));
            present.leftovers.extend(failed);
            rest = others;
        } else {
            let (mut parked, others): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|one| is_put_aside(&one.name));
            rest = others;
            if rest.is_empty() {
                // The service's own was removed: the newest of these is the nearest to it.
                parked.sort_by_key(|one| one.created);
                rest.extend(parked.pop());
            }
            present.parked.extend(parked);
        }
    }
    present.current.extend(rest);
}

/// Whether this is a new container that was never started, or one that was put aside because it failed. One that a
/// `docker compose up` by hand created and could not start, because it was cut or refused, is as well.
fn is_left_over(container: &Container) -> bool {
    let is_half_made = is_ours(container) || is_composes_temporary(&container.name);
    let never_started = is_half_made && container.state.started_at.is_none();
    !runs(container) && (never_started || is_failed(&container.name))
}

/// Whether Compose calls a container so while it replaces another one: `<twelve digits of an id>_<name>`.
fn is_composes_temporary(name: &str) -> bool {
    let id = name.split_once('_').map_or("", |(id, _)| id);
    id.len() == COMPOSES_SHORT_ID_LEN && id.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Whether a deployment created it.
fn is_ours(container: &Container) -> bool {
    let label = |name| container.labels.contains_key(name);
    label(labels::DEPLOYMENT) || label(labels::RECREATED_BY)
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
    const FAILED: &str = "shop-app-1_cutover-1234-0a1b2c3d-new";

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
            "Config": { "Labels": { labels::DEPLOYMENT: "d1" } },
        });
        Container::from_docker(serde_json::from_value(answer).expect("bollard reads it"))
            .expect("it has an id")
    }

    fn names(of: &[Container]) -> Vec<&str> {
        of.iter().map(|one| one.name.as_str()).collect()
    }

    #[track_caller]
    fn expect(found: Vec<Container>, current: Option<&str>, leftovers: &[&str], parked: &[&str]) {
        let present = sort_out(found);
        assert_eq!(
            names(&present.current),
            current.into_iter().collect::<Vec<_>>()
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
    fn what_a_cut_up_by_hand_created_and_never_started_is_left_over() {
        let by_hand = |name: &str, started| {
            let mut one = container(name, false, started);
            one.labels.remove(labels::DEPLOYMENT);
            one
        };
        let cut = "0a1b2c3d4e5f_shop-app-1";
        let found = vec![container(NAME, true, true), by_hand(cut, false)];
        expect(found, Some(NAME), &[cut], &[]);
        // One that ran once may hold data, and one of another name may be meant.
        for one in [by_hand(cut, true), by_hand("my_app", false)] {
            let present = sort_out(vec![container(NAME, true, true), one]);
            assert_eq!(present.leftovers, []);
        }
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
    fn two_that_run_are_both_the_services_own() {
        let present = sort_out(vec![
            container(OLD, true, true),
            container(NAME, true, true),
        ]);
        assert_eq!(names(&present.current), [OLD, NAME]);
    }

    #[test]
    fn what_an_earlier_scale_left_stopped_is_surplus() {
        let of_number = |number: &str, running| {
            let mut one = container(&format!("shop-app-{number}"), running, true);
            one.labels
                .insert(labels::NUMBER.to_owned(), number.to_owned());
            one
        };
        for (first, second, current, surplus) in [
            (true, false, vec!["shop-app-1"], vec!["shop-app-2"]),
            (false, true, vec!["shop-app-2"], vec!["shop-app-1"]),
            (false, false, vec!["shop-app-1"], vec!["shop-app-2"]),
            (true, true, vec!["shop-app-1", "shop-app-2"], vec![]),
        ] {
            let present = sort_out(vec![of_number("2", second), of_number("1", first)]);
            assert_eq!(names(&present.current), current);
            assert_eq!(names(&present.surplus), surplus);
        }
        let scaled = |replicas| {
            let found = [("3", false), ("2", false), ("1", true)];
            let found = found.map(|(number, runs)| of_number(number, runs));
            let present = sort_out(found.into()).up_to(replicas);
            (present.current.len(), present.surplus.len())
        };
        let counts = [scaled(0), scaled(1), scaled(2), scaled(3), scaled(4)];
        assert_eq!(counts, [(1, 2), (1, 2), (2, 1), (3, 0), (3, 0)]);
    }

    #[test]
    fn each_number_is_sorted_out_for_itself() {
        let of_number = |name: &str, running, number: &str| {
            let mut one = container(name, running, true);
            one.labels
                .insert(labels::NUMBER.to_owned(), number.to_owned());
            one
        };
        let present = sort_out(vec![
            of_number("shop-app-2", true, "2"),
            of_number("shop-app-1_cutover-1234", false, "1"),
            of_number("shop-app-1", true, "1"),
        ]);
        assert_eq!(names(&present.current), ["shop-app-1", "shop-app-2"]);
        assert_eq!(names(&present.parked), ["shop-app-1_cutover-1234"]);
    }
}
