//! The order in which the services of a release are switched: what others depend on goes first.

use std::collections::{BTreeMap, BTreeSet};

/// The services, each behind all of these that it depends on; otherwise by name. `depends_on` may name services that
/// are none of these.
#[must_use]
pub fn dependency_order(depends_on: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut left: BTreeSet<&String> = depends_on.keys().collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |name: &&&String| {
            depends_on
                .get(**name)
                .is_some_and(|on| on.iter().any(|on| on != **name && left.contains(on)))
        };
        // Compose refuses a project in which services wait for each other.
        let next = left.iter().find(|name| !waits(name)).or(left.first());
        let Some(next) = next.copied() else { break };
        left.remove(next);
        ordered.push(next.clone());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(services: &[(&str, &[&str])]) -> Vec<String> {
        let owned = |(name, on): &(&str, &[&str])| {
            let on = on.iter().map(|on| (*on).to_owned()).collect();
            ((*name).to_owned(), on)
        };
        dependency_order(&services.iter().map(owned).collect())
    }

    #[test]
    fn what_others_depend_on_goes_first() {
        assert_eq!(order(&[]), [""; 0]);
        assert_eq!(order(&[("web", &["db"]), ("cron", &[])]), ["cron", "web"]);
        let chain: [(&str, &[&str]); 4] = [
            ("a", &["z", "cache"]),
            ("m", &["a"]),
            ("z", &["cache"]),
            ("b", &[]),
        ];
        assert_eq!(order(&chain), ["b", "z", "a", "m"]);
    }

    #[test]
    fn services_that_wait_for_each_other_are_all_there() {
        assert_eq!(order(&[("a", &["b"]), ("b", &["a"])]), ["a", "b"]);
        assert_eq!(order(&[("a", &["a"])]), ["a"]);
    }
}
