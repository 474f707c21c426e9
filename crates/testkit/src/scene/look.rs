//! What is there: what the service answers, which containers Docker has, what Compose says by hand.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Scene, wire};

impl Scene {
    /// The version that answers on the published port; empty if none does.
    #[must_use]
    pub fn serves(&self) -> String {
        self.ask("/version").trim().to_owned()
    }

    /// What `GET path` on the published port answers; empty if nothing does.
    #[must_use]
    pub fn ask(&self, path: &str) -> String {
        ask(self.address(), path)
    }

    /// The rules of the packet filter that hold what comes to the project's services, in the calling thread's network
    /// namespace.
    ///
    /// # Panics
    /// If the rules cannot be listed.
    #[must_use]
    pub fn rules_of_hold(&self) -> Vec<String> {
        let owner = format!("cutover:{}/", self.project());
        let of = |program: &str| {
            let mut command = crate::world().packages.command(program);
            let listed = command.args(["-w", "5", "-t", "raw", "-S"]).output();
            let listed = listed.expect("the packet filter is listed").stdout;
            let text = String::from_utf8_lossy(&listed).into_owned();
            let lines = text.lines().filter(|line| line.contains(&owner));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        [of("iptables"), of("ip6tables")].concat()
    }

    /// The containers of the project, as Docker describes each.
    ///
    /// # Panics
    /// If Docker does not answer.
    #[must_use]
    pub fn containers(&self) -> Vec<Value> {
        self.try_containers().expect("Docker answers")
    }

    /// The same; `None` if Docker does not answer.
    #[must_use]
    pub fn try_containers(&self) -> Option<Vec<Value>> {
        let ids = self.container_ids()?;
        let each = ids.iter();
        let described = each.filter_map(|id| self.ask_docker(&format!("/containers/{id}/json")));
        Some(described.collect())
    }

    /// The ids of the project's containers; `None` if Docker does not answer.
    pub(super) fn container_ids(&self) -> Option<Vec<String>> {
        let filter = format!(
            "{{\"label\":[\"com.docker.compose.project={}\"]}}",
            self.project
        );
        let filter = filter
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22")
            .replace('[', "%5B")
            .replace(']', "%5D")
            .replace('=', "%3D");
        let list = self.ask_docker(&format!("/containers/json?all=1&filters={filter}"))?;
        let ids = list.as_array()?.iter();
        Some(
            ids.filter_map(|item| item["Id"].as_str().map(str::to_owned))
                .collect(),
        )
    }

    /// What Docker answers to a `GET`, as JSON; `None` for an error.
    #[must_use]
    pub fn ask_docker(&self, path: &str) -> Option<Value> {
        self.call_docker("GET", path)
            .filter(|(status, _)| *status < 300)
            .map(|(_, body)| body)
    }

    /// Asks Docker, with no fault in between, and returns status and body.
    pub fn call_docker(&self, method: &str, path: &str) -> Option<(u16, Value)> {
        wire::ask(&self.docker_socket, method, path)
    }

    pub(super) fn named(&self, kind: &str) -> Vec<String> {
        let list = self.ask_docker(&format!("/{kind}")).unwrap_or_default();
        let list = if kind == "volumes" {
            list["Volumes"].clone()
        } else {
            list
        };
        let of_project = |item: &&Value| {
            item["Labels"]["com.docker.compose.project"].as_str() == Some(&self.project)
        };
        list.as_array()
            .into_iter()
            .flatten()
            .filter(of_project)
            .filter_map(|item| item["Name"].as_str().map(str::to_owned))
            .collect()
    }

    /// The only container of the project.
    ///
    /// # Panics
    /// If there is another number of them.
    #[must_use]
    #[track_caller]
    pub fn container(&self) -> Value {
        let mut containers = self.containers();
        let names: Vec<_> = containers
            .iter()
            .map(|container| container["Name"].clone())
            .collect();
        assert_eq!(
            containers.len(),
            1,
            "containers: {names:?}\n{}",
            self.log_tail()
        );
        containers.remove(0)
    }

    /// Runs `docker compose` by hand in the project's directory; returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn compose(&self, arguments: &[&str]) -> String {
        match self.try_compose(arguments) {
            Ok(text) => text,
            Err(text) => panic!("docker compose {arguments:?}: {text}"),
        }
    }

    /// The same, whether it succeeds or not.
    ///
    /// # Errors
    /// What it printed, if it fails.
    ///
    /// # Panics
    /// If Compose cannot be started.
    pub fn try_compose(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(crate::world().compose(self.version))
            .args(arguments)
            .current_dir(self.project_directory())
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.docker_socket.display()),
            )
            .env_remove("APP_IMAGE_TAG")
            .envs(self.shell.iter().copied())
            .output()
            .expect("compose runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            Err(text)
        }
    }
}

/// What `GET path` at an address answers; empty if nothing does.
#[must_use]
pub fn ask(address: SocketAddr, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return String::new();
    };
    drop(stream.set_read_timeout(Some(Duration::from_secs(2))));
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    let mut text = String::new();
    if stream.write_all(request.as_bytes()).is_err() || stream.read_to_string(&mut text).is_err() {
        return String::new();
    }
    text.split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default()
}
