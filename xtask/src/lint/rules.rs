//! Our own rules for workflows, actions and their examples.

use std::collections::BTreeSet;

use super::expression::{Names, mistake};
use super::source::{Fragment, indentation, run_scripts};

/// What a YAML file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A composite action.
    Action,
    /// A workflow that runs in this repository, or is called from others.
    Workflow,
    /// A workflow in a document, for others to copy.
    Example,
}

/// Everything that breaks a rule.
pub(super) fn findings(yaml: &Fragment, kind: Kind) -> Vec<String> {
    let mut findings = scripts_without_expressions(yaml);
    findings.extend(pinned_actions(yaml, kind));
    findings.extend(right_expressions(yaml));
    findings.extend(known_origin(yaml));
    if kind != Kind::Action {
        findings.extend(least_permissions(yaml));
        findings.extend(bounded_jobs(yaml));
    }
    if kind == Kind::Example {
        findings.extend(ordered_pushes(yaml));
    }
    findings
}

/// A value that is pasted into a script is code: a branch name with a semicolon runs commands.
fn scripts_without_expressions(yaml: &Fragment) -> Vec<String> {
    let mut findings = Vec::new();
    for script in run_scripts(yaml) {
        if script.text.trim() == ">" || script.text.trim() == ">-" {
            findings.push(script.finding(1, "write the script on one line or after `run: |`"));
        }
        for (index, line) in script.text.lines().enumerate() {
            if line.contains("${{") {
                findings.push(script.finding(
                    index + 1,
                    "an expression in a script becomes code; pass the value through `env:`",
                ));
            }
        }
    }
    findings
}

/// A tag of somebody else's can be moved to other code. A checkout leaves its token in a file.
fn pinned_actions(yaml: &Fragment, kind: Kind) -> Vec<String> {
    let lines: Vec<&str> = yaml.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let key = line.trim_start().trim_start_matches("- ");
        let Some(value) = key.strip_prefix("uses:") else {
            continue;
        };
        let action = value.split('#').next().unwrap_or_default().trim();
        let version = action.split_once('@').map_or("", |(_, version)| version);
        let is_commit = version.len() == 40 && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        // Readers put in the commit that they have looked at.
        let is_placeholder = kind == Kind::Example && version == "COMMIT";
        if !action.starts_with("./") && !is_commit && !is_placeholder {
            findings.push(yaml.finding(
                index + 1,
                "pin the action to a commit of 40 hexadecimal digits",
            ));
        }
        let step = lines[index + 1..]
            .iter()
            .take_while(|line| !line.trim_start().starts_with("- "));
        if action.starts_with("actions/checkout@")
            && !step
                .clone()
                .any(|line| line.trim() == "persist-credentials: false")
        {
            findings.push(yaml.finding(index + 1, "set `persist-credentials: false`"));
        }
    }
    findings
}

/// Where GitHub does not say where a workflow is from, a checkout of that place takes the caller's files.
fn known_origin(yaml: &Fragment) -> Vec<String> {
    let line_of = |text: &str| yaml.text.lines().position(|line| line.trim() == text);
    let guard = line_of("if: job.workflow_repository == ''");
    let checkout = line_of("repository: ${{ job.workflow_repository }}");
    checkout
        .filter(|checkout| guard.is_none_or(|guard| guard > *checkout))
        .map(|index| yaml.finding(index + 1, "fail before if `job.workflow_repository == ''`"))
        .into_iter()
        .collect()
}

/// Every `${{ … }}`, and every `if:`, which needs no braces.
fn right_expressions(yaml: &Fragment) -> Vec<String> {
    let names = names(yaml);
    let mut findings = Vec::new();
    for (index, line) in yaml.text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let condition = line
            .trim_start()
            .trim_start_matches("- ")
            .strip_prefix("if:");
        let mut expressions: Vec<&str> = line
            .split("${{")
            .skip(1)
            .map(|after| after.split_once("}}").map_or("", |(inside, _)| inside))
            .collect();
        expressions.extend(condition.filter(|_| expressions.is_empty()));
        findings.extend(
            expressions
                .iter()
                .filter_map(|expression| mistake(expression, &names))
                .map(|mistake| yaml.finding(index + 1, &mistake)),
        );
    }
    findings
}

/// A workflow that says nothing gets what the repository grants, which may be everything.
fn least_permissions(yaml: &Fragment) -> Vec<String> {
    let stated = yaml
        .text
        .lines()
        .any(|line| line.starts_with("permissions:"));
    if stated {
        Vec::new()
    } else {
        vec![yaml.finding(
            1,
            "state `permissions:` for the whole workflow, at best `{}`",
        )]
    }
}

/// A job without a bound of its own is ended after six hours.
fn bounded_jobs(yaml: &Fragment) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, keys) in jobs(yaml) {
        if !keys.contains("timeout-minutes") && !keys.contains("uses") {
            findings.push(yaml.finding(line, "give the job `timeout-minutes`"));
        }
    }
    findings
}

/// Without a group of the whole workflow, an older push whose build takes longer is deployed over a newer
/// one. A called workflow that waits for the group of its caller never runs: those of deploy.yml begin with
/// `cutover-`.
fn ordered_pushes(yaml: &Fragment) -> Vec<String> {
    let lines: Vec<&str> = yaml.text.lines().collect();
    let is_for_pushes = lines.iter().any(|line| line.trim() == "push:");
    let Some(begin) = lines.iter().position(|line| *line == "concurrency:") else {
        let finding =
            "state `concurrency:` for the whole workflow, so that pushes are deployed in order";
        return is_for_pushes
            .then(|| yaml.finding(1, finding))
            .into_iter()
            .collect();
    };
    let block = lines.iter().enumerate().skip(begin + 1);
    block
        .take_while(|(_, line)| line.starts_with(' '))
        .filter(|(_, line)| line.trim_start().starts_with("group: cutover-"))
        .map(|(index, _)| {
            yaml.finding(
                index + 1,
                "a group of the called workflow may have the same name",
            )
        })
        .collect()
}

/// The line of each job, and its keys.
fn jobs(yaml: &Fragment) -> Vec<(usize, BTreeSet<String>)> {
    let mut jobs: Vec<(usize, BTreeSet<String>)> = Vec::new();
    let mut inside = false;
    for (index, line) in yaml.text.lines().enumerate() {
        let Some(key) = key_of(line) else { continue };
        match (indentation(line), inside) {
            (0, _) => inside = key == "jobs",
            (2, true) => jobs.push((index + 1, BTreeSet::new())),
            (4, true) => {
                if let Some((_, keys)) = jobs.last_mut() {
                    keys.insert(key.to_owned());
                }
            }
            _ => {}
        }
    }
    jobs
}

/// What the file declares.
fn names(yaml: &Fragment) -> Names {
    let ids = yaml.text.lines().filter_map(|line| {
        let key = line.trim_start().trim_start_matches("- ");
        key.strip_prefix("id:").map(|id| id.trim().to_owned())
    });
    Names {
        inputs: keys_under(yaml, "inputs"),
        steps: ids.collect(),
        jobs: keys_under(yaml, "jobs"),
    }
}

/// The keys directly below every key of the given name.
fn keys_under(yaml: &Fragment, parent: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    // The depth of the parent, and of its children once there was one.
    let mut place: Option<(usize, Option<usize>)> = None;
    for line in yaml.text.lines() {
        let Some(key) = key_of(line) else { continue };
        let depth = indentation(line);
        match place {
            Some((outer, children)) if depth > outer => {
                let children = children.unwrap_or(depth);
                place = Some((outer, Some(children)));
                if depth == children {
                    keys.insert(key.to_owned());
                }
            }
            _ => place = (key == parent).then_some((depth, None)),
        }
    }
    keys
}

/// The key that a line begins with.
fn key_of(line: &str) -> Option<&str> {
    let (key, after) = line.trim_start().split_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_key = !key.is_empty() && key.bytes().all(is_name);
    (is_key && (after.is_empty() || after.starts_with(' '))).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKFLOW: &str = "\
on:
  workflow_call:
    inputs:
      url:
        type: string
permissions: {}
jobs:
  call:
    uses: ./.github/workflows/other.yml
  deploy:
    needs: call
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@0123456789012345678901234567890123456789 # v1
        with:
          persist-credentials: false
      - if: needs.call.result == 'success'
        id: deploy
        env:
          URL: ${{ inputs.url }}
        run: |
          curl \"$URL\"
          echo \"${x}\"
";

    #[track_caller]
    fn check(find: &str, replace: &str, kind: Kind, expected: &[&str]) {
        let text = WORKFLOW.replacen(find, replace, 1);
        assert!(find.is_empty() || text != WORKFLOW, "{find} is not there");
        let found = findings(&Fragment::whole("w.yml", text), kind);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_workflow_that_keeps_the_rules_has_no_findings() {
        check("", "", Kind::Workflow, &[]);
    }

    #[test]
    fn an_expression_in_a_script_is_found() {
        check(
            "\"$URL\"",
            "${{ inputs.url }}",
            Kind::Workflow,
            &["w.yml:22: an expression in a script becomes code; pass the value through `env:`"],
        );
        check(
            "run: |",
            "run: >-",
            Kind::Workflow,
            &["w.yml:21: write the script on one line or after `run: |`"],
        );
    }

    #[test]
    fn an_action_that_is_not_pinned_is_found() {
        let expected = ["w.yml:14: pin the action to a commit of 40 hexadecimal digits"];
        for version in ["v4", "main", "01234567", "COMMIT"] {
            check(
                "0123456789012345678901234567890123456789",
                version,
                Kind::Workflow,
                &expected,
            );
        }
        check(
            "0123456789012345678901234567890123456789",
            "COMMIT",
            Kind::Example,
            &[],
        );
    }

    #[test]
    fn a_checkout_that_keeps_its_token_is_found() {
        check(
            "persist-credentials: false",
            "fetch-depth: 0",
            Kind::Workflow,
            &["w.yml:14: set `persist-credentials: false`"],
        );
    }

    #[test]
    fn a_checkout_of_a_place_that_may_not_be_known_is_found() {
        let checkout = "with:\n          repository: ${{ job.workflow_repository }}\n";
        check(
            "with:\n",
            checkout,
            Kind::Workflow,
            &["w.yml:16: fail before if `job.workflow_repository == ''`"],
        );
        let guard = "steps:\n      - name: see\n        if: job.workflow_repository == ''\n        run: exit 1\n";
        let text = WORKFLOW.replace("with:\n", checkout);
        let guarded = Fragment::whole("w.yml", text.replace("steps:\n", guard));
        assert_eq!(findings(&guarded, Kind::Workflow), [""; 0]);
    }

    #[test]
    fn a_job_without_a_bound_and_a_workflow_without_permissions_are_found() {
        check(
            "    timeout-minutes: 5\n",
            "",
            Kind::Workflow,
            &["w.yml:10: give the job `timeout-minutes`"],
        );
        check(
            "permissions: {}\n",
            "",
            Kind::Workflow,
            &["w.yml:1: state `permissions:` for the whole workflow, at best `{}`"],
        );
    }

    #[test]
    fn a_wrong_expression_is_found_with_and_without_braces() {
        check(
            "{{ inputs.url }}",
            "{{ inputs.address }}",
            Kind::Workflow,
            &["w.yml:20: `inputs.address` is not declared here"],
        );
        check(
            "needs.call.result",
            "needs.cal.result",
            Kind::Workflow,
            &["w.yml:17: `needs.cal` is not declared here"],
        );
        check(
            "URL: ${{ inputs.url }}",
            "URL: ${{ inputs.url",
            Kind::Workflow,
            &["w.yml:20: the expression is empty"],
        );
    }

    #[test]
    fn an_example_whose_pushes_overtake_each_other_or_that_waits_for_itself_is_found() {
        let push = |group: &str| format!("{group}on:\n  push:\n  workflow_call:\n");
        check(
            "on:\n  workflow_call:\n",
            &push(""),
            Kind::Example,
            &[
                "w.yml:1: state `concurrency:` for the whole workflow, so that pushes are deployed in order",
            ],
        );
        check(
            "on:\n  workflow_call:\n",
            &push("concurrency:\n  group: deploy\n"),
            Kind::Example,
            &[],
        );
        check(
            "on:\n  workflow_call:\n",
            &push("concurrency:\n  # why\n  group: cutover-app\n"),
            Kind::Example,
            &["w.yml:3: a group of the called workflow may have the same name"],
        );
    }
}
