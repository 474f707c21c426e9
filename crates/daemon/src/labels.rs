//! The labels by which a container says whose it is: Compose's own, and those that cutover adds.

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
/// Ours: the deployment that created the container.
pub const DEPLOYMENT: &str = "cutover.deployment";
/// Ours: the configured service.
pub const CONFIGURED_SERVICE: &str = "cutover.service";
/// Ours: a hash of what the container gets that Compose's hash does not cover.
pub const CONTENTS: &str = "cutover.contents";
/// Ours: the deployment that created the container again, in the place of a previous one.
pub const RECREATED_BY: &str = "cutover.recreated-by";
