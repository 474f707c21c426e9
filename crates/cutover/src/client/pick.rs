//! Which deployment or service is meant: ids are long, so the beginning of one will do, or a sha, or a service.

use cutover_api::deployment::{Deployment, DeploymentPage};
use cutover_api::service::ServiceList;
use cutover_core::nearest::nearest;

use crate::client::Client;
use crate::client::failure::Failure;

/// Among so many of the newest deployments is searched, which is what one answer holds.
const SEARCHED: u32 = 100;

/// A shorter beginning of an id or a sha says too little.
const BEGINNING_LEN_MIN: usize = 4;

/// The length of a whole id, which is a UUID.
const ID_LEN: usize = 36;

/// The id of the deployment that `meant` names: its id or the beginning of it, a service (its latest deployment), or
/// a sha or the beginning of it (the latest of that). Nothing at all is the latest of the only service.
///
/// # Errors
/// [`Failure::Usage`] if that is none or more than one, and why there is no answer.
pub(crate) async fn deployment(client: &Client, meant: Option<&str>) -> Result<String, Failure> {
    let Some(meant) = meant else {
        let service = service(client, None).await?;
        return latest(client, &service).await;
    };
    if meant.len() == ID_LEN {
        return Ok(meant.to_owned());
    }
    let searched = page(client, None, SEARCHED).await?.deployments;
    if let Some(found) = find(&searched, meant)? {
        return Ok(found);
    }
    let names = services(client).await?;
    if names.iter().any(|name| name == meant) {
        return latest(client, meant).await;
    }
    let hint = match nearest(meant, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "give a service, or the beginning of an id or of a sha: `cutover history`".to_owned()
        }
    };
    let what = format!(
        "`{meant}` is no service, and none of the newest {SEARCHED} deployments has an id or a sha that begins with it"
    );
    Err(Failure::usage(what, hint))
}

/// The service that is meant, which need not be named where there is only one.
///
/// # Errors
/// [`Failure::Usage`] if there are several, and why there is no answer.
pub(crate) async fn service(client: &Client, meant: Option<&str>) -> Result<String, Failure> {
    if let Some(meant) = meant {
        return Ok(meant.to_owned());
    }
    let mut names = services(client).await?;
    match (names.pop(), names.as_slice()) {
        (Some(only), []) => Ok(only),
        (None, _) => Err(Failure::usage(
            "no service is configured",
            "add one to the daemon's configuration",
        )),
        (Some(last), others) => Err(Failure::usage(
            "several services are configured",
            format!("say which one: {}, {last}", others.join(", ")),
        )),
    }
}

/// The one among `deployments`, the newest of which comes first, that `meant` names.
fn find(deployments: &[Deployment], meant: &str) -> Result<Option<String>, Failure> {
    let of_service = |one: &&Deployment| one.service == meant;
    if let Some(latest) = deployments.iter().find(of_service) {
        return Ok(Some(latest.id.clone()));
    }
    if meant.len() < BEGINNING_LEN_MIN {
        return Ok(None);
    }
    let by_id: Vec<&Deployment> = deployments
        .iter()
        .filter(|one| one.id.starts_with(meant))
        .collect();
    if let [first, others @ ..] = by_id.as_slice() {
        return match others {
            [] => Ok(Some(first.id.clone())),
            _ => Err(ambiguous("ids", meant, by_id.iter().map(|one| &one.id))),
        };
    }
    let mut by_sha = deployments
        .iter()
        .filter(|one| one.image_sha.starts_with(meant));
    let Some(latest) = by_sha.next() else {
        return Ok(None);
    };
    match by_sha.find(|one| one.image_sha != latest.image_sha) {
        None => Ok(Some(latest.id.clone())),
        Some(other) => {
            let shas = [&latest.image_sha, &other.image_sha];
            Err(ambiguous("shas", meant, shas.into_iter()))
        }
    }
}

fn ambiguous<'a>(what: &str, meant: &str, found: impl Iterator<Item = &'a String>) -> Failure {
    let found: Vec<&str> = found.take(5).map(String::as_str).collect();
    Failure::usage(
        format!("several {what} begin with `{meant}`"),
        format!("give more of one of them: {}", found.join(", ")),
    )
}

/// The id of the service's latest deployment.
async fn latest(client: &Client, service: &str) -> Result<String, Failure> {
    let page = page(client, Some(service), 1).await?;
    let latest = page.deployments.into_iter().next();
    latest.map(|latest| latest.id).ok_or_else(|| {
        Failure::usage(
            format!("service `{service}` has not been deployed yet"),
            "`cutover status` shows what runs",
        )
    })
}

async fn page(
    client: &Client,
    service: Option<&str>,
    limit: u32,
) -> Result<DeploymentPage, Failure> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(service.map(|service| ("service", service.to_owned())));
    let answer = client.get(&["v1", "deployments"], &query).await?;
    Ok(answer.value)
}

async fn services(client: &Client) -> Result<Vec<String>, Failure> {
    let answer = client.get::<ServiceList>(&["v1", "services"], &[]).await?;
    Ok(answer
        .value
        .services
        .into_iter()
        .map(|one| one.name)
        .collect())
}
