//! Which of the services that can be deployed are one release: those whose images name the same tag variable.

use super::project::{Deployable, Other};

/// Puts services and jobs that go with another service to that one. It is the one that users reach, if one of them
/// publishes a port; else the first.
///
/// A service that only a profile enables which the other does not have is a release of its own.
pub(super) fn releases(
    services: Vec<Deployable>,
    others: Vec<Other>,
) -> (Vec<Deployable>, Vec<Other>) {
    let mut releases: Vec<Deployable> = Vec::new();
    for service in services {
        let goes_with = |lead: &&mut Deployable| {
            let is_enabled = |of: &Deployable, with: &Deployable| {
                let first = with.profiles.first();
                of.profiles.is_empty() || of.profiles.iter().any(|one| Some(one) == first)
            };
            lead.tag_variable == service.tag_variable
                && is_enabled(lead, &service)
                && is_enabled(&service, lead)
        };
        match releases.iter_mut().find(goes_with) {
            Some(lead) if service.publishes && !lead.publishes => {
                let before = std::mem::replace(lead, service);
                lead.with.push(before.name.to_string());
                lead.with.extend(before.with);
            }
            Some(lead) => lead.with.push(service.name.to_string()),
            None => releases.push(service),
        }
    }
    let mut rest = others;
    // A job may wait for another one.
    while let Some((place, lead)) = rest.iter().enumerate().find_map(|(place, other)| {
        let lead = releases
            .iter()
            .position(|lead| lead.waits_for(&other.job_of))?;
        Some((place, lead))
    }) {
        let job = rest.remove(place);
        releases[lead].jobs.push(job.service);
    }
    (releases, rest)
}
