//! Those settings of a service that are one of a few words.

use cutover_core::admission::WhenBusy;

use super::service::Service;
use super::table::Table;

/// What a release that fails may be followed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WayBack {
    /// The very same container; where that cannot be started again, a new one of the previous image in the present
    /// definition of the service.
    #[default]
    PreviousImage,
    /// The very same container only.
    SameContainer,
}

/// What a variable of the Compose file that is set nowhere means for a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnsetVariables {
    /// A warning, unless the previous container had a value by it: then the deployment is refused.
    #[default]
    Warn,
    /// The deployment is refused.
    Refuse,
}

/// What is shown of what the containers of a service write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// All of it, with secrets covered.
    #[default]
    Masked,
    /// All of it as it is.
    Full,
    /// Nothing.
    None,
}

/// How the services of a release are switched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Switch {
    /// In the order in which they depend on each other, each proven before the next one is touched.
    #[default]
    InOrder,
    /// All at once.
    Together,
}

/// Whether a job that was cut short, because cutover died, may run again by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JobReruns {
    /// The deployment fails, and somebody decides.
    #[default]
    Never,
    /// The deployment is begun anew, and with it the job.
    Safe,
}

/// Which container goes first in a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The old one stops, then the new one starts.
    StopFirst,
    /// The new one starts, then the old one stops.
    StartFirst,
}

/// Whether two containers may write to the same volumes and host directories for a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SharedVolumes {
    /// They may not, so such a service is not switched start-first.
    #[default]
    Refused,
    /// The application allows for it.
    Allowed,
}

/// When a new container that is started beside the old one gets the names by which its networks know the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aliases {
    /// When it is proven.
    WhenProven,
    /// Like any other container, when it is started.
    AtStart,
}

/// Reads them all.
pub(super) fn read(table: &Table<'_>, service: &mut Service) {
    service.order = table.get("order").and_then(|value| {
        value.choice(&[
            ("stop-first", Order::StopFirst),
            ("start-first", Order::StartFirst),
        ])
    });
    let shared = table.get("shared_volumes").and_then(|value| {
        value.choice(&[
            ("refused", SharedVolumes::Refused),
            ("allowed", SharedVolumes::Allowed),
        ])
    });
    service.shared_volumes = shared.unwrap_or_default();
    service.aliases = table.get("aliases").and_then(|value| {
        value.choice(&[
            ("when-proven", Aliases::WhenProven),
            ("at-start", Aliases::AtStart),
        ])
    });
    let switch = table.get("switch").and_then(|value| {
        value.choice(&[
            ("in-order", Switch::InOrder),
            ("together", Switch::Together),
        ])
    });
    service.switch = switch.unwrap_or_default();
    let reruns = table
        .get("job_reruns")
        .and_then(|value| value.choice(&[("never", JobReruns::Never), ("safe", JobReruns::Safe)]));
    service.job_reruns = reruns.unwrap_or_default();
    let busy = table
        .get("when_busy")
        .and_then(|value| value.choice(&[("wait", WhenBusy::Wait), ("refuse", WhenBusy::Refuse)]));
    service.when_busy = busy.unwrap_or_default();
    let way_back = table.get("way_back").and_then(|value| {
        value.choice(&[
            ("previous-image", WayBack::PreviousImage),
            ("same-container", WayBack::SameContainer),
        ])
    });
    service.way_back = way_back.unwrap_or_default();
    let unset = table.get("unset_variables").and_then(|value| {
        value.choice(&[
            ("warn", UnsetVariables::Warn),
            ("refuse", UnsetVariables::Refuse),
        ])
    });
    service.unset_variables = unset.unwrap_or_default();
    let output = table.get("output").and_then(|value| {
        value.choice(&[
            ("masked", Output::Masked),
            ("full", Output::Full),
            ("none", Output::None),
        ])
    });
    service.output = output.unwrap_or_default();
}
