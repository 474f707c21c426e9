//! Which of the services that can be deployed are one release: those whose images name the same tag variable.

use super::project::{Deployable, Other};

/// Puts services and jobs that go with another service to that one. It is the one that users reach: by its port, if one
/// of them publishes one; else by another service that depends on it; else the first.
///
/// A service that only a profile enables which the other does not have is a release of its own, if that other one is
/// not enabled with it: the two would be deployed together.
pub(super) fn releases(
    services: Vec<Deployable>,
    others: Vec<Other>,
) -> (Vec<Deployable>, Vec<Other>) {
    let mut releases: Vec<Deployable> = Vec::new();
    for service in services {
        let goes_with = |lead: &&mut Deployable| {
            lead.tag_variable == service.tag_variable
                && is_enabled(lead, &service)
                && is_enabled(&service, lead)
        };
        match releases.iter_mut().find(goes_with) {
            Some(lead) if reach(&service) > reach(lead) => {
                let before = std::mem::replace(lead, service);
                lead.with.push(before.name.to_string());
                lead.with.extend(before.with);
            }
            Some(lead) => lead.with.push(service.name.to_string()),
            None => releases.push(service),
        }
    }
    let (mut releases, mut rest) = without_profiles_of_their_own(releases);
    rest.extend(others);
    // A job may wait for another one, and what shares with one that shares goes along.
    while let Some((place, lead)) = rest.iter().enumerate().find_map(|(place, other)| {
        let of = |lead: &Deployable| {
            lead.has_one_of(&other.job_of) || lead.has_one_of(&other.shares_with)
        };
        Some((place, releases.iter().position(of)?))
    }) {
        let other = rest.remove(place);
        let lead = &mut releases[lead];
        match other.job_of.is_empty() {
            true => lead.sharers.push(other.service),
            false => lead.jobs.push(other.service),
        }
    }
    (releases, rest)
}

/// How users come to a service: the more, the larger.
fn reach(service: &Deployable) -> (bool, bool) {
    (service.publishes, service.is_needed)
}

/// Whether a service is enabled where `with` is deployed.
fn is_enabled(of: &Deployable, with: &Deployable) -> bool {
    let first = with.profiles.first();
    of.profiles.is_empty() || of.profiles.iter().any(|one| Some(one) == first)
}

/// Tells apart what a profile would add to another release.
fn without_profiles_of_their_own(releases: Vec<Deployable>) -> (Vec<Deployable>, Vec<Other>) {
    let is_added_to = |one: &Deployable, to: &Deployable| {
        one.tag_variable == to.tag_variable && is_enabled(to, one) && !is_enabled(one, to)
    };
    let added: Vec<Option<String>> = releases
        .iter()
        .map(|one| {
            let to = releases.iter().find(|to| is_added_to(one, to))?;
            Some(to.name.to_string())
        })
        .collect();
    let (mut stay, mut others) = (Vec::new(), Vec::new());
    for (release, to) in releases.into_iter().zip(added) {
        let Some(to) = to else {
            stay.push(release);
            continue;
        };
        let profile = release.profiles.first().cloned().unwrap_or_default();
        let why = format!(
            "only the profile `{profile}` enables it; its tag is that of `{to}`, and it is deployed with that if `profiles = [\"{profile}\"]` stands there or COMPOSE_PROFILES in the env file names it"
        );
        let names = std::iter::once(release.name.to_string()).chain(release.with.clone());
        others.extend(names.map(|service| Other {
            service,
            why: why.clone(),
            instead: None,
            fixable: None,
            job_of: Vec::new(),
            shares_with: Vec::new(),
            is_own: release.is_own(),
        }));
    }
    (stay, others)
}
