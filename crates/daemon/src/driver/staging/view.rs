//! What Compose may do and what it is shown, decided without I/O.
//!
//! Compose replaces a container in four calls: create the new one under a temporary name, stop the old
//! one, remove it, rename the new one; then it starts the new one. Here the middle three are only
//! believed: the [`View`] remembers that Compose was told so, and from then on shows Docker's answers as
//! if they had happened. Everything that would change anything else is refused. Where a release has several
//! services, Compose creates the containers of all of them before it starts any.

use std::collections::{BTreeMap, HashMap, HashSet};

use cutover_core::deployment::RestartPolicy;

/// A container that exists before Compose begins, and is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::driver) struct OldContainer {
    pub(in crate::driver) id: String,
    pub(in crate::driver) name: String,
    /// Its Compose service.
    pub(in crate::driver) service: String,
    /// Whether Compose stops it before it replaces it: it is to be restarted with another service of the release, or runs
    /// in a namespace of that.
    pub(in crate::driver) is_stopped_early: bool,
    /// Whether Compose may remove it before it creates anything: its service has more containers than it is to have.
    pub(in crate::driver) is_removed_early: bool,
}

/// A container that Compose created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::driver) struct NewContainer {
    pub(in crate::driver) id: String,
    /// Its Compose service.
    pub(in crate::driver) service: String,
    /// The name that it has in Docker.
    pub(super) created_name: String,
    /// The name that Compose believes it has.
    pub(in crate::driver) name: String,
    /// The restart policy that the Compose file asks for.
    pub(in crate::driver) restart_policy: RestartPolicy,
    /// The names by which its networks are to know it, where it was created without them.
    pub(in crate::driver) aliases: BTreeMap<String, Vec<String>>,
}

impl NewContainer {
    /// One of `service` with this id, as it was created.
    pub(super) fn created(id: &str, service: &str, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            service: service.to_owned(),
            created_name: name.to_owned(),
            name: name.to_owned(),
            restart_policy: RestartPolicy::default(),
            aliases: BTreeMap::new(),
        }
    }

    fn is_meant(&self, reference: &str) -> bool {
        names(reference, &self.id, &self.name) || reference == self.created_name
    }
}

/// A container that is to be replaced, and whether Compose believes that it is gone.
#[derive(Debug)]
struct Old {
    container: OldContainer,
    is_gone: bool,
}

/// What Compose has been led to believe so far.
#[derive(Debug)]
pub(in crate::driver) struct View {
    old: Vec<Old>,
    /// The ids of containers that Compose never gets to see.
    parked: Vec<String>,
    new: Vec<NewContainer>,
    /// How many containers Compose creates, or has created, of each service.
    claimed: HashMap<String, usize>,
    /// Whether every change is refused.
    only_looking: bool,
    execs: HashSet<String>,
}

/// What to do with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Pass it to Docker, and the answer back.
    Forward,
    /// Pass it to Docker; hide the old containers and show the new ones' names in the list.
    ForwardList,
    /// Pass it to Docker; show the name of the new container, which it is about, in the answer.
    ForwardInspectNew,
    /// Pass it to Docker after checking and marking the new container in its body.
    Create {
        /// The name that Compose asks for.
        name: String,
    },
    /// Pass it to Docker and remember the id of the command that it creates in a new container.
    CreateExec,
    /// Pass it to Docker if its body names a new container.
    NetworkConnect,
    /// Pass it to Docker if its body names a volume as the project declares it.
    VolumeCreate,
    /// Answer `204` without asking Docker.
    Believed,
    /// Answer `404` as Docker does for a container that is gone.
    Gone {
        /// How Compose named it.
        name: String,
    },
    /// The switch of one service.
    Start {
        /// The id of the new container.
        container: String,
    },
    /// Refuse: this would change something outside the service.
    Refuse {
        /// What, for a person.
        what: String,
    },
}

/// One call, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    /// The path without the version.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

impl View {
    /// A view in which the `old` ones are the containers to be replaced, and those with the ids `parked` do
    /// not exist.
    pub(in crate::driver) fn new(old: Vec<OldContainer>, parked: Vec<String>) -> Self {
        let old = old.into_iter().map(|container| Old {
            container,
            is_gone: false,
        });
        Self {
            old: old.collect(),
            parked,
            new: Vec::new(),
            claimed: HashMap::new(),
            only_looking: false,
            execs: HashSet::new(),
        }
    }

    /// A view in which those with the ids `parked` do not exist, and in which nothing may be changed.
    pub(in crate::driver) fn only_looking(parked: Vec<String>) -> Self {
        Self {
            only_looking: true,
            ..Self::new(Vec::new(), parked)
        }
    }

    pub(super) fn created(&mut self, new: NewContainer) {
        self.new.push(new);
    }

    pub(super) fn exec_created(&mut self, id: &str) {
        self.execs.insert(id.to_owned());
    }

    /// The containers that Compose created.
    pub(super) fn new_containers(&self) -> &[NewContainer] {
        &self.new
    }

    /// Whether Compose may create a container of this service, which is to have so many `replicas`.
    pub(super) fn may_create(&mut self, service: &str, replicas: usize) -> bool {
        let claimed = self.claimed.entry(service.to_owned()).or_default();
        *claimed += 1;
        *claimed <= replicas
    }

    /// A new container was connected to a network that is to know it by these names.
    pub(super) fn connected(&mut self, id: &str, network: &str, aliases: Vec<String>) {
        if let Some(new) = self.new.iter_mut().find(|new| new.id == id) {
            new.aliases.insert(network.to_owned(), aliases);
        }
    }

    /// The service of the new container with this id.
    pub(super) fn service_of(&self, id: &str) -> Option<String> {
        let new = self.new.iter().find(|new| new.id == id)?;
        Some(new.service.clone())
    }

    pub(super) fn is_new(&self, reference: &str) -> bool {
        self.new_of(reference).is_some()
    }

    fn new_of(&self, reference: &str) -> Option<&NewContainer> {
        self.new.iter().find(|new| new.is_meant(reference))
    }

    /// Whether the container with this id is not to be seen: one that is put aside, or an old one once
    /// Compose believes that it is gone.
    pub(super) fn is_hidden(&self, id: &str) -> bool {
        let mut gone = self.old.iter().filter(|old| old.is_gone);
        gone.any(|old| old.container.id == id) || self.parked.iter().any(|parked| parked == id)
    }

    fn old_of(&mut self, reference: &str) -> Option<&mut Old> {
        self.old
            .iter_mut()
            .find(|old| names(reference, &old.container.id, &old.container.name))
    }

    /// Decides about one call and remembers what Compose is told.
    pub(super) fn decide(&mut self, call: Call<'_>) -> Decision {
        let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match (call.method, parts.as_slice()) {
            ("GET" | "HEAD", ["containers", "json"]) => Decision::ForwardList,
            ("GET" | "HEAD", ["containers", reference, rest @ ..]) => {
                self.look_at(call, reference, rest)
            }
            ("GET" | "HEAD", looked_at) if is_readable(looked_at) => Decision::Forward,
            _ if self.only_looking => refuse(call),
            ("POST", ["containers", "create"]) => Decision::Create {
                name: name_in(call.query).unwrap_or_default().to_owned(),
            },
            ("POST" | "PUT" | "DELETE", ["containers", reference, rest @ ..]) => {
                self.change(call, reference, rest)
            }
            ("POST", ["exec", id, "start" | "resize"]) if self.execs.contains(*id) => {
                Decision::Forward
            }
            // What exists is not changed by either: Docker answers 409 or the one that is there.
            ("POST", ["networks", "create"]) => Decision::Forward,
            ("POST", ["volumes", "create"]) => Decision::VolumeCreate,
            ("POST", ["networks", _, "connect" | "disconnect"]) => Decision::NetworkConnect,
            _ => refuse(call),
        }
    }

    /// The description of any container; what is in one, or what it writes, of the new one only.
    fn look_at(&mut self, call: Call<'_>, reference: &str, rest: &[&str]) -> Decision {
        let is_new = self.is_new(reference);
        if !is_new && self.old_of(reference).is_some_and(|old| old.is_gone) {
            return Decision::Gone {
                name: reference.to_owned(),
            };
        }
        match rest {
            ["json"] if is_new => Decision::ForwardInspectNew,
            ["json"] => Decision::Forward,
            ["logs" | "archive"] | ["attach", "ws"] if is_new => Decision::Forward,
            _ => refuse(call),
        }
    }

    fn change(&mut self, call: Call<'_>, reference: &str, rest: &[&str]) -> Decision {
        if self.is_new(reference) {
            return self.change_new(call, reference, rest);
        }
        let replaced: Vec<String> = self.new.iter().map(|new| new.service.clone()).collect();
        let Some(old) = self.old_of(reference) else {
            return refuse(call);
        };
        let is_replaced = replaced.contains(&old.container.service);
        let may_be_removed = is_replaced || old.container.is_removed_early;
        let may_be_stopped = may_be_removed || old.container.is_stopped_early;
        if old.is_gone {
            return Decision::Gone {
                name: reference.to_owned(),
            };
        }
        match (call.method, rest) {
            ("POST", ["stop" | "kill"]) if may_be_stopped => Decision::Believed,
            ("DELETE", []) if may_be_removed => {
                old.is_gone = true;
                Decision::Believed
            }
            _ => refuse(call),
        }
    }

    fn change_new(&mut self, call: Call<'_>, reference: &str, rest: &[&str]) -> Decision {
        let new = self.new.iter_mut().find(|new| new.is_meant(reference));
        match (call.method, rest, new) {
            ("POST", ["start"], Some(new)) => Decision::Start {
                container: new.id.clone(),
            },
            ("PUT", ["archive"], _) | ("POST", ["wait" | "resize" | "attach"], _) => {
                Decision::Forward
            }
            ("POST", ["exec"], _) => Decision::CreateExec,
            ("POST", ["rename"], Some(new)) => {
                if let Some(name) = name_in(call.query) {
                    name.clone_into(&mut new.name);
                }
                Decision::Believed
            }
            _ => refuse(call),
        }
    }
}

fn name_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("name="))
}

/// What Compose reads, besides containers, to create one. It has no business in the content of images.
fn is_readable(parts: &[&str]) -> bool {
    match parts {
        ["_ping" | "version" | "info" | "events" | "networks" | "volumes" | "plugins"]
        | ["images", "json"]
        | ["networks" | "volumes" | "plugins", ..] => true,
        // The name of an image may have several parts.
        ["images" | "distribution" | "exec", .., "json"] => true,
        _ => false,
    }
}

/// Docker accepts an id, an unambiguous beginning of one (Compose shortens to twelve digits), or a name.
fn names(reference: &str, id: &str, name: &str) -> bool {
    reference == name || (reference.len() >= 12 && id.starts_with(reference))
}

fn refuse(call: Call<'_>) -> Decision {
    Decision::Refuse {
        what: format!("{} {}", call.method, call.path),
    }
}

#[cfg(test)]
mod tests;
