//! Services that are not switched and are to be restarted with one that is: `depends_on` with `restart: true`, as of a proxy
//! that remembers an address.

use std::collections::BTreeSet;

use cutover_core::deployment::Event;

use super::context::Run;
use super::hooks;
use crate::driver::project::{Dependent, ReleaseModel};

/// Restarts the containers that run of services which are to be restarted with one of `switched`. One that cannot be
/// restarted is a warning.
pub(super) async fn restart_dependents(
    run: &mut Run,
    model: &ReleaseModel,
    switched: &BTreeSet<String>,
) {
    let mut restarted = Vec::new();
    for dependent in model.dependents() {
        if !dependent.with.iter().any(|one| switched.contains(one)) {
            continue;
        }
        match restart(run, model, dependent).await {
            Ok(0) => {}
            Ok(_) => restarted.push(dependent.service.clone()),
            Err(why) => {
                let what = format!(
                    "service `{}`, which is to be restarted with `{}`, could not be: {why}",
                    dependent.service,
                    dependent.with.join("`, `")
                );
                run.record.warn(what).await;
            }
        }
    }
    if !restarted.is_empty() {
        let services = restarted;
        let event = Event::DependentsRestarted { services };
        run.record.anyway(event).await;
    }
}

/// Restarts the containers of a service that run; how many.
async fn restart(
    run: &mut Run,
    model: &ReleaseModel,
    dependent: &Dependent,
) -> Result<usize, String> {
    let (project, service) = (&model.lead().project, &dependent.service);
    let present = run.driver.present(project, service).await;
    let present = present.map_err(|error| error.to_string())?;
    let mut count = 0;
    for container in present.current.iter().filter(|one| one.state.running) {
        let restarted = hooks::restart(run, model, service, &dependent.hooks, container).await;
        restarted.map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}
