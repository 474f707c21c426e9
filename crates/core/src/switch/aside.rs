//! The names that a container has while another one bears its own. They are made and read here only.

use crate::names::DeploymentId;

/// Nothing but cutover puts this into a name.
const INFIX: &str = "_cutover-";

/// Digits of a container's id that tell it from others of the same deployment.
const SHORT_ID_LEN: usize = 8;

/// How the name of a new container ends that was put aside because it failed.
const FAILED_SUFFIX: &str = "-new";

/// What the previous container `name` is called while the new one of deployment `id` bears its name.
#[must_use]
pub fn name_put_aside(name: &str, id: &DeploymentId) -> String {
    // One that is put aside already, and deployed from there, does not get longer with every deployment.
    let name = name.split_once(INFIX).map_or(name, |(own, _)| own);
    format!("{name}{INFIX}{}", id.short())
}

/// What the failed `container` of deployment `id` is called once the previous one has its name again. There may
/// be more than one.
#[must_use]
pub fn name_of_failed(name: &str, container: &str, id: &DeploymentId) -> String {
    let short = container.get(..SHORT_ID_LEN).unwrap_or(container);
    format!("{}-{short}{FAILED_SUFFIX}", name_put_aside(name, id))
}

/// What a container is called that deployment `id` creates in the place of the previous one `replaces`, until it has
/// its name. One that was created again may have to be created once more.
#[must_use]
pub fn name_of_recreated(name: &str, replaces: &str, id: &DeploymentId) -> String {
    let short = replaces.get(..SHORT_ID_LEN).unwrap_or(replaces);
    format!("{}-{short}-again", name_put_aside(name, id))
}

/// Whether a container of this name was put aside, previous or failed.
#[must_use]
pub fn is_put_aside(name: &str) -> bool {
    name.contains(INFIX)
}

/// Whether a container of this name is a new one that was put aside because it failed.
#[must_use]
pub fn is_failed(name: &str) -> bool {
    is_put_aside(name) && name.ends_with(FAILED_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_made_are_read() {
        let id = DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("a UUID");
        let aside = name_put_aside("shop-app-1", &id);
        assert_eq!(aside, "shop-app-1_cutover-456789ab");
        let failed = name_of_failed("shop-app-1", "0123456789abcdef", &id);
        assert_eq!(failed, "shop-app-1_cutover-456789ab-01234567-new");
        let again = name_of_recreated("shop-app-1", "0123456789abcdef", &id);
        assert_eq!(again, "shop-app-1_cutover-456789ab-01234567-again");
        assert!(is_put_aside(&again) && !is_failed(&again));
        assert!(is_put_aside(&aside) && !is_failed(&aside));
        assert!(is_put_aside(&failed) && is_failed(&failed));
        assert!(!is_put_aside("shop-app-1") && !is_failed("shop-new"));
        assert_eq!(name_put_aside(&failed, &id), aside);
    }
}
