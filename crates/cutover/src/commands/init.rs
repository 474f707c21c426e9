//! `cutover init`: writes a configuration for the Compose project found here.
//!
//! ```text
//! project        what Compose says of the project: which services can be deployed, and why others cannot
//! configuration  cutover.toml as text
//! unit           the systemd unit as text
//! workflow       the GitHub workflow as text
//! files          writing all of them or none, never over something else
//! ```
//!
//! Only the output directory is written to. The project is read: a checkout that a deployment tool
//! manages does not get files that nobody has committed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cutover_daemon::settings;
use serde::Serialize;

use crate::client::failure::Failure;
use crate::exit::Exit;
use crate::render;

mod build;
mod fix;
mod project;
mod release;
mod sort;
mod running;
mod configuration;
mod unit;
mod workflow;
mod files;

use files::{Draft, Written};
use project::{Other, Project};

/// Where the configuration is looked for by every other command.
const DEFAULT_OUTPUT: &str = "/etc/cutover";

/// The bytes of the secret that is made; written as twice as many hexadecimal digits.
const SECRET_LEN: usize = 32;

/// What writes such a line.
const OR_FIX: &str = ", or let `cutover init --fix` write the variable";

/// What `cutover init` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Where the Compose project is
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,

    /// A Compose file of the project; may be given several times, in the order in which Compose takes
    /// them. Without it, the files that Compose finds by itself
    #[arg(long = "file", short = 'f', value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,

    /// Where to write to
    #[arg(long, value_name = "DIR", default_value = DEFAULT_OUTPUT)]
    pub(crate) output: PathBuf,

    /// The certificate chain for the network listener, as a PEM file; without one, the daemon listens on
    /// this machine only
    #[arg(long, value_name = "PATH", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of the certificate
    #[arg(long, value_name = "PATH", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Write the tag variable into the image lines of the Compose files that lack one: `:1.4` becomes
    /// `:${SHOP_IMAGE_TAG:-1.4}`. The changes are shown and asked for
    #[arg(long)]
    pub(crate) fix: bool,

    /// With `--fix`: a service whose image line is to be changed; may be given several times
    #[arg(long = "service", value_name = "NAME", requires = "fix")]
    pub(crate) services: Vec<String>,

    /// With `--fix`: write the changes without asking
    #[arg(long, requires = "fix")]
    pub(crate) yes: bool,

    /// Print what was done as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Report {
    /// The files, whether they were written now or were there already.
    files: Vec<Written>,
    /// The services that can be deployed from now on.
    services: Vec<String>,
    /// What a release of them is besides themselves, a sentence each.
    releases: Vec<String>,
    /// Those of them without a job in the workflow, because their image is not the project's own.
    not_built: Vec<String>,
    /// The services that cannot, and why.
    others: Vec<Other>,
    /// What else the Compose file should not do.
    warnings: Vec<String>,
    /// What to do next.
    next: Vec<String>,
}

/// Writes the configuration, a secret, a systemd unit and a workflow, and says what to do next.
///
/// # Errors
/// When the certificate, its key or the project cannot be read, when none of its services can be deployed,
/// and when another file is in the way: nothing was written then.
pub(crate) fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    for (option, path) in [("--cert", &args.cert), ("--key", &args.key)] {
        if let Some(path) = path {
            files::expect_readable(option, path)?;
        }
    }
    let output = std::path::absolute(&args.output)?;
    let mut project = Project::read(&args.directory, &args.files)?;
    if args.fix {
        fix::fix(&project, &args)?;
        project = Project::read(&args.directory, &args.files)?;
    }
    if project.services.is_empty() {
        return Err(nothing_to_deploy(&project).into());
    }
    let places = Places::in_directory(&output);
    let drafts = drafts(&project, &places, &args)?;
    let files = files::write(&drafts)?;
    if let Err(mistakes) = settings::load(&places.configuration) {
        anstream::eprintln!("{}", mistakes.render(settings::Ink::Colored));
        render::tell(
            "the files are written; correct what is said above, and run `cutover check`\n",
        );
        return Ok(Exit::Usage.into());
    }
    let releases = project
        .services
        .iter()
        .filter_map(|one| Some(format!("{} {}", one.name, one.besides()?)));
    let report = Report {
        files,
        services: project.names(),
        releases: releases.collect(),
        not_built: not_built(&project),
        warnings: project.warnings(),
        next: next_steps(&args, &places, &project),
        others: project.others,
    };
    if args.json {
        render::print_body(serde_json::to_string(&report)?.as_bytes())?;
    } else {
        render::print(&text(&report))?;
    }
    Ok(Exit::Done.into())
}

/// Where everything goes.
#[derive(Debug)]
struct Places {
    configuration: PathBuf,
    secret: PathBuf,
    unit: PathBuf,
    workflow: PathBuf,
}

impl Places {
    fn in_directory(output: &Path) -> Self {
        Self {
            configuration: output.join("cutover.toml"),
            secret: output.join("webhook.secret"),
            unit: output.join("cutover.service"),
            workflow: output.join("deploy.yml"),
        }
    }
}

/// The texts of all files, before any is written.
fn drafts(project: &Project, places: &Places, args: &InitArgs) -> anyhow::Result<Vec<Draft>> {
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
    let tls = absolute(&args.cert)?.zip(absolute(&args.key)?);
    let front = match tls {
        Some(_) => workflow::Front::Daemon,
        None => workflow::Front::Proxy,
    };
    let mut drafts = vec![
        Draft::secret(&places.secret, new_secret()?),
        Draft::text(
            &places.configuration,
            "the configuration",
            configuration::text(project, &places.secret, tls)?,
        ),
        Draft::text(
            &places.unit,
            "the systemd unit",
            unit::text(
                project,
                &places.unit,
                &places.configuration,
                &unit::program(),
            ),
        ),
    ];
    if let Some(workflow) = workflow::text(project, front) {
        let what = "the workflow for GitHub Actions";
        drafts.push(Draft::text(&places.workflow, what, workflow));
    }
    Ok(drafts)
}

/// The services that the workflow leaves out.
fn not_built(project: &Project) -> Vec<String> {
    let (_, official) = workflow::split(project);
    let names = official.into_iter().map(|service| service.name.to_string());
    names.collect()
}

/// A secret from the system's random source.
fn new_secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_LEN];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system has no random bytes; nothing was written"))?;
    Ok(format!("{}\n", hex::encode(bytes)))
}

fn nothing_to_deploy(project: &Project) -> Failure {
    let reasons: Vec<String> = project.others.iter().map(Other::sentence).collect();
    let hint = project
        .others
        .iter()
        .filter_map(|other| Some((other.instead.as_deref()?, other.fixable.is_some())))
        .next()
        .map_or_else(
            || {
                match project.others.is_empty() {
                    true => "nothing was written; add a service with an image to the Compose file",
                    false => "nothing was written; change that for one of them, and run this again",
                }
                .to_owned()
            },
            |(line, is_fixable)| {
                let or = if is_fixable { OR_FIX } else { "" };
                format!("nothing was written; write for example `{line}`{or}, and run this again")
            },
        );
    Failure::usage(
        format!(
            "no service in {} can be deployed{}{}",
            project.shown_files(),
            if reasons.is_empty() { "" } else { ": " },
            reasons.join("; ")
        ),
        hint,
    )
}

/// What is left to do, in order.
fn next_steps(args: &InitArgs, places: &Places, project: &Project) -> Vec<String> {
    let configuration = places.configuration.display();
    let mut steps = Vec::new();
    if let Some(install) = unit::installation() {
        steps.push(install);
    }
    let is_default = places.configuration == Path::new(settings::DEFAULT_PATH);
    steps.push(match is_default {
        true => "cutover check".to_owned(),
        false => format!("cutover check --config {configuration}"),
    });
    steps.push(format!("systemctl enable --now {}", places.unit.display()));
    steps.push(match args.cert {
        Some(_) => "open port 8443 for your CI, or change `listen`".to_owned(),
        None => format!(
            "let your TLS proxy forward a name of yours to http://127.0.0.1:8443, or set `listen` and `tls` in {configuration}"
        ),
    });
    steps.push(format!(
        "give the secret to CI, whose environment must exist (`gh api --method PUT repos/{{owner}}/{{repo}}/environments/production`; in a private repository on GitHub's free plan there is none: leave out `--env production`): ssh SERVER sudo cat {} | gh secret set CUTOVER_SECRET --env production",
        places.secret.display()
    ));
    let copy = format!(
        "copy {} to .github/workflows/deploy.yml in the repository that builds the image, and follow its first lines",
        places.workflow.display()
    );
    let (built, _) = workflow::split(project);
    match built.len() {
        0 => {}
        1 => steps.push(copy),
        _ => steps.push(format!(
            "{copy}: each job needs its own `context`, the directory with the Dockerfile of its service"
        )),
    }
    steps
}

/// The report for people.
fn text(report: &Report) -> String {
    let mut lines = Vec::new();
    let width = report.files.iter().map(|file| file.path.len()).max();
    for file in &report.files {
        lines.push(format!(
            "{:width$}  {}, {}",
            file.path,
            file.what,
            file.state.shown(),
            width = width.unwrap_or_default()
        ));
    }
    lines.push(String::new());
    lines.push(format!("Can be deployed: {}", report.services.join(", ")));
    let releases = report.releases.iter();
    lines.extend(releases.map(|release| format!("  {release}")));
    if !report.not_built.is_empty() {
        lines.push(format!(
            "Without a job in the workflow: {} (named without a registry and an owner, an image is an official one of Docker Hub, built there; if it is yours, write both before its name in the Compose file)",
            report.not_built.join(", ")
        ));
    }
    if !report.others.is_empty() {
        lines.push("Cannot be deployed:".to_owned());
    }
    for other in &report.others {
        lines.push(format!("  {}", other.sentence()));
        if let Some(line) = &other.instead {
            let or = other.fixable.as_ref().map_or("", |_| OR_FIX);
            lines.push(format!("    to deploy it, write `{line}`{or}"));
        }
    }
    for warning in &report.warnings {
        lines.push(format!("Warning: {warning}"));
    }
    lines.push(String::new());
    lines.push("Next:".to_owned());
    for (number, step) in report.next.iter().enumerate() {
        lines.push(format!("  {}. {step}", number + 1));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests;
