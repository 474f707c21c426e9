//! Linters for what is not Rust: shell scripts, the GitHub action, the workflows, and the examples of
//! both in the documents.
//!
//! Most of it is done by shellcheck and action-validator, which [`tools`] fetches. What neither of them
//! knows is in [`rules`]: how a value reaches a script, what is pinned, and the expressions, whose
//! mistakes would be noticed only by GitHub, and only when a job comes to them.

mod expression;
mod rules;
mod source;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use rules::Kind;
use source::Fragment;
use tools::Tools;

/// Where the composite action is.
const ACTION: &str = "action.yml";
/// Where the workflows are.
const WORKFLOWS: &str = ".github/workflows";
/// The workflow that users copy.
const SHIPPED_WORKFLOW: &str = "dist/workflow.yml";
/// The documents whose examples are read.
const DOCUMENTS: [&str; 2] = ["README.md", "docs"];

/// Looks through everything and reports all findings at once.
///
/// # Errors
/// If there are findings, or a linter cannot be fetched or does not find what it should.
pub(crate) fn lint() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask is in no workspace")?;
    let tools = Tools::fetch(&root.join("target/tools"))?;
    let mut findings = lint_shell(&tools, root)?;
    let mut documents = vec![
        (PathBuf::from(ACTION), Kind::Action),
        (PathBuf::from(SHIPPED_WORKFLOW), Kind::Example),
    ];
    for workflow in source::files_in(root, Path::new(WORKFLOWS), &["yml", "yaml"])? {
        documents.push((workflow, Kind::Workflow));
    }
    for (path, kind) in documents {
        let text = fs::read_to_string(root.join(&path))
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let whole = Fragment::whole(&path.display().to_string(), text);
        findings.extend(lint_yaml(&tools, &whole, kind)?);
    }
    for document in DOCUMENTS {
        for path in source::files_in(root, Path::new(document), &["md"])? {
            findings.extend(lint_examples(&tools, root, &path)?);
        }
    }
    ensure!(
        findings.is_empty(),
        "{} findings in scripts and workflows:\n{}",
        findings.len(),
        findings.join("\n")
    );
    Ok(())
}

/// Looks through every script, together with the parts that it reads in.
fn lint_shell(tools: &Tools, root: &Path) -> Result<Vec<String>> {
    let shell = source::shell(root)?;
    let mut findings = Vec::new();
    let mut texts = String::new();
    for script in &shell.scripts {
        findings.extend(tools.shellcheck_file(root, script)?);
        texts += &fs::read_to_string(root.join(script))?;
    }
    for part in &shell.parts {
        let name = part.file_name().unwrap_or_default().to_string_lossy();
        let is_read = |line: &str| {
            line.trim_start().starts_with("# shellcheck source=") && line.ends_with(&*name)
        };
        if !texts.lines().any(is_read) {
            findings.push(format!(
                "{}: begin it with `#!` if it is a script; no script reads it in after `# shellcheck source=`",
                part.display()
            ));
        }
    }
    // A part is looked through once for each script that reads it in.
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Looks through one workflow or action: its form, our rules, and the scripts inside.
fn lint_yaml(tools: &Tools, yaml: &Fragment, kind: Kind) -> Result<Vec<String>> {
    let mut findings = tools.validate(yaml, kind)?;
    findings.extend(rules::findings(yaml, kind));
    for script in source::run_scripts(yaml) {
        findings.extend(tools.shellcheck(&script)?);
    }
    Ok(findings)
}

/// Looks through the examples of a document: the scripts that have a name, because tests extract and
/// run them, and the workflows.
fn lint_examples(tools: &Tools, root: &Path, path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(path))?;
    let mut findings = Vec::new();
    for (info, block) in source::fenced_blocks(&path.display().to_string(), &text) {
        let is_workflow = block.text.lines().any(|line| line == "jobs:");
        if info.starts_with("bash ") {
            findings.extend(tools.shellcheck(&block)?);
        } else if info == "yaml" && is_workflow {
            findings.extend(lint_yaml(tools, &block, Kind::Example)?);
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// They are written in shell because what they test is read into the same shell.
    #[test]
    fn the_parts_of_the_action_pass_their_own_tests() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../action/tests/run.sh");
        let output = Command::new("bash")
            .arg(script)
            .output()
            .expect("bash runs");
        assert!(
            output.status.success(),
            "{}{}(the action needs bash and openssl)",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
