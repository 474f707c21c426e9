//! Asks Compose for a project as JSON.
//!
//! Compose reads the env files of every service for that, also of those that it would not touch. So that a missing file
//! of a neighbour keeps nobody from deploying, the project is read once more with the env files of all services taken
//! out that have another image variable.

use std::collections::BTreeMap;

use cutover_core::cause::Cause;
use cutover_core::compose_warnings::compose_warnings;
use cutover_core::template::image_template;
use serde::de::DeserializeOwned;

use super::file::WrittenFile;
use super::{invalid, secrets};
use crate::driver::command::{Compose, Project};
use crate::program::ProgramError;
use crate::settings;

/// Prints the project as JSON.
const CONFIG: &[&str] = &["config", "--format", "json"];

/// Leaves the variables in their places.
const AS_WRITTEN: &[&str] = &["--no-interpolate"];

/// The project with its variables in place. Compose leaves some of it in the forms that it was written
/// in, lists where the rendered project has maps, so only what is needed is read.
pub(super) async fn as_written(
    compose: &Compose,
    service: &settings::Service,
) -> Result<WrittenFile, Cause> {
    let project = Project::new(service, BTreeMap::new());
    Ok(once(compose, &project, AS_WRITTEN).await?.0)
}

/// The project with its variables filled in.
pub(super) async fn config<T: DeserializeOwned>(
    compose: &Compose,
    project: &Project<'_>,
) -> Result<T, Cause> {
    Ok(config_and_warnings(compose, project).await?.0)
}

/// The same, with what Compose warns of.
pub(super) async fn config_and_warnings<T: DeserializeOwned>(
    compose: &Compose,
    project: &Project<'_>,
) -> Result<(T, Vec<String>), Cause> {
    let cause = match once(compose, project, &[]).await {
        Ok(read) => return Ok(read),
        Err(cause) => cause,
    };
    let service = project.service;
    let Ok(written) = as_written(compose, service).await else {
        return Err(cause);
    };
    let Some(laid_over) = without_env_files(&written, service) else {
        return Err(cause);
    };
    let mut apart = Project::new(service, project.variables.clone());
    apart.laid_over = Some(laid_over);
    let (file, mut warnings) = once(compose, &apart, &[]).await?;
    let words = cause.detail.split_once(" failed: ");
    let words = words.map_or(cause.detail.as_str(), |(_, words)| words);
    warnings.push(format!(
        "{words}; that file is another service's, so deployments go on, and `docker compose up` of the whole project by hand does not"
    ));
    Ok((file, warnings))
}

/// A Compose file that takes the env files out of every service that is not part of the release; none where no other
/// has any.
fn without_env_files(written: &WrittenFile, service: &settings::Service) -> Option<String> {
    let variable = |name: &str| {
        let image = written.services.get(name)?.image.as_ref()?;
        Some(image_template(image).ok()?.tag_variable)
    };
    let lead = &service.compose_service;
    let of_release = service.tag_variable.clone().or_else(|| variable(lead));
    let is_own = |name: &String| {
        let configured = &service.compose_services;
        name == lead
            || match configured.is_empty() {
                true => of_release.is_some() && variable(name) == of_release,
                false => configured.contains(name),
            }
    };
    let mut text = String::from("services:\n");
    let empty = text.len();
    for (name, service) in &written.services {
        if !is_own(name) && service.rest.contains_key("env_file") {
            // A text in JSON is one in YAML.
            let name = serde_json::Value::from(name.as_str());
            text.push_str(&format!("  {name}:\n    env_file: !reset null\n"));
        }
    }
    (text.len() > empty).then_some(text)
}

async fn once<T: DeserializeOwned>(
    compose: &Compose,
    project: &Project<'_>,
    options: &[&str],
) -> Result<(T, Vec<String>), Cause> {
    let service = project.service;
    let printed = compose
        .printed(project, &[CONFIG, options].concat())
        .await
        .map_err(|error| compose_cause(service, &error))?;
    let warnings = compose_warnings(&printed.stderr).into_iter();
    let told = warnings.map(|warning| secrets::shown(service, &warning));
    Ok((parse(service, &printed.stdout)?, told.collect()))
}

pub(super) fn compose_cause(service: &settings::Service, error: &ProgramError) -> Cause {
    invalid(secrets::shown(service, &error.to_string()))
}

fn parse<T: DeserializeOwned>(service: &settings::Service, json: &str) -> Result<T, Cause> {
    serde_json::from_str(json).map_err(|error| {
        invalid(format!(
            "the project of service `{}` is not what Compose documents: {error}",
            service.name
        ))
    })
}
