//! Which services a release has, and in which order they are switched.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::cause::Cause;
use cutover_core::dependency_order::dependency_order;
use cutover_core::image::ImageRef;
use cutover_core::names::Tag;
use cutover_core::switch::Order;
use cutover_core::template::{TagVariable, image_template};

use super::file::File;
use super::read::as_written;
use super::{Hooks, ServiceModel, invalid, missing_service};
use crate::driver::command::Compose;
use crate::settings;

/// What a service of a release is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It runs all the time, and is switched.
    Switched,
    /// It runs to its end before anything is stopped: others of the release wait for that.
    Job,
    /// It runs to its end after the commit.
    JobAfter,
}

/// A service that is not switched and is restarted with one that is: `depends_on` with `restart: true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Its name in the Compose file.
    pub service: String,
    /// The services that it is restarted with.
    pub with: Vec<String>,
    /// Its hooks.
    pub hooks: Hooks,
}

/// The services of a release as Compose renders them for one tag, in the order in which they are switched.
#[derive(Debug, Clone)]
pub struct ReleaseModel {
    services: Vec<ServiceModel>,
    jobs: Vec<ServiceModel>,
    jobs_after: Vec<ServiceModel>,
    dependents: Vec<Dependent>,
    lead: ServiceModel,
}

impl ReleaseModel {
    /// A release of these services, of which `lead` is the configured one; none if it is not among them.
    pub(super) fn new(
        services: Vec<ServiceModel>,
        dependents: Vec<Dependent>,
        lead: &str,
    ) -> Option<Self> {
        let lead = services.iter().find(|one| one.compose_service == lead)?;
        let lead = lead.clone();
        let of_role = |role: Role| {
            let of_role = services.iter().filter(|one| one.role == role);
            of_role.cloned().collect()
        };
        Some(Self {
            services: of_role(Role::Switched),
            jobs: of_role(Role::Job),
            jobs_after: of_role(Role::JobAfter),
            dependents,
            lead,
        })
    }

    /// The configured service. What is the same for all (the project, the tag's variable, the env file) is read here.
    #[must_use]
    pub fn lead(&self) -> &ServiceModel {
        &self.lead
    }

    /// The services that are switched.
    #[must_use]
    pub fn services(&self) -> &[ServiceModel] {
        &self.services
    }

    /// The jobs that run before the switch.
    #[must_use]
    pub fn jobs(&self) -> &[ServiceModel] {
        &self.jobs
    }

    /// The jobs that run after the commit.
    #[must_use]
    pub fn jobs_after(&self) -> &[ServiceModel] {
        &self.jobs_after
    }

    /// The services that are restarted with those that are switched.
    pub fn dependents(&self) -> impl Iterator<Item = &Dependent> {
        let is_switched = |name: &String| {
            let mut services = self.services.iter();
            services.any(|one| one.compose_service == *name)
        };
        let dependents = self.dependents.iter();
        dependents.filter(move |one| one.with.iter().any(is_switched))
    }

    /// What Compose warned of, and which keys of the Compose file are not followed.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let services = self.services.iter();
        let not_followed = services.filter_map(|one| one.not_followed.clone());
        self.lead.warnings().chain(not_followed)
    }

    /// The services that are switched, and then the jobs.
    pub fn all(&self) -> impl Iterator<Item = &ServiceModel> {
        let jobs = self.jobs.iter().chain(&self.jobs_after);
        self.services.iter().chain(jobs)
    }

    /// The service with this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceModel> {
        self.all().find(|one| one.compose_service == name)
    }

    /// Which container of the service with this name goes first.
    #[must_use]
    pub fn order_of(&self, name: &str) -> Order {
        self.service(name)
            .map_or(Order::StopFirst, ServiceModel::order)
    }

    /// The same release without these services. The configured one stays the lead, also where it is not switched.
    #[must_use]
    pub fn without(mut self, names: &[String]) -> Self {
        let stays = |one: &ServiceModel| !names.contains(&one.compose_service);
        let left = self.services.iter().filter(|one| !stays(one));
        let left = left.filter(|one| !one.restarts_with.is_empty());
        let left = left.map(|one| Dependent {
            service: one.compose_service.clone(),
            with: one.restarts_with.clone(),
            hooks: one.hooks.clone(),
        });
        self.dependents.extend(left);
        self.services.retain(stays);
        self.jobs.retain(stays);
        self.jobs_after.retain(stays);
        self
    }

    /// The services that are switched, each with those that run in its container's namespaces.
    pub fn groups(&self) -> impl Iterator<Item = &[ServiceModel]> {
        let mut sizes: Vec<usize> = Vec::new();
        for (place, service) in self.services.iter().enumerate() {
            let start = place - sizes.last().copied().unwrap_or_default();
            let group = &self.services[start..place];
            let is_shared = |one: &ServiceModel| service.shares_with.contains(&one.compose_service);
            match sizes.last_mut() {
                Some(last) if group.iter().any(is_shared) => *last += 1,
                _ => sizes.push(1),
            }
        }
        let mut left = self.services.as_slice();
        sizes.into_iter().map(move |size| {
            let (group, rest) = left.split_at(size);
            left = rest;
            group
        })
    }

    /// How many containers are switched at once, one batch after another: a group of services, or so many replicas of one.
    #[must_use]
    pub fn batches(&self) -> Vec<usize> {
        let of_group = |group: &[ServiceModel]| match group {
            [alone] => alone.batches().collect(),
            // Whoever shares with another one has one replica.
            together => vec![together.len()],
        };
        self.groups().flat_map(of_group).collect()
    }

    /// The names of the services that are switched, in their order.
    #[must_use]
    pub fn switched(&self) -> Vec<&str> {
        names(&self.services)
    }

    /// The names of the jobs that run before that, in their order.
    #[must_use]
    pub fn job_names(&self) -> Vec<&str> {
        names(&self.jobs)
    }

    /// The names of the jobs that run after the commit, in their order.
    #[must_use]
    pub fn names_of_jobs_after(&self) -> Vec<&str> {
        names(&self.jobs_after)
    }

    /// The names of the services that are switched, and of the jobs.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.all().map(|one| one.compose_service.as_str()).collect()
    }

    /// Values that must not be shown, of all services.
    pub fn secrets(&self) -> impl Iterator<Item = &String> {
        self.all().flat_map(|one| &one.secrets)
    }
}

fn names(of: &[ServiceModel]) -> Vec<&str> {
    of.iter().map(|one| one.compose_service.as_str()).collect()
}

/// The services of the release, and what each is for: those that are configured, or those whose image line names the
/// tag's variable. `known` are those of the last time.
///
/// A service that one of them waits for until it has ended well is part of it, as a job, whatever its image.
pub(super) async fn services(
    compose: &Compose,
    service: &settings::Service,
    tag: &Tag,
    variable: &TagVariable,
    file: &File,
    known: &[String],
) -> Result<Vec<(String, Role)>, Cause> {
    let lead = &service.compose_service;
    for (key, configured) in [
        ("compose_services", &service.compose_services),
        ("jobs_after", &service.jobs_after),
    ] {
        are_there(service, file, key, configured)?;
    }
    let mut names: BTreeSet<String> = if service.compose_services.is_empty() {
        let end = variable.end_of_image(tag.as_str());
        let found = carriers(service, &end, file);
        match found
            .iter()
            .all(|name| name == lead || known.contains(name))
        {
            true => found,
            false => written_with(compose, service, &variable.name, found).await?,
        }
    } else {
        service.compose_services.iter().cloned().collect()
    };
    names.insert(lead.clone());
    names.retain(|name| !service.jobs_after.contains(name));
    if let Some(one) = service.jobs_after.iter().find(|one| *one == lead) {
        return Err(invalid(format!(
            "`jobs_after` names `{one}`, which is the service that is deployed itself"
        )));
    }
    names.extend(file.sharers_of(&names));
    names.extend(file.jobs_of(&names));
    if let Some(one) = service.jobs_after.iter().find(|one| names.contains(*one)) {
        return Err(invalid(format!(
            "`jobs_after` names `{one}`, and others of the release wait for its end before they start; take it out of `jobs_after`, or change `depends_on`"
        )));
    }
    names.extend(service.jobs_after.iter().cloned());
    let role = |name: &String| match name {
        name if service.jobs_after.contains(name) => Role::JobAfter,
        // The configured one is refused later, with the reason.
        name if name != lead && !file.waits_for_the_end_of(name).is_empty() => Role::Job,
        _ => Role::Switched,
    };
    let on = |name: &String| {
        let described = file.services.get(name);
        let on = described.map(|described| described.depends_on.keys().cloned());
        on.into_iter()
            .flatten()
            .chain(file.shares_with(name))
            .collect()
    };
    let depends_on: BTreeMap<String, BTreeSet<String>> =
        names.iter().map(|name| (name.clone(), on(name))).collect();
    let ordered = with_sharers(file, dependency_order(&depends_on)).into_iter();
    Ok(ordered.map(|name| (name.clone(), role(&name))).collect())
}

/// The same order, with every service that runs in a namespace of another one right behind that.
fn with_sharers(file: &File, ordered: Vec<String>) -> Vec<String> {
    let mut grouped: Vec<String> = Vec::new();
    for name in ordered {
        let providers = file.shares_with(&name);
        let is_of_its_group = |one: &String| {
            providers.contains(one)
                || file
                    .shares_with(one)
                    .iter()
                    .any(|other| providers.contains(other))
        };
        match grouped.iter().rposition(is_of_its_group) {
            Some(place) => grouped.insert(place + 1, name),
            None => grouped.push(name),
        }
    }
    grouped
}

/// The project has all these services, which are `configured` under `key`.
fn are_there(
    service: &settings::Service,
    file: &File,
    key: &str,
    configured: &[String],
) -> Result<(), Cause> {
    let missing = configured
        .iter()
        .find(|name| !file.services.contains_key(*name));
    match missing {
        None => Ok(()),
        Some(missing) => Err(invalid(format!(
            "`{key}` names `{missing}`: {}",
            missing_service(service, missing, file.services.keys()).detail
        ))),
    }
}

/// The services whose rendered image has this end, the tag or the digest, and is one that may be deployed.
fn carriers(service: &settings::Service, end: &str, file: &File) -> BTreeSet<String> {
    let allowed = service.image_repository.as_deref();
    let allowed = allowed.and_then(|allowed| allowed.parse::<ImageRef>().ok());
    let carries = |image: &str| {
        image.ends_with(end)
            && image.parse::<ImageRef>().is_ok_and(|image| {
                let allowed = allowed.as_ref();
                allowed.is_none_or(|allowed| allowed.has_repository_of(&image))
            })
    };
    let carriers = file
        .services
        .iter()
        .filter(|(_, described)| described.image.as_deref().is_some_and(carries));
    carriers.map(|(name, _)| name.clone()).collect()
}

/// Those of the services whose image line names the variable, and that do not only happen to have the same tag. Where
/// the project can be read only with its variables filled in, that is not known, and all are taken.
async fn written_with(
    compose: &Compose,
    service: &settings::Service,
    variable: &str,
    mut services: BTreeSet<String>,
) -> Result<BTreeSet<String>, Cause> {
    let written = match as_written(compose, service).await {
        Ok(written) => written,
        Err(_) if service.tag_variable.is_some() => return Ok(services),
        Err(cause) => return Err(cause),
    };
    services.retain(|name| {
        let image = written
            .services
            .get(name)
            .and_then(|one| one.image.as_ref());
        let template = image.and_then(|image| image_template(image).ok());
        template.is_some_and(|template| template.tag_variable == variable)
    });
    Ok(services)
}
