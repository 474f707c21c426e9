//! By which hash Compose recognises a container that it made, where that is another one for `docker compose up` by hand.
//!
//! Compose before 2.29.3 counts in which services a service depends on. It is told of the services of the release only,
//! and leaves the others out of the container's label, so that it would make the container again by hand.

use std::collections::BTreeMap;

use cutover_core::cause::Cause;
use cutover_core::names::Tag;

use super::ServiceModel;
use super::read::compose_cause;
use crate::driver::command::{Compose, Project};
use crate::program::ProgramError;
use crate::settings;

/// The label that Compose gives a container, and the one by which it would leave it as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::driver) struct HashByHand {
    /// The one that it writes when it is told of the services of the release only.
    pub(in crate::driver) written: String,
    /// The one that it compares with when it is told of all.
    pub(in crate::driver) by_hand: String,
}

/// The hashes of those of the `models` that depend on other services. Nothing is known of a service where Compose cannot
/// say: then its container keeps the label that Compose writes.
pub(in crate::driver) async fn hashes_by_hand(
    compose: &Compose,
    service: &settings::Service,
    models: &[&ServiceModel],
    tag: &Tag,
) -> BTreeMap<String, HashByHand> {
    let Some(laid_over) = without_others(models) else {
        return BTreeMap::new();
    };
    if !compose.counts_dependencies().await {
        return BTreeMap::new();
    }
    let both = async {
        let written = hashes(compose, service, models, tag, Some(laid_over));
        tokio::try_join!(written, hashes(compose, service, models, tag, None))
    };
    match both.await {
        Ok((written, mut by_hand)) => {
            let both = written.into_iter().filter_map(|(name, written)| {
                let by_hand = by_hand.remove(&name)?;
                Some((name, HashByHand { written, by_hand }))
            });
            both.collect()
        }
        Err(error) => {
            tracing::debug!(%error, "Compose does not say by which hash it recognises a container");
            BTreeMap::new()
        }
    }
}

/// A Compose file that takes out of each service what it depends on outside of the release; none where there is nothing
/// to take out.
fn without_others(models: &[&ServiceModel]) -> Option<String> {
    let is_own = |name: &String| models.iter().any(|one| one.compose_service == *name);
    let mut services = String::new();
    for model in models {
        if model.depends_on.keys().all(is_own) {
            continue;
        }
        let own = model.depends_on.iter().filter(|(name, _)| is_own(name));
        let own: serde_json::Map<_, _> = own.map(|(name, on)| (name.clone(), on.clone())).collect();
        // JSON is YAML, too.
        let (name, own) = (
            serde_json::Value::from(model.compose_service.as_str()),
            serde_json::Value::from(own),
        );
        services.push_str(&format!("  {name}:\n    depends_on: !override {own}\n"));
    }
    (!services.is_empty()).then(|| format!("services:\n{services}"))
}

/// What Compose would hash for the service with `tag`: equal to a container's label when Compose would
/// not recreate it.
///
/// # Errors
/// [`Code::InvalidCompose`](cutover_core::cause::Code::InvalidCompose) with Compose's own words.
pub(in crate::driver) async fn config_hash(
    compose: &Compose,
    service: &settings::Service,
    model: &ServiceModel,
    tag: &Tag,
) -> Result<String, Cause> {
    let mut hashes = hashes(compose, service, &[model], tag, None)
        .await
        .map_err(|error| compose_cause(service, &error))?;
    Ok(hashes.remove(&model.compose_service).unwrap_or_default())
}

/// The hash of each service.
async fn hashes(
    compose: &Compose,
    service: &settings::Service,
    models: &[&ServiceModel],
    tag: &Tag,
    laid_over: Option<String>,
) -> Result<BTreeMap<String, String>, ProgramError> {
    let variables = models.iter().map(|one| {
        let variable = &one.tag_variable;
        (variable.name.clone(), variable.value(tag.as_str()))
    });
    let mut project = Project::new(service, variables.collect());
    project.laid_over = laid_over;
    let names: Vec<&str> = models
        .iter()
        .map(|one| one.compose_service.as_str())
        .collect();
    let printed = compose
        .read(&project, &["config", "--hash", &names.join(",")])
        .await?;
    let lines = printed.lines().filter_map(|line| line.split_once(' '));
    Ok(lines
        .map(|(name, hash)| (name.to_owned(), hash.trim().to_owned()))
        .collect())
}
