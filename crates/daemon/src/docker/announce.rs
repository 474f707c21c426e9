//! Giving a running container the names by which its networks are to know it.
//!
//! Docker takes names only when a container is connected, so it is disconnected first. It has another address
//! afterwards.

use std::collections::BTreeMap;

use serde_json::json;

use super::Docker;
use super::container::Container;
use super::effects::{ATTEMPTS_MAX, gone};
use super::error::DockerError;
use super::wire::percent_encoded;

/// The names that a container is to have, by the network's.
type Aliases = BTreeMap<String, Vec<String>>;

/// Whether the networks know `container` by all of these names.
#[must_use]
pub fn has_aliases(container: &Container, aliases: &Aliases) -> bool {
    let mut all = aliases.iter();
    all.all(|(network, aliases)| has_aliases_in(container, network, aliases))
}

fn has_aliases_in(container: &Container, network: &str, aliases: &[String]) -> bool {
    let known = container.aliases.get(network);
    known.is_some_and(|known| aliases.iter().all(|alias| known.contains(alias)))
}

impl Docker {
    /// Makes sure that the networks know the container by these names.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] if the container or a network is gone; otherwise Docker's own words. It may be
    /// disconnected then.
    pub async fn ensure_aliases(&self, id: &str, aliases: &Aliases) -> Result<(), DockerError> {
        for (network, aliases) in aliases {
            self.ensure_aliases_in(id, network, aliases).await?;
        }
        Ok(())
    }

    async fn ensure_aliases_in(
        &self,
        id: &str,
        network: &str,
        aliases: &[String],
    ) -> Result<(), DockerError> {
        let configuration = self.create_configuration(id).await?;
        let mut endpoint = configuration.ok_or_else(|| gone(id))?.endpoint(network);
        endpoint["Aliases"] = json!(aliases);
        let path = |verb: &str| format!("/networks/{}/{verb}", percent_encoded(network));
        let (mut lost, mut made) = (0, 0);
        loop {
            let found = self.container(id).await?.ok_or_else(|| gone(id))?;
            if has_aliases_in(&found, network, aliases) {
                return Ok(());
            }
            let (path, body) = match found.aliases.contains_key(network) {
                true => (path("disconnect"), json!({ "Container": id })),
                false => (
                    path("connect"),
                    json!({ "Container": id, "EndpointConfig": endpoint }),
                ),
            };
            let call = self.wire.post_json(&path, &body);
            let what = "connecting a container by its names";
            match self.bounded(what, self.bounds.call, call).await {
                Err(error) if error.is_uncertain() && lost < ATTEMPTS_MAX => {
                    lost += 1;
                    self.await_answer(&error).await?;
                }
                Err(error) => return Err(error),
                // One disconnects it, and one connects it.
                Ok(_) if made == 2 => {
                    return Err(DockerError::unsupported(format!(
                        "the container {id} does not have its names in the network {network}, although docker said so"
                    )));
                }
                Ok(_) => made += 1,
            }
        }
    }
}
