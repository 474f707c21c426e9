//! `cutover deploy`: asks for an image tag to be deployed and follows it to the end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use aws_lc_rs::digest;
use cutover_api::deploy::DeployRequest;
use uuid::Uuid;

use crate::arguments::{self, ClientArgs, PatienceArgs};
use crate::client::Client;
use crate::client::credentials::{self, SECRET_VARIABLE, Secret};
use crate::client::endpoint::Endpoint;
use crate::client::failure::Failure;
use crate::client::submission::Submission;
use crate::commands::{Format, attend, converse};
use crate::render::github;

/// The longest delivery id that the daemon takes.
const DELIVERY_ID_LEN_MAX: usize = 128;

/// What `cutover deploy` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct DeployArgs {
    /// The configured service
    #[arg(value_name = "SERVICE", value_parser = arguments::name)]
    service: String,

    /// The image tag to run, usually the commit's full hash
    #[arg(value_name = "SHA")]
    sha: String,

    /// Refuse any image but the one with this manifest digest, sha256:…
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,

    /// The idempotency key; by default a new one, in GitHub Actions one for this run, attempt and service
    #[arg(long, value_name = "ID")]
    delivery_id: Option<String>,

    /// Go on although the previous release could not be brought back if this one fails; on the server only
    #[arg(long)]
    no_way_back: bool,

    /// Make a new container also if this release runs already; on the server only
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    client: ClientArgs,

    /// A file that holds the signing secret, needed with a URL; or set CUTOVER_SECRET
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    secret_file: Option<PathBuf>,

    #[command(flatten)]
    patience: PatienceArgs,
}

/// Deploys and follows.
///
/// # Errors
/// Wrong usage, a refusal, or that the end could not be learned.
pub(crate) fn run(args: DeployArgs) -> anyhow::Result<ExitCode> {
    let endpoint = Endpoint::from_arguments(&args.client)?;
    let secret = signing_secret(&endpoint, &args)?;
    if matches!(endpoint, Endpoint::Network(_)) {
        check_is_for_network(&args)?;
    }
    let client = Client::open(endpoint, None)?;
    let format = Format::of(&args.client);
    let give_up_after = Duration::from_secs(args.patience.give_up_after);
    let delivery_id = args.delivery_id.unwrap_or_else(|| {
        let variable = |name: &str| std::env::var(name).ok();
        run_delivery_id(variable, &args.service, &args.sha)
            .unwrap_or_else(|| Uuid::now_v7().to_string())
    });
    let request = DeployRequest {
        image_sha: args.sha,
        service: Some(args.service),
        delivery_id: Some(delivery_id),
        timestamp: None,
        image_digest: args.digest,
        no_way_back: args.no_way_back.then_some(true),
        force: args.force.then_some(true),
    };
    let submission = Submission::deploy(request, secret);
    converse(format, async {
        attend::attend(&client, submission, give_up_after, format).await
    })
}

/// What an operator decides on the server is not decided by a signed request.
fn check_is_for_network(args: &DeployArgs) -> Result<(), Failure> {
    let (option, refused) = if args.no_way_back {
        (
            "--no-way-back",
            "a signed request cannot decide that there need be no way back",
        )
    } else if args.force {
        (
            "--force",
            "a signed request cannot decide that a release is deployed again",
        )
    } else {
        return Ok(());
    };
    let hint = format!("run `cutover deploy {option}` on the server itself, over its unix socket");
    Err(Failure::usage(refused, hint))
}

/// The secret that signs the request; the unix socket needs none.
fn signing_secret(endpoint: &Endpoint, args: &DeployArgs) -> Result<Option<Secret>, Failure> {
    match endpoint {
        Endpoint::Socket(_) => Ok(None),
        Endpoint::Network(_) => {
            let secret = credentials::read(args.secret_file.as_deref(), SECRET_VARIABLE)?;
            let secret = secret.ok_or_else(|| {
                Failure::usage(
                    "a deployment over the network must be signed, and no secret is given",
                    format!("give --secret-file FILE or set {SECRET_VARIABLE}; on the server itself no secret is needed"),
                )
            })?;
            Ok(Some(secret))
        }
    }
}

/// In GitHub Actions, one delivery id for each attempt of a run, service and tag: a step that is
/// repeated within the attempt asks for the same deployment and does not deploy twice.
fn run_delivery_id(
    variable: impl Fn(&str) -> Option<String>,
    service: &str,
    sha: &str,
) -> Option<String> {
    if !github::is_runner_by(&variable) {
        return None;
    }
    let present = |name: &str| variable(name).filter(|value| !value.is_empty());
    let id = format!(
        "github:{}:{}:{}:{service}:{sha}",
        present("GITHUB_REPOSITORY_ID")?,
        present("GITHUB_RUN_ID")?,
        present("GITHUB_RUN_ATTEMPT")?,
    );
    let fits = id.len() <= DELIVERY_ID_LEN_MAX
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
    Some(if fits {
        id
    } else {
        let hash = digest::digest(&digest::SHA256, id.as_bytes());
        format!("github:{}", hex::encode(hash))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(name: &str) -> Option<String> {
        let value = match name {
            "GITHUB_ACTIONS" => "true",
            "GITHUB_REPOSITORY_ID" => "123456",
            "GITHUB_RUN_ID" => "9876543210",
            "GITHUB_RUN_ATTEMPT" => "2",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn an_attempt_of_a_run_has_one_delivery_id_per_service_and_tag() {
        let sha = "a".repeat(40);
        let id = run_delivery_id(runner, "app", &sha);
        assert_eq!(id, Some(format!("github:123456:9876543210:2:app:{sha}")));
        assert_ne!(id, run_delivery_id(runner, "web", &sha));
        assert_ne!(id, run_delivery_id(runner, "app", &"b".repeat(40)));
    }

    #[test]
    fn a_long_name_still_gives_a_valid_delivery_id() {
        let id = run_delivery_id(runner, &"s".repeat(63), &"a".repeat(64)).expect("in a run");
        assert!(id.len() <= DELIVERY_ID_LEN_MAX, "{id}");
        assert!(id.starts_with("github:"));
    }

    #[test]
    fn outside_of_a_run_there_is_none() {
        assert_eq!(run_delivery_id(|_| None, "app", "a"), None);
        let no_attempt = |name: &str| runner(name).filter(|_| name != "GITHUB_RUN_ATTEMPT");
        assert_eq!(run_delivery_id(no_attempt, "app", "a"), None);
    }
}
