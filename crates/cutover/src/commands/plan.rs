//! `cutover plan`: says what a deployment would do; touches nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cutover_core::names::{ServiceName, Tag};
use cutover_daemon::docker::Docker;
use cutover_daemon::driver::command::Compose;
use cutover_daemon::driver::{ComposeDriver, Driver};
use cutover_daemon::plan::{Plan, plan};
use cutover_daemon::settings::{self, Settings};

use super::check::refuse;
use super::{Format, block_on};
use crate::client::failure::Failure;
use crate::exit::Exit;
use crate::render::Audience;
use crate::render::deployment::fields;

/// What `cutover plan` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// The configured service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// The image tag that would be deployed
    #[arg(value_name = "SHA")]
    pub(crate) sha: String,

    /// The configuration file
    #[arg(long, value_name = "PATH", default_value = settings::DEFAULT_PATH)]
    pub(crate) config: PathBuf,

    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the plan; ends with 1 if the deployment would be refused.
///
/// # Errors
/// When Docker, Compose or the Compose project cannot be read.
pub(crate) fn run(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let settings = match settings::load(&args.config) {
        Ok(settings) => settings,
        Err(mistakes) => return refuse(&mistakes, Format::of_flag(args.json)),
    };
    let plan = block_on(look(&settings, &args))??;
    if args.json {
        anstream::println!("{}", serde_json::to_string(&plan)?);
    } else {
        anstream::print!("{}", text(&plan, Audience::of_stdout()));
    }
    let exit = if plan.refused_because.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    };
    Ok(exit.into())
}

async fn look(settings: &Settings, args: &PlanArgs) -> anyhow::Result<Plan> {
    let wrong = |what: String| Failure::usage(what, "nothing was touched");
    let name = ServiceName::new(&args.service)
        .map_err(|error| wrong(format!("`{}` is not a service name: {error}", args.service)))?;
    let known = settings
        .services
        .keys()
        .map(ServiceName::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let service = settings.services.get(&name).ok_or_else(|| {
        wrong(format!(
            "service `{name}` is not configured; configured are: {known}"
        ))
    })?;
    let tag = Tag::new(&args.sha)
        .map_err(|error| wrong(format!("`{}` is not an image tag: {error}", args.sha)))?;
    let docker = Docker::new(&settings.docker.socket);
    let driver = ComposeDriver::new(
        docker,
        Compose::find(&settings.docker)?,
        &settings.server.state_directory,
    )
    .context("the state directory cannot be used")?;
    plan(settings, &Driver::Compose(driver), service, &tag)
        .await
        .map_err(|cause| anyhow::anyhow!("{}; {}", cause.detail, cause.code.hint()))
}

fn text(plan: &Plan, audience: Audience) -> String {
    let mut lines = vec![
        (
            "service",
            format!("{} (Compose project {})", plan.service, plan.project),
        ),
        ("image", format!("{} ({})", plan.image, plan.image_found)),
        (
            "runs now",
            plan.running.clone().unwrap_or_else(|| "nothing".to_owned()),
        ),
    ];
    if plan.services.len() > 1 {
        lines.push(("services", plan.services.join(", ")));
    }
    if !plan.jobs.is_empty() {
        let jobs = plan.jobs.join(", ");
        lines.push(("jobs", format!("{jobs}, before anything is stopped")));
    }
    if !plan.jobs_after.is_empty() {
        let jobs = plan.jobs_after.join(", ");
        lines.push(("jobs after it", format!("{jobs}, after the commit")));
    }
    if !plan.dependents.is_empty() {
        let services = plan.dependents.join(", ");
        lines.push((
            "restarted",
            format!("{services}, after the commit (`restart: true`)"),
        ));
    }
    if !plan.left_alone.is_empty() {
        let alone = plan.left_alone.join(", ");
        lines.push((
            "left alone",
            format!("{alone}, where this release runs already"),
        ));
    }
    if let Some(hold) = &plan.hold {
        let ports = plan.held.join(", ");
        lines.push((
            "held",
            format!("new connections to {ports} wait meanwhile, each at most {hold}"),
        ));
    }
    lines.push(("strategy", plan.strategy.to_owned()));
    lines.extend(
        plan.because
            .iter()
            .map(|why| ("", format!("because {why}"))),
    );
    lines.extend([
        ("verified by", plan.verified_by.clone()),
        ("rollback to", plan.rollback_to.clone()),
        (
            "after that",
            format!("{} is written to {}", plan.tag_variable, plan.env_file),
        ),
    ]);
    lines.extend(plan.warnings.iter().map(|what| ("warning", what.clone())));
    lines.extend(
        plan.refused_because
            .iter()
            .map(|why| ("refused", why.clone())),
    );
    fields(&lines, 0, audience.columns())
}
