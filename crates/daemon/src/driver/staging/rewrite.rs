//! The three places where a body is changed on its way: a container that Compose creates, the list of
//! containers, and a new container's description.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use cutover_core::deployment::{Replica, RestartPolicy};
use cutover_core::names::DeploymentId;
use cutover_core::switch::name_of_recreated;

use super::bodies::DeclaredVolume;
use super::view::View;
use crate::driver::project::HashByHand;
use crate::labels;

/// Whose container may be created, and how it is marked.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) deployment: DeploymentId,
    pub(crate) purpose: Purpose,
    pub(crate) service: String,
    pub(crate) project: String,
    /// The services of the release.
    pub(crate) services: BTreeMap<String, MarkedService>,
    /// The volumes that the project declares, by Docker's names of them.
    pub(crate) volumes: BTreeMap<String, DeclaredVolume>,
}

/// How the container of one service is marked.
#[derive(Debug, Clone, Default)]
pub(crate) struct MarkedService {
    /// The hash of what it gets that its definition does not show.
    pub(crate) contents: Option<String>,
    /// How many containers of it may be created.
    pub(crate) replicas: usize,
    /// Whether it is a job.
    pub(crate) is_job: bool,
    /// The hash by which Compose recognises the container, where it writes another one.
    pub(crate) hash: Option<HashByHand>,
    /// Whether it is created without the names by which its networks are to know the service.
    pub(crate) is_announced_later: bool,
    /// Whether Compose is told at once that it runs: it is started when Compose has long ended.
    pub(crate) is_started_later: bool,
}

/// What the container is created for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is the new release.
    NewRelease,
    /// It comes in the place of a previous container that cannot be started again. Until then it has a name of its
    /// own, because the others still have theirs.
    Recreation {
        /// That container.
        replaces: Box<Replica>,
    },
}

impl Mark {
    /// The name under which the container is created that Compose wants to call `name`.
    pub(super) fn name_of(&self, name: &str) -> String {
        match &self.purpose {
            Purpose::NewRelease => name.to_owned(),
            Purpose::Recreation { replaces } => {
                name_of_recreated(&replaces.name, &replaces.container, &self.deployment)
            }
        }
    }

    fn label(&self) -> &'static str {
        match self.purpose {
            Purpose::NewRelease => labels::DEPLOYMENT,
            Purpose::Recreation { .. } => labels::RECREATED_BY,
        }
    }
}

/// Why a container is not created.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotCreated {
    /// It is none of the service's: what Compose wanted.
    Outside(String),
    /// Docker would not take its restart policy after the commit, when there is no way back: why.
    Policy(String),
}

/// What Compose asked for and does not get yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The service.
    pub(super) service: String,
    /// How many containers the service is to have.
    pub(super) replicas: usize,
    /// The restart policy.
    pub(super) policy: RestartPolicy,
    /// The names by which the networks are to know the container; none where it has them already.
    pub(super) aliases: BTreeMap<String, Vec<String>>,
}

/// Checks that this is a container of a service of the release, adds our labels, and sets its restart policy to `no`
/// for the trial. Compose wants to call it `name`.
pub(super) fn create_body(body: &mut Value, mark: &Mark, name: &str) -> Result<Asked, NotCreated> {
    let label = |name: &str| body["Labels"][name].as_str().unwrap_or_default().to_owned();
    let project = label(labels::PROJECT);
    let service = label(labels::SERVICE);
    let known = mark.services.get(&service);
    let Some(marked) = known.filter(|_| project == mark.project) else {
        let what = format!("create a container of service `{service}` in project `{project}`");
        return Err(NotCreated::Outside(what));
    };
    if label(labels::ONE_OFF).eq_ignore_ascii_case("true") {
        let what = "create a one-off container".to_owned();
        return Err(NotCreated::Outside(what));
    }
    let policy = restart_policy(&body["HostConfig"]["RestartPolicy"])?;
    body["Labels"][mark.label()] = json!(mark.deployment.as_str());
    body["Labels"][labels::CONFIGURED_SERVICE] = json!(mark.service);
    if let Purpose::Recreation { replaces } = &mark.purpose {
        take_place_of(replaces, body, name);
    }
    if marked.is_job {
        body["Labels"][labels::JOB] = json!("true");
    }
    if let Some(hash) = &marked.hash
        && body["Labels"][labels::CONFIG_HASH] == hash.written.as_str()
    {
        body["Labels"][labels::CONFIG_HASH] = json!(hash.by_hand);
    }
    if let Some(contents) = &marked.contents {
        body["Labels"][labels::CONTENTS] = json!(contents);
    }
    let mut aliases = BTreeMap::new();
    if marked.is_announced_later {
        body["Labels"][labels::UNANNOUNCED] = json!("true");
        let endpoints = body["NetworkingConfig"]["EndpointsConfig"].as_object_mut();
        for (network, endpoint) in endpoints.into_iter().flatten() {
            aliases.insert(network.clone(), take_aliases(endpoint));
        }
    }
    // Until the commit, a power cut must bring the old container back and not this one.
    body["HostConfig"]["RestartPolicy"] = json!({ "Name": "no", "MaximumRetryCount": 0 });
    Ok(Asked {
        replicas: marked.replicas,
        service,
        policy,
        aliases,
    })
}

/// Compose sees no other container and therefore calls this one, which is to be `name`, the first of its service.
fn take_place_of(replaces: &Replica, body: &mut Value, name: &str) {
    body["Labels"][labels::NUMBER] = json!(replaces.number.to_string());
    let endpoints = body["NetworkingConfig"]["EndpointsConfig"].as_object_mut();
    let endpoints = endpoints.into_iter().flatten();
    let aliases = endpoints.filter_map(|(_, endpoint)| endpoint["Aliases"].as_array_mut());
    for alias in aliases.flatten().filter(|alias| **alias == name) {
        *alias = json!(replaces.name);
    }
}

/// Takes the names out of how a container is connected to a network.
pub(super) fn take_aliases(endpoint: &mut Value) -> Vec<String> {
    let Some(endpoint) = endpoint.as_object_mut() else {
        return Vec::new();
    };
    let aliases = endpoint.remove("Aliases").unwrap_or_default();
    let aliases = aliases.as_array().into_iter().flatten();
    let aliases = aliases.filter_map(|alias| alias.as_str());
    aliases.map(str::to_owned).collect()
}

/// The policy that Compose asks for, if Docker's `update` takes it, which is stricter than `create`: a
/// policy without a name is none, whatever its number of retries.
fn restart_policy(asked: &Value) -> Result<RestartPolicy, NotCreated> {
    let name = asked["Name"].as_str().unwrap_or_default();
    let retries_max = asked["MaximumRetryCount"].as_i64().unwrap_or(0);
    let (name, retries_max) = match (name, retries_max) {
        ("", _) => ("no", 0),
        ("no" | "always" | "unless-stopped", 0) => (name, 0),
        ("on-failure", 0..) => (name, retries_max),
        _ => {
            return Err(NotCreated::Policy(format!(
                "Docker has no restart policy `{name}` with {retries_max} retries; they go with `on-failure`"
            )));
        }
    };
    Ok(RestartPolicy {
        name: name.to_owned(),
        retries_max,
    })
}

/// Leaves out what is hidden, and shows the new containers' names.
pub(super) fn list(containers: &mut Value, view: &View) {
    let Some(items) = containers.as_array_mut() else {
        return;
    };
    items.retain(|item| !item["Id"].as_str().is_some_and(|id| view.is_hidden(id)));
    for item in items {
        if let Some(name) = shown_name(item, view) {
            item["Names"] = json!([name]);
        }
    }
}

/// Shows a new container's name.
pub(super) fn inspect(container: &mut Value, view: &View) {
    if let Some(name) = shown_name(container, view) {
        container["Name"] = json!(name);
    }
}

/// The name that Compose is shown of this container, if it is a new one.
fn shown_name(container: &Value, view: &View) -> Option<String> {
    let id = container["Id"].as_str()?;
    let new = view.new_containers().iter().find(|new| new.id == id)?;
    Some(format!("/{}", new.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::staging::view::{Call, NewContainer, OldContainer};

    const ID: &str = "01938f3e-7c1a-7abc-8def-0123456789ab";

    fn mark() -> Mark {
        let marked = MarkedService {
            contents: Some("c0ffee".into()),
            hash: Some(HashByHand {
                written: "written".into(),
                by_hand: "by hand".into(),
            }),
            ..MarkedService::default()
        };
        Mark {
            deployment: DeploymentId::new(ID).expect("a UUID"),
            purpose: Purpose::NewRelease,
            service: "web".into(),
            project: "shop".into(),
            services: BTreeMap::from([("app".to_owned(), marked)]),
            volumes: BTreeMap::new(),
        }
    }

    #[test]
    fn a_container_is_recognised_by_the_hash_that_is_compared_by_hand() {
        for (written, kept) in [("written", "by hand"), ("another", "another")] {
            let mut body = body("shop", "app");
            body["Labels"][labels::CONFIG_HASH] = json!(written);
            create_body(&mut body, &mark(), "app-1").expect("our service");
            assert_eq!(body["Labels"][labels::CONFIG_HASH], kept);
        }
    }

    #[test]
    fn what_comes_in_the_place_of_another_has_a_name_and_a_label_of_its_own() {
        let mark = Mark {
            purpose: Purpose::Recreation {
                replaces: Box::new(Replica {
                    container: "cccccccccccc".to_owned(),
                    name: "app-2".to_owned(),
                    number: 2,
                    ..Replica::default()
                }),
            },
            ..mark()
        };
        let mut body = body("shop", "app");
        let aliases = json!({ "Aliases": ["app-1", "app"] });
        body["NetworkingConfig"] = json!({ "EndpointsConfig": { "shop_default": aliases } });
        create_body(&mut body, &mark, "app-1").expect("our service");
        assert_eq!(body["Labels"][labels::NUMBER], "2");
        let endpoints = &body["NetworkingConfig"]["EndpointsConfig"];
        assert_eq!(
            endpoints["shop_default"]["Aliases"],
            json!(["app-2", "app"])
        );
        assert_eq!(body["Labels"][labels::RECREATED_BY], ID);
        assert!(body["Labels"][labels::DEPLOYMENT].is_null());
        assert_eq!(body["Labels"][labels::CONTENTS], "c0ffee");
        assert_eq!(
            mark.name_of("app-1"),
            "app-2_cutover-456789ab-cccccccc-again"
        );
    }

    fn body(project: &str, service: &str) -> Value {
        json!({
            "Image": "shop:1",
            "Labels": {
                labels::PROJECT: project,
                labels::SERVICE: service,
                labels::ONE_OFF: "False"
            },
            "HostConfig": { "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 } }
        })
    }

    #[test]
    fn the_new_container_is_marked_and_does_not_start_by_itself() {
        let mut body = body("shop", "app");
        let asked = create_body(&mut body, &mark(), "app-1").expect("our service");
        assert_eq!(asked.service, "app");
        assert_eq!(
            asked.policy,
            RestartPolicy {
                name: "on-failure".into(),
                retries_max: 3
            }
        );
        assert_eq!(body["Labels"][labels::DEPLOYMENT], ID);
        assert_eq!(body["Labels"][labels::CONFIGURED_SERVICE], "web");
        assert_eq!(body["HostConfig"]["RestartPolicy"]["Name"], "no");
        assert_eq!(body["Image"], "shop:1");
    }

    #[test]
    fn one_that_is_announced_later_is_created_without_its_names() {
        let connected = || {
            let mut body = body("shop", "app");
            let endpoint = json!({ "Aliases": ["shop-app-1", "app"], "GwPriority": 1 });
            body["NetworkingConfig"] = json!({ "EndpointsConfig": { "shop_default": endpoint } });
            body
        };
        let mut at_start = connected();
        let asked = create_body(&mut at_start, &mark(), "app-1").expect("our service");
        assert!(asked.aliases.is_empty() && at_start["Labels"][labels::UNANNOUNCED].is_null());
        assert_eq!(
            at_start["NetworkingConfig"],
            connected()["NetworkingConfig"]
        );
        let mut mark = mark();
        let marked = mark.services.get_mut("app").expect("marked");
        marked.is_announced_later = true;
        let mut later = connected();
        let asked = create_body(&mut later, &mark, "app-1").expect("our service");
        let names = vec!["shop-app-1".to_owned(), "app".to_owned()];
        assert_eq!(asked.aliases, [("shop_default".to_owned(), names)].into());
        let endpoints = &later["NetworkingConfig"]["EndpointsConfig"];
        assert_eq!(endpoints["shop_default"], json!({ "GwPriority": 1 }));
        assert_eq!(later["Labels"][labels::UNANNOUNCED], "true");
    }

    #[test]
    fn a_restart_policy_that_docker_would_refuse_after_the_commit_is_refused_here() {
        let asked = |name: &str, retries: i64| {
            let mut body = body("shop", "app");
            body["HostConfig"]["RestartPolicy"] =
                json!({ "Name": name, "MaximumRetryCount": retries });
            create_body(&mut body, &mark(), "app-1")
        };
        for (name, retries, expected) in [
            ("", 3, ("no", 0)),
            ("no", 0, ("no", 0)),
            ("always", 0, ("always", 0)),
            ("on-failure", 3, ("on-failure", 3)),
        ] {
            let policy = asked(name, retries).expect("taken by Docker").policy;
            assert_eq!((policy.name.as_str(), policy.retries_max), expected);
        }
        for (name, retries) in [
            ("always", 3),
            ("unless-stopped", 1),
            ("no", 2),
            ("on-failure", -1),
            ("sometimes", 0),
        ] {
            let refused = asked(name, retries);
            assert!(
                matches!(refused, Err(NotCreated::Policy(_))),
                "{name} {retries}: {refused:?}"
            );
        }
    }

    #[test]
    fn containers_of_others_are_not_created() {
        for (project, service) in [("shop", "db"), ("other", "app"), ("", "")] {
            let mut body = body(project, service);
            assert!(
                matches!(
                    create_body(&mut body, &mark(), "app-1"),
                    Err(NotCreated::Outside(_))
                ),
                "{project} {service}"
            );
        }
        let mut one_off = body("shop", "app");
        one_off["Labels"][labels::ONE_OFF] = json!("True");
        assert!(create_body(&mut one_off, &mark(), "app-1").is_err());
    }

    #[test]
    fn the_list_shows_what_compose_believes() {
        let (old, new) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
        let replaced = OldContainer {
            id: old.into(),
            name: "shop-app-1".into(),
            service: "app".into(),
            is_stopped_early: false,
            is_removed_early: false,
        };
        let mut view = View::new(vec![replaced], vec!["parked".into()]);
        view.created(NewContainer::created(new, "app", "tmp_shop-app-1"));
        let shown = |view: &View| {
            let mut containers = json!([
                { "Id": old, "Names": ["/shop-app-1"] },
                { "Id": new, "Names": ["/tmp_shop-app-1"] },
                { "Id": "parked", "Names": ["/shop-app-1_cutover-1234"] },
                { "Id": "other", "Names": ["/shop-db-1"] }
            ]);
            list(&mut containers, view);
            let names: Vec<_> = containers
                .as_array()
                .into_iter()
                .flatten()
                .map(|item| item["Names"][0].clone())
                .collect();
            names
        };
        assert_eq!(
            shown(&view),
            ["/shop-app-1", "/tmp_shop-app-1", "/shop-db-1"]
        );
        let path = format!("/containers/{old}");
        view.decide(Call {
            method: "DELETE",
            path: &path,
            query: "",
        });
        let path = format!("/containers/{new}/rename");
        view.decide(Call {
            method: "POST",
            path: &path,
            query: "name=shop-app-1",
        });
        assert_eq!(shown(&view), ["/shop-app-1", "/shop-db-1"]);
    }
}
