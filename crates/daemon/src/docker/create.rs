//! Creates a container again from Docker's own description of it: the way back when somebody has removed
//! the previous container.
//!
//! A description is taken while the container exists, kept (it holds secrets, so not in the journal), and
//! turned into an order of Docker's when it is needed. New releases are created by Compose alone.

mod description;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::container::Container;
use super::effects::ATTEMPTS_MAX;
use super::error::DockerError;
use super::query::is_container_name;
use super::wire::percent_encoded;
use super::{AnonymousVolumes, ApiVersion, Docker};

/// Everything that Docker must be told to create a container again as it described it.
///
/// It holds the container's environment, and with it secrets: its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateConfiguration {
    image_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// The network that it is created in; the older API connects the others afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    main_network: Option<String>,
    /// By the names of the networks.
    endpoints: Map<String, Value>,
    /// The names of its volumes, of which Docker would create an empty one where one is gone.
    volumes: Vec<String>,
    /// The rest, in the form of the request.
    body: Map<String, Value>,
}

impl fmt::Debug for CreateConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CreateConfiguration([hidden])")
    }
}

impl CreateConfiguration {
    /// The id of the image that the container was created from, `sha256:…`.
    #[must_use]
    pub fn image_id(&self) -> &str {
        &self.image_id
    }

    /// The image reference that it was created from.
    #[must_use]
    pub fn image_ref(&self) -> &str {
        self.body["Image"].as_str().unwrap_or_default()
    }

    /// How the container is connected to this network.
    pub(super) fn endpoint(&self, network: &str) -> Value {
        self.endpoints.get(network).cloned().unwrap_or(json!({}))
    }

    /// The same for a one-off container that runs `command`: without ports, and without the addresses and names by which
    /// others reach the container.
    #[must_use]
    pub fn one_off(mut self, command: &[String]) -> Self {
        self.body.insert("Cmd".into(), json!(command));
        if let Some(host) = self
            .body
            .get_mut("HostConfig")
            .and_then(Value::as_object_mut)
        {
            host.remove("PortBindings");
            host.insert("PublishAllPorts".into(), json!(false));
        }
        self.body.remove("MacAddress");
        for endpoint in self.endpoints.values_mut().filter_map(Value::as_object_mut) {
            for own in ["Aliases", "IPAMConfig", "MacAddress"] {
                endpoint.remove(own);
            }
        }
        self
    }

    /// The body of the request for a Docker of this version.
    fn request(&self, api: ApiVersion, image: &str, labels: &[(&str, &str)]) -> Value {
        let mut body = self.body.clone();
        body.insert("Image".into(), json!(image));
        let labeled = body.entry("Labels").or_insert(Value::Null);
        if !labeled.is_object() {
            *labeled = json!({});
        }
        for (name, value) in labels {
            labeled[*name] = json!(value);
        }
        let mut endpoints = self.endpoints.clone();
        if api < ApiVersion::SEVERAL_NETWORKS {
            endpoints.retain(|name, _| Some(name) == self.main_network.as_ref());
            // An endpoint has no MAC address of its own yet.
            let main = endpoints.values_mut().find_map(Value::as_object_mut);
            if let Some(mac) = main.and_then(|main| main.remove("MacAddress")) {
                body.insert("MacAddress".into(), mac);
            }
        }
        body.insert(
            "NetworkingConfig".into(),
            json!({ "EndpointsConfig": endpoints }),
        );
        body.into()
    }
}

impl Docker {
    /// How to create the container with this id again; none if there is no such container.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn create_configuration(
        &self,
        id: &str,
    ) -> Result<Option<CreateConfiguration>, DockerError> {
        let Some(described) = self.container_description(id).await? else {
            return Ok(None);
        };
        let host_name = if described["HostConfig"]["NetworkMode"] == json!("host") {
            let info = self.wire.get_json("/info");
            let info = self.bounded("asking for the machine's name", self.bounds.call, info);
            info.await?["Name"].as_str().map(str::to_owned)
        } else {
            None
        };
        match description::read(&described, host_name.as_deref()) {
            Some(configuration) => Ok(Some(configuration)),
            None => Err(DockerError::unsupported(format!(
                "docker's description of the container {id} has no image or no configuration"
            ))),
        }
    }

    /// Makes sure that there is a container of this configuration under this name, with these labels beside its
    /// own and the restart policy `no`, and returns its id. It is not started.
    ///
    /// Its image is the recorded one: if its reference names another image by now, it is given back first.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] if the image, a volume or a network is gone; [`DockerError::Conflict`] if another container
    /// has the name; otherwise Docker's own words. A container may have been created all the same: calling again
    /// goes on with it.
    pub async fn create_again(
        &self,
        configuration: &CreateConfiguration,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<String, DockerError> {
        if !is_container_name(name) {
            return Err(DockerError::unsupported(format!(
                "`{name}` is not a name for a container"
            )));
        }
        let id = match self.labeled(name, labels).await? {
            Some(found) if found.image_id == configuration.image_id => found.id,
            Some(found) => return Err(other_image(&found, configuration)),
            None => self.create(configuration, name, labels).await?,
        };
        self.connect_networks(configuration, &id).await?;
        Ok(id)
    }

    /// The container with this name, if it has these labels.
    async fn labeled(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<Option<Container>, DockerError> {
        let has = |found: &Container, (label, value): &(&str, &str)| {
            found.labels.get(*label).is_some_and(|found| found == value)
        };
        let found = self.container(name).await?;
        Ok(
            found
                .filter(|found| found.name == name && labels.iter().all(|label| has(found, label))),
        )
    }

    async fn create(
        &self,
        configuration: &CreateConfiguration,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Result<String, DockerError> {
        self.ensure_volumes_exist(configuration).await?;
        let image = self.named_image(configuration).await?;
        let api = self.version().await?.negotiated;
        let body = configuration.request(api, &image, labels);
        let mut path = format!("/containers/create?name={name}");
        if let Some(platform) = &configuration.platform {
            path = format!("{path}&platform={}", percent_encoded(platform));
        }
        let mut attempt = 1;
        loop {
            let create = self.wire.post_json(&path, &body);
            let created = self.bounded("creating a container", self.bounds.start, create);
            let error = match created.await {
                Ok(_) => None,
                Err(error) if error.is_uncertain() => {
                    self.await_answer(&error).await?;
                    Some(error)
                }
                Err(error) => return Err(error),
            };
            if let Some(found) = self.labeled(name, labels).await? {
                if found.image_id == configuration.image_id {
                    return Ok(found.id);
                }
                // The reference was moved in this very moment.
                let removed = self.ensure_removed(&found.id, AnonymousVolumes::Keep);
                removed.await?;
                return Err(other_image(&found, configuration));
            }
            match error {
                Some(_lost) if attempt < ATTEMPTS_MAX => attempt += 1,
                Some(lost) => return Err(lost),
                None => {
                    return Err(DockerError::from_status(
                        404,
                        &format!("No such container: {name}, although docker created it"),
                    ));
                }
            }
        }
    }

    /// Docker creates an empty volume where one is gone, and the container would start without its content.
    async fn ensure_volumes_exist(
        &self,
        configuration: &CreateConfiguration,
    ) -> Result<(), DockerError> {
        for volume in &configuration.volumes {
            if self.volume_description(volume).await?.is_none() {
                return Err(DockerError::from_status(
                    404,
                    &format!("No such volume: {volume}"),
                ));
            }
        }
        Ok(())
    }

    /// How the recorded image is named in the order: by its reference, which is given back to it if another
    /// image has it by now, and by its id where the reference cannot be moved.
    async fn named_image(
        &self,
        configuration: &CreateConfiguration,
    ) -> Result<String, DockerError> {
        let (id, reference) = (configuration.image_id(), configuration.image_ref());
        match self.tag_image(id, reference).await {
            Ok(()) => Ok(reference.to_owned()),
            Err(DockerError::Unsupported { .. }) => Ok(id.to_owned()),
            Err(error) => Err(error),
        }
    }

    /// Connects the container to those of its networks that an older API does not take at the creation.
    async fn connect_networks(
        &self,
        configuration: &CreateConfiguration,
        id: &str,
    ) -> Result<(), DockerError> {
        for (network, endpoint) in &configuration.endpoints {
            let path = format!("/networks/{}/connect", percent_encoded(network));
            let body = json!({ "Container": id, "EndpointConfig": endpoint });
            let mut attempt = 1;
            while !self.is_connected(id, network).await? {
                let connect = self.wire.post_json(&path, &body);
                let connected = self.bounded("connecting a network", self.bounds.call, connect);
                match connected.await {
                    Err(lost) if lost.is_uncertain() && attempt < ATTEMPTS_MAX => {
                        self.await_answer(&lost).await?;
                    }
                    Err(error) => return Err(error),
                    Ok(_) if attempt == ATTEMPTS_MAX => {
                        return Err(DockerError::unsupported(format!(
                            "the container {id} is not connected to the network {network}, although docker said so"
                        )));
                    }
                    Ok(_) => {}
                }
                attempt += 1;
            }
        }
        Ok(())
    }

    async fn is_connected(&self, id: &str, network: &str) -> Result<bool, DockerError> {
        let described = self.container_description(id).await?;
        let described = described.unwrap_or_default();
        Ok(described["NetworkSettings"]["Networks"][network].is_object())
    }
}

fn other_image(found: &Container, configuration: &CreateConfiguration) -> DockerError {
    DockerError::unsupported(format!(
        "the container {} was created from the image {} and not from {}",
        found.name, found.image_id, configuration.image_id
    ))
}

#[cfg(test)]
mod tests;
