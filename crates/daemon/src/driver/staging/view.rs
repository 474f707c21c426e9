//! What Compose may do and what it is shown, decided without I/O.
//!
//! Compose replaces a container in four calls: create the new one under a temporary name, stop the old
//! one, remove it, rename the new one; then it starts the new one. Here the middle three are only
//! believed: the [`View`] remembers that Compose was told so, and from then on shows Docker's answers as
//! if they had happened. Everything that would change anything else is refused.

use std::collections::HashSet;

/// A container that exists before Compose begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::driver) struct OldContainer {
    pub(in crate::driver) id: String,
    pub(in crate::driver) name: String,
}

/// The container that Compose created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewContainer {
    pub(super) id: String,
    /// The name that it has in Docker.
    pub(super) created_name: String,
    /// The name that Compose believes it has.
    pub(super) name: String,
}

/// What Compose has been led to believe so far.
#[derive(Debug)]
pub(in crate::driver) struct View {
    old: Option<OldContainer>,
    /// The ids of containers that Compose never gets to see.
    parked: Vec<String>,
    new: Option<NewContainer>,
    old_is_gone: bool,
    /// Whether every change is refused.
    only_looking: bool,
    execs: HashSet<String>,
}

/// What to do with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Pass it to Docker, and the answer back.
    Forward,
    /// Pass it to Docker; hide the old container and show the new one's name in the list.
    ForwardList,
    /// Pass it to Docker; show the new container's name in the answer.
    ForwardInspectNew,
    /// Pass it to Docker after checking and marking the new container in its body.
    Create {
        /// The name that Compose asks for.
        name: String,
    },
    /// Pass it to Docker and remember the id of the command that it creates in the new container.
    CreateExec,
    /// Pass it to Docker if its body names the new container.
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
    /// The switch.
    Start,
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
    /// A view in which `old`, if any, is the container to be replaced, and those with the ids `parked` do
    /// not exist.
    pub(in crate::driver) fn new(old: Option<OldContainer>, parked: Vec<String>) -> Self {
        Self {
            old,
            parked,
            new: None,
            old_is_gone: false,
            only_looking: false,
            execs: HashSet::new(),
        }
    }

    /// A view in which those with the ids `parked` do not exist, and in which nothing may be changed.
    pub(in crate::driver) fn only_looking(parked: Vec<String>) -> Self {
        Self {
            only_looking: true,
            ..Self::new(None, parked)
        }
    }

    pub(super) fn created(&mut self, id: &str, name: &str) {
        self.new = Some(NewContainer {
            id: id.to_owned(),
            created_name: name.to_owned(),
            name: name.to_owned(),
        });
    }

    pub(super) fn exec_created(&mut self, id: &str) {
        self.execs.insert(id.to_owned());
    }

    pub(super) fn new_container(&self) -> Option<&NewContainer> {
        self.new.as_ref()
    }

    pub(super) fn is_new(&self, reference: &str) -> bool {
        self.new.as_ref().is_some_and(|new| {
            names(reference, &new.id, &new.name) || reference == new.created_name
        })
    }

    /// Whether the container with this id is not to be seen: one that is put aside, or the old one once
    /// Compose believes that it is gone.
    pub(super) fn is_hidden(&self, id: &str) -> bool {
        let gone = self.old.as_ref().filter(|_| self.old_is_gone);
        gone.is_some_and(|old| old.id == id) || self.parked.iter().any(|parked| parked == id)
    }

    fn is_old(&self, reference: &str) -> bool {
        self.old
            .as_ref()
            .is_some_and(|old| names(reference, &old.id, &old.name))
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
            ("POST", ["containers", "create"]) => self.create(call.query),
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
    fn look_at(&self, call: Call<'_>, reference: &str, rest: &[&str]) -> Decision {
        let is_new = self.is_new(reference);
        if self.old_is_gone && self.is_old(reference) && !is_new {
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

    fn create(&self, query: &str) -> Decision {
        let name = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("name="))
            .unwrap_or_default()
            .to_owned();
        if self.new.is_some() {
            return Decision::Refuse {
                what: format!("create a second container, `{name}`"),
            };
        }
        Decision::Create { name }
    }

    fn change(&mut self, call: Call<'_>, reference: &str, rest: &[&str]) -> Decision {
        if self.is_new(reference) {
            return self.change_new(call, rest);
        }
        if self.is_old(reference) && self.new.is_some() {
            match (call.method, rest) {
                ("POST", ["stop" | "kill"]) if !self.old_is_gone => return Decision::Believed,
                ("DELETE", []) if !self.old_is_gone => {
                    self.old_is_gone = true;
                    return Decision::Believed;
                }
                _ if self.old_is_gone => {
                    return Decision::Gone {
                        name: reference.to_owned(),
                    };
                }
                _ => {}
            }
        }
        refuse(call)
    }

    fn change_new(&mut self, call: Call<'_>, rest: &[&str]) -> Decision {
        match (call.method, rest) {
            ("POST", ["start"]) => Decision::Start,
            ("PUT", ["archive"]) | ("POST", ["wait" | "resize" | "attach"]) => Decision::Forward,
            ("POST", ["exec"]) => Decision::CreateExec,
            ("POST", ["rename"]) => {
                let wanted = call
                    .query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("name="));
                if let (Some(new), Some(name)) = (&mut self.new, wanted) {
                    name.clone_into(&mut new.name);
                }
                Decision::Believed
            }
            _ => refuse(call),
        }
    }
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
