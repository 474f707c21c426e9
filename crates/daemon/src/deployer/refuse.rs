//! What a deployment is refused for before anything is pulled.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::strategy::{SHARED_VOLUMES_HINT, Strategy, shared_volumes, strategy};
use cutover_core::switch::Order;

use super::context::Run;
use crate::docker::Container;
use crate::docker::container::Definition;
use crate::driver::docker_cause;
use crate::driver::one_off::release_command_refused;
use crate::driver::project::{ReleaseModel, ServiceModel};
use crate::settings;

/// What can be done about a service of the release that is not the configured one.
const OR_LEAVE_IT_OUT: &str =
    ", or say with `compose_services` which services of the project a release consists of";

/// What cannot be deployed yet, of any service of the release.
pub(super) fn refuse_unsupported(
    service: &settings::Service,
    release: &ReleaseModel,
) -> Result<(), Cause> {
    let refused = |detail: String| Cause::new(Code::UnsupportedStrategy, Step::Prepare, detail);
    for model in release.services() {
        let Strategy::Refused { why, hint } = strategy(&model.facts) else {
            continue;
        };
        let name = &model.compose_service;
        let or = match *name == release.lead().compose_service {
            true => "",
            false => OR_LEAVE_IT_OUT,
        };
        return Err(refused(format!("service `{name}`: {why}; {hint}{or}")));
    }
    match release_command_refused(service, release.lead()) {
        Some(why) => Err(refused(why.to_owned())),
        None => Ok(()),
    }
}

/// Volumes and host directories that two containers would write to at once.
pub(super) fn refuse_shared(
    model: &ServiceModel,
    old: &Definition,
    new: &Definition,
) -> Result<(), Cause> {
    let shared = old.writable.intersection(&new.writable);
    let shared: Vec<String> = shared.map(|one| format!("`{one}`")).collect();
    let is_allowed = model.order() == Order::StopFirst || model.facts.shared_volumes_allowed;
    if is_allowed || shared.is_empty() {
        return Ok(());
    }
    let (name, why) = (&model.compose_service, shared_volumes(&shared));
    let detail = format!("service `{name}`: {why}; {SHARED_VOLUMES_HINT}");
    Err(Cause::new(Code::UnsupportedStrategy, Step::Stage, detail))
}

/// A variable that is set nowhere, and would be missing where the previous container has a value by it.
pub(super) async fn refuse_unset(
    run: &Run,
    model: &ServiceModel,
    current: Option<&Container>,
) -> Result<(), Cause> {
    let unset = run
        .driver
        .unset_variables(&run.service, model, current)
        .await;
    let unset = unset.map_err(|error| docker_cause(Step::Prepare, &error))?;
    match unset.is_empty() {
        true => Ok(()),
        false => Err(Cause::new(
            Code::UnsetVariable,
            Step::Prepare,
            unset.join("; "),
        )),
    }
}
