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
            ("GET" | "HEAD", ["containers", reference, ..]) => self.look_at(reference, &parts[2..]),
            ("GET" | "HEAD", _) => Decision::Forward,
            _ if self.only_looking => refuse(call),
            ("POST", ["containers", "create"]) => self.create(call.query),
            ("POST" | "PUT" | "DELETE", ["containers", reference, rest @ ..]) => {
                self.change(call, reference, rest)
            }
            ("POST", ["exec", id, "start" | "resize"]) if self.execs.contains(*id) => {
                Decision::Forward
            }
            // What exists is not changed by either: Docker answers 409 or the one that is there.
            ("POST", ["networks" | "volumes", "create"]) => Decision::Forward,
            ("POST", ["networks", _, "connect" | "disconnect"]) => Decision::NetworkConnect,
            _ => refuse(call),
        }
    }

    fn look_at(&self, reference: &str, rest: &[&str]) -> Decision {
        if self.old_is_gone && self.is_old(reference) && !self.is_new(reference) {
            Decision::Gone {
                name: reference.to_owned(),
            }
        } else if rest == ["json"] && self.is_new(reference) {
            Decision::ForwardInspectNew
        } else {
            Decision::Forward
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
mod tests {
    use super::*;

    const OLD: &str = "aaaaaaaaaaaaaaaa";
    const NEW: &str = "bbbbbbbbbbbbbbbb";

    fn ask(view: &mut View, method: &str, path: &str, query: &str) -> Decision {
        view.decide(Call {
            method,
            path,
            query,
        })
    }

    fn replacing() -> View {
        let old = OldContainer {
            id: OLD.into(),
            name: "shop-app-1".into(),
        };
        let mut view = View::new(Some(old), Vec::new());
        let decision = ask(
            &mut view,
            "POST",
            "/containers/create",
            "name=aaaaaaaaaaaa_shop-app-1",
        );
        assert_eq!(
            decision,
            Decision::Create {
                name: "aaaaaaaaaaaa_shop-app-1".into()
            }
        );
        view.created(NEW, "aaaaaaaaaaaa_shop-app-1");
        view
    }

    #[test]
    fn replacing_a_container_is_believed_until_the_start() {
        let mut view = replacing();
        assert!(!view.is_hidden(OLD));
        let stop = format!("/containers/{OLD}/stop");
        assert_eq!(ask(&mut view, "POST", &stop, ""), Decision::Believed);
        let old = format!("/containers/{OLD}");
        assert_eq!(
            ask(&mut view, "DELETE", &old, "force=1"),
            Decision::Believed
        );
        assert!(view.is_hidden(OLD) && !view.is_hidden(NEW));
        let rename = format!("/containers/{NEW}/rename");
        assert_eq!(
            ask(&mut view, "POST", &rename, "name=shop-app-1"),
            Decision::Believed
        );
        assert_eq!(
            view.new_container().map(|new| new.name.as_str()),
            Some("shop-app-1")
        );
        assert_eq!(
            ask(&mut view, "GET", "/containers/shop-app-1/json", ""),
            Decision::ForwardInspectNew
        );
        let gone = Decision::Gone { name: OLD.into() };
        assert_eq!(
            ask(&mut view, "GET", &format!("/containers/{OLD}/json"), ""),
            gone
        );
        let start = format!("/containers/{NEW}/start");
        assert_eq!(ask(&mut view, "POST", &start, ""), Decision::Start);
    }

    #[test]
    fn nothing_happens_to_the_old_container_before_a_new_one_exists() {
        let old = OldContainer {
            id: OLD.into(),
            name: "shop-app-1".into(),
        };
        for (method, path) in [
            ("POST", format!("/containers/{OLD}/stop")),
            ("POST", format!("/containers/{OLD}/start")),
            ("POST", format!("/containers/{OLD}/rename")),
            ("DELETE", format!("/containers/{OLD}")),
        ] {
            let mut view = View::new(Some(old.clone()), Vec::new());
            let decision = ask(&mut view, method, &path, "");
            assert!(
                matches!(decision, Decision::Refuse { .. }),
                "{method} {path}: {decision:?}"
            );
        }
    }

    #[test]
    fn everything_outside_the_service_is_refused() {
        let other = "cccccccccccccccc";
        for (method, path) in [
            ("POST", format!("/containers/{other}/stop")),
            ("POST", format!("/containers/{other}/start")),
            ("POST", format!("/containers/{other}/exec")),
            ("DELETE", format!("/containers/{other}")),
            ("PUT", format!("/containers/{other}/archive")),
            ("POST", format!("/containers/{OLD}/start")),
            ("POST", format!("/containers/{OLD}/exec")),
            ("POST", "/exec/dddd/start".into()),
            ("DELETE", "/networks/shop_default".into()),
            ("DELETE", "/volumes/shop_data".into()),
            ("POST", "/volumes/prune".into()),
            ("POST", "/containers/prune".into()),
            ("POST", "/images/create".into()),
            ("POST", "/build".into()),
            ("POST", "/session".into()),
            ("POST", "/services/create".into()),
            ("PUT", "/volumes/shop_data".into()),
            ("PATCH", "/anything".into()),
        ] {
            let mut view = replacing();
            let decision = ask(&mut view, method, &path, "");
            assert!(
                matches!(decision, Decision::Refuse { .. }),
                "{method} {path}: {decision:?}"
            );
        }
        let second = ask(
            &mut replacing(),
            "POST",
            "/containers/create",
            "name=shop-app-2",
        );
        assert!(matches!(second, Decision::Refuse { .. }), "{second:?}");
    }

    #[test]
    fn who_only_looks_is_refused_every_change() {
        for (method, path) in [
            ("POST", "/containers/create".into()),
            ("POST", format!("/containers/{OLD}/start")),
            ("DELETE", format!("/containers/{OLD}")),
            ("POST", "/networks/create".into()),
            ("POST", "/networks/shop_default/connect".into()),
            ("POST", "/volumes/create".into()),
            ("PATCH", "/anything".into()),
        ] {
            let mut view = View::only_looking(vec!["parked".into()]);
            let decision = ask(&mut view, method, &path, "name=x");
            assert!(
                matches!(decision, Decision::Refuse { .. }),
                "{method} {path}: {decision:?}"
            );
        }
        let mut view = View::only_looking(vec!["parked".into()]);
        let list = ask(&mut view, "GET", "/containers/json", "");
        assert_eq!(list, Decision::ForwardList);
        assert!(view.is_hidden("parked") && !view.is_hidden(OLD));
    }

    #[test]
    fn hooks_run_in_the_new_container_only() {
        let mut view = replacing();
        let exec = format!("/containers/{NEW}/exec");
        assert_eq!(ask(&mut view, "POST", &exec, ""), Decision::CreateExec);
        view.exec_created("e1");
        assert_eq!(
            ask(&mut view, "POST", "/exec/e1/start", ""),
            Decision::Forward
        );
        assert_eq!(
            ask(&mut view, "GET", "/exec/e1/json", ""),
            Decision::Forward
        );
    }
}
