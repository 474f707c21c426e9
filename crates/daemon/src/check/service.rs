//! Looks at one service as a deployment of it would.

use cutover_core::cause::Step;
use cutover_core::made::{Made, differences};
use cutover_core::names::Tag;
use cutover_core::strategy::{Strategy, strategy};

use super::Finding;
use crate::docker::credentials;
use crate::driver::one_off::release_command_refused;
use crate::driver::project::{ReleaseModel, ServiceModel};
use crate::driver::{Driver, docker_cause, env_file};
use crate::files::outside::Way;
use crate::labels;
use crate::plan::{jobs_before, stale_jobs};
use crate::probe::verify::Checks;
use crate::registry;
use crate::settings::{Service, Settings};

pub(super) async fn look(settings: &Settings, driver: &Driver, service: &Service) -> Vec<Finding> {
    let subject = format!("service {}", service.name);
    // Any sha will do: only the file is read.
    let Ok(tag) = Tag::new(&"0".repeat(40)) else {
        return Vec::new();
    };
    let model = match driver.read(service, &tag).await {
        Ok(model) => model,
        Err(cause) => {
            return vec![Finding::mistake(
                &subject,
                cause.detail,
                "change the Compose file or the configuration, then run `cutover check` again",
            )];
        }
    };
    let mut findings = look_at_release(&subject, service, &model);
    let lead = model.lead();
    if let Some(why) = release_command_refused(service, lead) {
        findings.push(Finding::mistake(&subject, why, ""));
    }
    findings.push(look_at_env_file(&subject, service, lead));
    let warnings = model.warnings();
    findings.extend(warnings.map(|what| Finding::warning(&subject, what, "")));
    findings.extend(look_at_neighbours(&subject, driver, service, &model).await);
    for one in model.services() {
        let subject = match one.compose_service == lead.compose_service {
            true => subject.clone(),
            false => format!("{subject}, {}", one.compose_service),
        };
        findings.extend(look_at_one(settings, driver, service, &subject, one).await);
    }
    findings
}

/// Which services and jobs a release has, where it is more than one service.
fn look_at_release(subject: &str, service: &Service, model: &ReleaseModel) -> Vec<Finding> {
    let (names, jobs) = (model.switched(), jobs_before(service, model));
    let variable = &model.lead().tag_variable.name;
    let mut findings = Vec::new();
    if names.len() > 1 {
        let what = format!(
            "a release is {} services, in this order: {} (their images name {variable})",
            names.len(),
            names.join(", ")
        );
        findings.push(Finding::fine(subject, what));
    }
    if !jobs.is_empty() {
        let what = format!(
            "before anything is stopped, these jobs run: {}",
            jobs.join(", ")
        );
        findings.push(Finding::fine(subject, what));
    }
    let dependents: Vec<&str> = model.dependents().map(|one| one.service.as_str()).collect();
    if !dependents.is_empty() {
        let what = format!(
            "after the commit, these services are restarted (`restart: true`): {}",
            dependents.join(", ")
        );
        findings.push(Finding::fine(subject, what));
    }
    let stale = stale_jobs(model);
    findings.extend(stale.map(|what| Finding::warning(subject, what, "")));
    let jobs_after = model.names_of_jobs_after();
    if !jobs_after.is_empty() {
        let what = format!(
            "after the commit, these jobs run: {}",
            jobs_after.join(", ")
        );
        findings.push(Finding::fine(subject, what));
    }
    findings
}

/// One service of the release.
async fn look_at_one(
    settings: &Settings,
    driver: &Driver,
    service: &Service,
    subject: &str,
    model: &ServiceModel,
) -> Vec<Finding> {
    let mut findings = vec![look_at_strategy(subject, model)];
    let is_lead = model.compose_service == service.compose_service;
    let repository = service.image_repository.as_deref().filter(|_| is_lead);
    if let Err(cause) = registry::allowed_repository(&model.image, repository) {
        findings.push(Finding::mistake(subject, cause.detail, cause.code.hint()));
    }
    findings.extend(look_at_credentials(settings, subject, model).await);
    findings.extend(look_at_what_runs(subject, driver, service, model).await);
    let present = driver.present(&model.project, &model.compose_service).await;
    let present = match present {
        Ok(present) => present.up_to(model.replicas()),
        Err(error) => {
            let cause = docker_cause(Step::Prepare, &error);
            findings.push(Finding::mistake(subject, cause.detail, cause.code.hint()));
            return findings;
        }
    };
    if let Some(container) = present.current.first() {
        let checks = Checks::new(service, model.monitor, container);
        if let Some((found, advice)) = checks.without_any() {
            findings.push(Finding::warning(subject, found, advice));
        }
    } else {
        let none = "has no container yet: the first deployment creates it";
        findings.push(Finding::fine(subject, none));
    }
    for container in &present.current {
        let (image, condition) = (&container.image_ref, container.condition());
        let what = match present.current.len() {
            1 => format!("runs {image} ({})", condition.as_str()),
            _ => format!("{} runs {image} ({})", container.name, condition.as_str()),
        };
        findings.push(Finding::fine(subject, what));
    }
    findings
}

fn look_at_strategy(subject: &str, model: &ServiceModel) -> Finding {
    let fine = |order: &str, because: &[String]| {
        let what = format!(
            "project {}, image by {}, {order}: {}",
            model.project,
            model.tag_variable.name,
            because.join("; ")
        );
        Finding::fine(subject, what)
    };
    match strategy(&model.facts) {
        Strategy::StopFirst { because } => fine("stop-first", &because),
        Strategy::StartFirst { because } => fine("start-first", &because),
        Strategy::Refused { why, hint } => Finding::mistake(subject, why, hint),
    }
}

async fn look_at_credentials(
    settings: &Settings,
    subject: &str,
    model: &ServiceModel,
) -> Option<Finding> {
    let registry = model
        .image
        .parse::<cutover_core::image::ImageRef>()
        .ok()?
        .registry()
        .to_owned();
    match credentials::for_registry(&settings.docker.config_directory, &registry).await {
        Ok(Some(_)) => Some(Finding::fine(
            subject,
            format!("credentials for {registry}"),
        )),
        Ok(None) => Some(Finding::fine(
            subject,
            format!("no credentials for {registry}: pulls are anonymous"),
        )),
        Err(error) => Some(Finding::mistake(
            subject,
            error.to_string(),
            format!("run `docker login {registry}` as the user that runs cutover"),
        )),
    }
}

fn look_at_env_file(subject: &str, service: &Service, model: &ServiceModel) -> Finding {
    let (variable, keeps) = (&model.tag_variable.name, model.tag_variable.keeps());
    match env_file::rehearse(service, model) {
        Ok((path, Way::Replaced)) => Finding::fine(
            subject,
            format!("{variable} keeps the {keeps} in {}", path.display()),
        ),
        Ok((path, Way::InPlace)) => Finding::fine(
            subject,
            format!(
                "{variable} keeps the {keeps} in {}, which is written in its place (it has other names or is a mount point, or its directory cannot be written): a power cut in that moment can damage it",
                path.display()
            ),
        ),
        Err(error) => Finding::mistake(
            subject,
            error.to_string(),
            "let the user that runs cutover read and write it, so that `docker compose up` by hand keeps the release",
        ),
    }
}

/// The other services whose definition changes with the tag of the release.
async fn look_at_neighbours(
    subject: &str,
    driver: &Driver,
    service: &Service,
    model: &ReleaseModel,
) -> Vec<Finding> {
    match driver.neighbours(service, model).await {
        Ok(neighbours) => neighbours
            .iter()
            .map(|neighbour| Finding::warning(subject, neighbour.to_string(), ""))
            .collect(),
        Err(cause) => vec![Finding::warning(
            subject,
            format!("the other services were not compared: {}", cause.detail),
            "",
        )],
    }
}

/// Whether what runs of the service was made of the same files as are configured, under the same project's name.
async fn look_at_what_runs(
    subject: &str,
    driver: &Driver,
    service: &Service,
    model: &ServiceModel,
) -> Vec<Finding> {
    // What Docker says of itself is among the findings already.
    let found = driver
        .docker()
        .containers_labeled(labels::SERVICE, Some(&model.compose_service));
    let found = found.await.unwrap_or_default();
    let running: Vec<Made> = found.iter().filter_map(labels::made).collect();
    let configured = Made {
        project: model.project.clone(),
        files: service.compose_files.clone(),
        directory: model.directory.clone(),
        env_files: service.env_files.clone(),
    };
    let differences = differences(&running, &configured).into_iter();
    differences
        .map(|difference| Finding::warning(subject, difference.found, difference.advice))
        .collect()
}
