//! Looking at Docker as a bystander, and removing what the demo made.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Method, Url};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The oldest version of Docker's API that cutover works with, which is spoken here.
const API: &str = "v1.42";
/// Removing a container includes killing it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A Docker Engine on its unix socket.
#[derive(Debug)]
pub(crate) struct Docker {
    client: Client,
    runtime: Runtime,
}

/// What tells whether a container was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its id.
    pub(crate) id: String,
    /// When it was started last.
    pub(crate) started_at: String,
}

impl Docker {
    /// The engine at this socket; nothing is asked yet.
    pub(crate) fn at(socket: &Path) -> Result<Self> {
        let client = Client::builder()
            .unix_socket(socket)
            .tls_certs_only(std::iter::empty())
            .timeout(TIMEOUT)
            .build()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self { client, runtime })
    }

    /// What Docker says about itself, whatever versions of its API it speaks.
    pub(crate) fn ask(&self, path: &str) -> Result<Value> {
        let url = Url::parse("http://docker")?.join(path)?;
        self.send(Method::GET, url)
    }

    /// The only container of a service; none if it has none.
    pub(crate) fn container(&self, project: &str, service: &str) -> Result<Option<Identity>> {
        let labels = [
            format!("com.docker.compose.project={project}"),
            format!("com.docker.compose.service={service}"),
        ];
        let found = self.list("containers", &json!({ "label": labels }))?;
        ensure!(
            found.len() <= 1,
            "the service {service} has {} containers",
            found.len()
        );
        let Some(id) = found.first().and_then(|one| one["Id"].as_str()) else {
            return Ok(None);
        };
        let container = self.ask(&format!("/{API}/containers/{id}/json"))?;
        let started_at = container["State"]["StartedAt"].as_str();
        Ok(Some(Identity {
            id: id.to_owned(),
            started_at: started_at.context("Docker names no start")?.to_owned(),
        }))
    }

    /// Removes the containers, networks and volumes of a Compose project, and all images with a label.
    pub(crate) fn remove(&self, project: &str, image_label: &str) -> Result<()> {
        let of_project = json!({ "label": [format!("com.docker.compose.project={project}")] });
        for container in self.list("containers", &of_project)? {
            self.delete("containers", &container["Id"], "?force=1&v=1")?;
        }
        for network in self.list("networks", &of_project)? {
            self.delete("networks", &network["Id"], "")?;
        }
        for volume in self.list("volumes", &of_project)? {
            self.delete("volumes", &volume["Name"], "")?;
        }
        for image in self.list("images", &json!({ "label": [image_label] }))? {
            self.delete("images", &image["Id"], "?force=1")?;
        }
        Ok(())
    }

    fn list(&self, kind: &str, filters: &Value) -> Result<Vec<Value>> {
        let filters = filters.to_string();
        let path = match kind {
            "containers" | "images" => format!("http://docker/{API}/{kind}/json?all=1"),
            _ => format!("http://docker/{API}/{kind}"),
        };
        let mut url = Url::parse(&path)?;
        url.query_pairs_mut().append_pair("filters", &filters);
        let answer = self.send(Method::GET, url)?;
        let items = if kind == "volumes" {
            &answer["Volumes"]
        } else {
            &answer
        };
        Ok(items.as_array().cloned().unwrap_or_default())
    }

    fn delete(&self, kind: &str, name: &Value, query: &str) -> Result<()> {
        let name = name.as_str().context("Docker gives no name")?;
        let url = Url::parse(&format!("http://docker/{API}/{kind}/{name}{query}"))?;
        self.send(Method::DELETE, url).map(drop)
    }

    fn send(&self, method: Method, url: Url) -> Result<Value> {
        let (status, body) = self.runtime.block_on(async {
            let answer = self.client.request(method, url.clone()).send().await?;
            anyhow::Ok((answer.status(), answer.bytes().await?))
        })?;
        ensure!(
            status.is_success(),
            "Docker answered {status} to {}: {}",
            url.path(),
            String::from_utf8_lossy(&body)
        );
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}
