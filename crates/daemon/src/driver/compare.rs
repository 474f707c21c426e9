//! Whether the requested release already runs: the same reference, the same image, the same contents of what is
//! mounted or written in, and a container that Compose would leave as it is.
//!
//! `config --hash` says most of the time what Compose would compare. Not for every service: it leaves out
//! what is in an `env_file`, and older Compose counts in `depends_on`, which `up --no-deps` does not. So
//! where the hashes differ, Compose itself is asked, by an `up` that is refused every change.

use std::time::Duration;

use cutover_core::cause::{Cause, Step};
use cutover_core::deployment::PinnedImage;

use super::project::config_hash;
use super::staging::rewrite::Purpose;
use super::staging::view::View;
use super::{ComposeDriver, Target, docker_cause};
use crate::docker::Container;
use crate::labels;

/// Compose compares within a second; a hanging one must not use up the whole `progress_deadline`.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(60);

impl ComposeDriver {
    /// Whether `container` is what a deployment of `image` would make: same reference, same image, same
    /// Compose configuration. Changes nothing.
    ///
    /// # Errors
    /// [`Code::InvalidCompose`](cutover_core::cause::Code::InvalidCompose) when Compose cannot say.
    pub async fn is_same_release(
        &self,
        target: Target<'_>,
        container: &Container,
        image: &PinnedImage,
    ) -> Result<bool, Cause> {
        if container.image_ref != target.model.container_image || container.image_id != image.id {
            return Ok(false);
        }
        // A container that Compose made by hand says nothing about it.
        let contents = container.labels.get(labels::CONTENTS);
        if contents.is_some_and(|made_with| target.model.contents.as_ref() != Some(made_with)) {
            return Ok(false);
        }
        let hash = config_hash(&self.compose, target.service, target.model, target.tag).await?;
        if container.labels.get(labels::CONFIG_HASH) == Some(&hash) {
            return Ok(true);
        }
        self.is_up_to_date(target).await
    }

    /// Whether Compose ends well without asking for any change. If it fails, staging will fail as well and
    /// say why; here it only means that the release is not known to run.
    async fn is_up_to_date(&self, target: Target<'_>) -> Result<bool, Cause> {
        let model = target.model;
        let present = self.present(&model.project, &model.compose_service).await;
        let present = present.map_err(|error| docker_cause(Step::Prepare, &error))?;
        let present = present.up_to(model.replicas());
        let hidden = present.leftovers.iter().chain(present.hidden());
        let view = View::only_looking(hidden.map(|one| one.id.clone()).collect());
        // Compose compares in whose container's namespaces it runs; older ones only if they are told of that service.
        let with: Vec<&str> = model.shares_with.iter().map(String::as_str).collect();
        let (mut socket, mut compose) = self
            .up(&[target], view, &with, &Purpose::NewRelease)
            .await?;
        let bound = COMPARE_TIMEOUT.min(target.service.progress_deadline);
        let changes_nothing = async {
            tokio::select! {
                // A refusal arrives before Compose ends because of it.
                biased;
                _ = socket.arrival() => false,
                () = compose.wait() => true,
            }
        };
        if !tokio::time::timeout(bound, changes_nothing)
            .await
            .unwrap_or(false)
        {
            compose.stop().await;
            return Ok(false);
        }
        Ok(compose.output(bound).await.is_ok())
    }
}
