//! `cutover init --fix`: writes the tag variable into the image lines that lack one.
//!
//! What stood there becomes the default (`:1.4` becomes `:${SHOP_IMAGE_TAG:-1.4}`), so that nothing changes for whoever
//! types `docker compose up`. It is shown and asked for before it is written, and Compose is asked afterwards whether
//! the project is the same as before.

mod edit;

use std::fs;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cutover_core::template::{Carries, suggested_variable};
use serde_json::Value;

use self::edit::{Change, edit, named_files};
use super::InitArgs;
use super::project::{Deployable, Fixable, Other, Project, render_project};
use crate::client::failure::Failure;
use crate::render;

/// More files than any project includes.
const FILES_MAX: usize = 100;

/// A file as it is and as it shall be.
struct Draft {
    path: PathBuf,
    before: String,
    after: String,
    changes: Vec<Change>,
}

/// Writes the variables, if there is anything to write and it is wanted.
///
/// # Errors
/// What is wrong; no file was changed then.
pub(super) fn fix(project: &Project, args: &InitArgs) -> anyhow::Result<()> {
    let chosen = choose(project, &args.services)?;
    if chosen.is_empty() {
        render::tell(
            "every service that cutover would deploy has a tag variable in its image line; no Compose file was changed\n",
        );
        return Ok(());
    }
    let variable = variable(project, &chosen);
    let images: Vec<(String, String)> = chosen
        .iter()
        .map(|(_, one)| (one.image.clone(), one.with(&variable)))
        .collect();
    let drafts = drafts(project, &images)?;
    let written = |image: &str| {
        let mut changes = drafts.iter().flat_map(|draft| &draft.changes);
        changes.any(|change| change.before.contains(image))
    };
    if let Some((other, one)) = chosen.iter().find(|(_, one)| !written(&one.image)) {
        return Err(Failure::usage(
            format!(
                "the image line of service `{}` was not found in the Compose files; no file was changed",
                other.service
            ),
            format!("write `image: {}` there by hand", one.with(&variable)),
        )
        .into());
    }
    render::print(&diff(&drafts))?;
    ask(args)?;
    write(project, &drafts, &chosen, &variable)?;
    let names: Vec<&str> = chosen
        .iter()
        .map(|(other, _)| other.service.as_str())
        .collect();
    render::tell(&format!(
        "{} now takes its tag from {variable}; what stood there is the default\n",
        names.join(", ")
    ));
    Ok(())
}

/// The services whose lines are changed: those that are named, or those of the one image that can be meant; and every
/// other one of the same image.
fn choose<'a>(
    project: &'a Project,
    named: &[String],
) -> anyhow::Result<Vec<(&'a Other, &'a Fixable)>> {
    let all: Vec<(&Other, &Fixable)> = project
        .others
        .iter()
        .filter_map(|other| Some((other, other.fixable.as_deref()?)))
        .collect();
    let is_named = |other: &Other| named.contains(&other.service);
    let known = |name: &String| all.iter().any(|(other, _)| other.service == *name);
    if let Some(unknown) = named.iter().find(|name| !known(name)) {
        return Err(Failure::usage(
            format!("service `{unknown}` has no image line that can be changed"),
            "no file was changed; `cutover init` without `--fix` says which services there are",
        )
        .into());
    }
    let mut wanted: Vec<&(&Other, &Fixable)> = match named.is_empty() {
        false => all.iter().filter(|(other, _)| is_named(other)).collect(),
        true => all.iter().filter(|(other, _)| other.is_own).collect(),
    };
    if named.is_empty() && wanted.iter().any(|(_, one)| one.is_built) {
        wanted.retain(|(_, one)| one.is_built);
    }
    let mut repositories: Vec<&str> = wanted
        .iter()
        .map(|(_, one)| one.repository.as_str())
        .collect();
    repositories.sort_unstable();
    repositories.dedup();
    if named.is_empty() && repositories.len() > 1 {
        return Err(Failure::usage(
            format!(
                "several images may be the ones that you build: {}",
                repositories.join(", ")
            ),
            "no file was changed; say which services: `cutover init --fix --service NAME`, several times if one commit builds them all",
        )
        .into());
    }
    let repositories: Vec<String> = repositories.into_iter().map(str::to_owned).collect();
    Ok(all
        .into_iter()
        .filter(|(_, one)| repositories.contains(&one.repository))
        .collect())
}

/// The tag variable of another service with the same image, or one that is named after the service that users reach.
fn variable(project: &Project, chosen: &[(&Other, &Fixable)]) -> String {
    let has_same = |repository: &str| chosen.iter().any(|(_, one)| one.repository == repository);
    let mut known = project.services.iter();
    let is_tag = |one: &Deployable| one.carries == Carries::Tag;
    if let Some(known) = known.find(|one| is_tag(one) && has_same(&one.repository)) {
        return known.tag_variable.clone();
    }
    let lead = chosen.iter().find(|(_, one)| one.publishes);
    let lead = lead.or(chosen.first());
    lead.map_or_else(String::new, |(other, _)| suggested_variable(&other.service))
}

/// The project's files, and those that they name, with what is to be changed in them.
fn drafts(project: &Project, images: &[(String, String)]) -> anyhow::Result<Vec<Draft>> {
    let mut paths: Vec<PathBuf> = project.files.clone();
    let mut drafts = Vec::new();
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        next += 1;
        let is_own = project.files.contains(&path);
        let before = match fs::read_to_string(&path) {
            Ok(text) => text,
            // What is named by `include` or `extends` may be a variable, a directory, or of another host.
            Err(_) if !is_own => continue,
            Err(error) => {
                return Err(error).context(format!("{} cannot be read", path.display()));
            }
        };
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        for named in named_files(&before) {
            let named = directory.join(named);
            if !paths.contains(&named) && paths.len() < FILES_MAX {
                paths.push(named);
            }
        }
        let edited = edit(&before, images).map_err(|error| {
            Failure::usage(
                format!("{}: {error}", path.display()),
                "no file was changed",
            )
        });
        let (after, changes) = match edited {
            Ok(edited) => edited,
            Err(_) if !is_own => continue,
            Err(failure) => return Err(failure.into()),
        };
        if !changes.is_empty() {
            drafts.push(Draft {
                path,
                before,
                after,
                changes,
            });
        }
    }
    Ok(drafts)
}

/// What is changed, as `diff` shows it.
fn diff(drafts: &[Draft]) -> String {
    let mut text = String::new();
    for draft in drafts {
        let path = draft.path.display();
        text.push_str(&format!("--- {path}\n+++ {path}\n"));
        for Change {
            line,
            before,
            after,
        } in &draft.changes
        {
            text.push_str(&format!("@@ -{line} +{line} @@\n-{before}\n+{after}\n"));
        }
    }
    text
}

fn ask(args: &InitArgs) -> anyhow::Result<()> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask whether this may be written",
            "no file was changed; look at the changes above and run it again with `--yes`",
        )
        .into());
    }
    render::tell("Write these changes? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::usage(
            "the changes were not wanted",
            "no file was changed; write the lines by hand, or run it again",
        )
        .into()),
    }
}

/// Writes the files. If Compose then reads another project than before, they are as they were again.
fn write(
    project: &Project,
    drafts: &[Draft],
    chosen: &[(&Other, &Fixable)],
    variable: &str,
) -> anyhow::Result<()> {
    let before = rendered(project)?;
    let result = drafts
        .iter()
        .try_for_each(|draft| put(&draft.path, &draft.before, &draft.after));
    let why = match result {
        Err(error) => Some(error.to_string()),
        Ok(()) => match rendered(project) {
            Ok(after) if after == expected(&before, chosen, variable) => None,
            Ok(_) => Some(format!(
                "Compose reads another project than before; is {variable} set already?"
            )),
            Err(error) => Some(error.to_string()),
        },
    };
    let Some(why) = why else {
        return Ok(());
    };
    for draft in drafts {
        put(&draft.path, &draft.after, &draft.before)
            .with_context(|| format!("{} could not be put back", draft.path.display()))?;
    }
    Err(Failure::usage(why, "every file is as it was; write the lines by hand").into())
}

/// Gives the file its new content, if it has the one that is known.
fn put(path: &Path, from: &str, to: &str) -> anyhow::Result<()> {
    let mut is_known = true;
    let changed = cutover_daemon::change_file(path, |bytes| {
        is_known = bytes == from.as_bytes() || bytes == to.as_bytes();
        is_known.then(|| to.as_bytes().to_vec())
    });
    changed.with_context(|| format!("{} cannot be written", path.display()))?;
    anyhow::ensure!(is_known, "somebody changed {} meanwhile", path.display());
    Ok(())
}

/// The project with and without its variables filled in; the former only where it can be.
type Rendered = (Option<Value>, Value);

fn rendered(project: &Project) -> anyhow::Result<Rendered> {
    let json = |options: &[&str]| -> anyhow::Result<Value> {
        let mut project: Value = serde_json::from_slice(&render_project(project, options)?)?;
        if let Some(parts) = project.as_object_mut() {
            // What only anchors are kept in is no part of the project.
            parts.retain(|name, _| !name.starts_with("x-"));
        }
        Ok(project)
    };
    Ok((json(&[]).ok(), json(&["--no-interpolate"])?))
}

/// The project as it must be afterwards.
fn expected(before: &Rendered, chosen: &[(&Other, &Fixable)], variable: &str) -> Rendered {
    let (mut filled_in, mut written) = before.clone();
    for (other, one) in chosen {
        let image = &mut written["services"][&other.service]["image"];
        *image = Value::from(one.with(variable));
        if let (Some(filled_in), true) = (&mut filled_in, one.tag.is_none()) {
            let image = &mut filled_in["services"][&other.service]["image"];
            *image = Value::from(format!("{}:latest", image.as_str().unwrap_or_default()));
        }
    }
    (filled_in, written)
}
