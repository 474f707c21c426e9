//! The labels by which a container says whose it is: Compose's own, and those that cutover adds.

use cutover_core::made::Made;

use crate::docker::Container;

/// Compose's: the project.
pub const PROJECT: &str = "com.docker.compose.project";
/// Compose's: the service.
pub const SERVICE: &str = "com.docker.compose.service";
/// Compose's: the number of the container within the service, from 1.
pub const NUMBER: &str = "com.docker.compose.container-number";
/// Compose's: whether `docker compose run` made it, `True` or `False`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Compose's: a hash of the service's definition.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Compose's: the Compose files, separated by commas.
const FILES: &str = "com.docker.compose.project.config_files";
/// Compose's: what relative paths in the Compose files start from.
const DIRECTORY: &str = "com.docker.compose.project.working_dir";
/// Compose's: the env files that were named, separated by commas.
const ENV_FILES: &str = "com.docker.compose.project.environment_file";
/// Ours: the deployment that created the container.
pub const DEPLOYMENT: &str = "cutover.deployment";
/// Ours: the configured service.
pub const CONFIGURED_SERVICE: &str = "cutover.service";
/// Ours: whether the container is that of a job, which runs to its end.
pub const JOB: &str = "cutover.job";
/// Ours: that the container was created without the names by which its networks are to know the service.
pub const UNANNOUNCED: &str = "cutover.unannounced";
/// Ours: a hash of what the container gets that Compose's hash does not cover.
pub const CONTENTS: &str = "cutover.contents";
/// Ours: the deployment that created the container again, in the place of a previous one.
pub const RECREATED_BY: &str = "cutover.recreated-by";

/// How a container was made, as Compose wrote on it; none for one of `docker compose run`, and for one that Compose did
/// not make.
#[must_use]
pub fn made(container: &Container) -> Option<Made> {
    let label = |name: &str| container.labels.get(name).map(String::as_str);
    let text = |name: &str| label(name).unwrap_or_default();
    (label(ONE_OFF) != Some("True")).then_some(())?;
    let project = label(PROJECT)?;
    let (files, env_files) = (text(FILES), text(ENV_FILES));
    Some(Made::of_labels(project, files, text(DIRECTORY), env_files))
}
