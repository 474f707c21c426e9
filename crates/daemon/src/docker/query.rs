//! Questions about containers.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use serde_json::Value;

use super::Docker;
use super::container::Container;
use super::error::DockerError;
use super::wire::percent_encoded;
use crate::labels;

impl Docker {
    /// The containers of one service of a Compose project, running or not, in no order.
    ///
    /// Containers of `docker compose run` do not belong to the service.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn service_containers(
        &self,
        project: &str,
        compose_service: &str,
    ) -> Result<Vec<Container>, DockerError> {
        self.listed(vec![
            format!("{}={project}", labels::PROJECT),
            format!("{}={compose_service}", labels::SERVICE),
            format!("{}=False", labels::ONE_OFF),
        ])
        .await
    }

    /// The containers that carry the label `key`, with this value if one is given, running or not.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn containers_labeled(
        &self,
        key: &str,
        value: Option<&str>,
    ) -> Result<Vec<Container>, DockerError> {
        let label = match value {
            Some(value) => format!("{key}={value}"),
            None => key.to_owned(),
        };
        self.listed(vec![label]).await
    }

    /// The container with this id or name; none if there is none.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn container(&self, id_or_name: &str) -> Result<Option<Container>, DockerError> {
        if !is_container_name(id_or_name) {
            return Ok(None);
        }
        let inspect = self
            .bollard
            .inspect_container(id_or_name, None::<InspectContainerOptions>);
        let answer = self
            .bounded("inspecting a container", self.bounds.call, async {
                inspect.await.map_err(DockerError::from)
            })
            .await;
        match answer {
            Ok(answer) => Ok(Container::from_docker(answer)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Docker's own description of the container with this id or name, every field of it; none if there is none.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub(crate) async fn container_description(
        &self,
        id_or_name: &str,
    ) -> Result<Option<Value>, DockerError> {
        if !is_container_name(id_or_name) {
            return Ok(None);
        }
        self.described(&format!("/containers/{id_or_name}/json"))
            .await
    }

    /// Docker's own description of the network with this id or name; none if there is none.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub(crate) async fn network_description(
        &self,
        id_or_name: &str,
    ) -> Result<Option<Value>, DockerError> {
        self.described(&format!("/networks/{}", percent_encoded(id_or_name)))
            .await
    }

    /// Docker's own description of the volume with this name; none if there is none.
    ///
    /// # Errors
    /// Whatever kept Docker from answering, the volume's driver included.
    pub(crate) async fn volume_description(
        &self,
        name: &str,
    ) -> Result<Option<Value>, DockerError> {
        self.described(&format!("/volumes/{}", percent_encoded(name)))
            .await
    }

    /// The directory in which Docker keeps everything, as Docker sees the machine's files.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub(crate) async fn root_directory(&self) -> Result<Option<PathBuf>, DockerError> {
        let info = self.described("/info").await?.unwrap_or_default();
        let root = info["DockerRootDir"].as_str();
        Ok(root.filter(|root| !root.is_empty()).map(PathBuf::from))
    }

    /// Whether this machine is part of a swarm.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub(crate) async fn is_in_a_swarm(&self) -> Result<bool, DockerError> {
        let info = self.described("/info").await?.unwrap_or_default();
        let state = info["Swarm"]["LocalNodeState"].as_str();
        Ok(state.is_some_and(|state| !matches!(state, "" | "inactive")))
    }

    async fn described(&self, path: &str) -> Result<Option<Value>, DockerError> {
        let described = self.bounded(
            "asking for a description",
            self.bounds.call,
            self.wire.get_json(path),
        );
        match described.await {
            Ok(described) => Ok(Some(described)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn listed(&self, labels: Vec<String>) -> Result<Vec<Container>, DockerError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), labels)])),
            ..Default::default()
        };
        let list = self.bollard.list_containers(Some(options));
        let found = self
            .bounded("listing containers", self.bounds.call, async {
                list.await.map_err(DockerError::from)
            })
            .await?;
        let mut containers = Vec::with_capacity(found.len());
        for id in found.into_iter().filter_map(|summary| summary.id) {
            // One that vanishes between the two questions is not there.
            containers.extend(self.container(&id).await?);
        }
        Ok(containers)
    }
}

/// Whether `text` can name a container at all; anything else would become another path of the API.
pub(super) fn is_container_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_ids_reach_the_path() {
        for fine in ["shop-app-1", "0a1b", "a.b_c-1"] {
            assert!(is_container_name(fine), "{fine}");
        }
        for bad in ["", "..", "a/../b", "a?force=1", "-a", "ä", "a b", "a%2fb"] {
            assert!(!is_container_name(bad), "{bad}");
        }
    }
}
