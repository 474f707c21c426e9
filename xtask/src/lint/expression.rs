//! GitHub's expressions, `${{ … }}`: small enough to check in full, and nothing else on this machine
//! would notice that they know no arithmetic or that an input is misspelled.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/expressions>

use std::collections::BTreeSet;

/// The contexts, which are all that an expression can begin with.
const CONTEXTS: [&str; 12] = [
    "github", "env", "vars", "job", "jobs", "steps", "runner", "secrets", "strategy", "matrix",
    "needs", "inputs",
];
/// Words that stand for a value.
const LITERALS: [&str; 3] = ["true", "false", "null"];
/// What can be called.
const FUNCTIONS: [&str; 13] = [
    "contains",
    "startsWith",
    "endsWith",
    "format",
    "join",
    "toJSON",
    "fromJSON",
    "hashFiles",
    "case",
    "success",
    "always",
    "cancelled",
    "failure",
];
/// Operators and marks, longest first.
const MARKS: [&str; 14] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ",",
];

/// What a file declares, for expressions to refer to.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The inputs of the workflow or action.
    pub(super) inputs: BTreeSet<String>,
    /// The ids of the steps.
    pub(super) steps: BTreeSet<String>,
    /// The ids of the jobs.
    pub(super) jobs: BTreeSet<String>,
}

/// What is wrong with an expression, given without its braces.
pub(super) fn mistake(expression: &str, names: &Names) -> Option<String> {
    let mut rest = expression.trim();
    if rest.is_empty() {
        return Some("the expression is empty".to_owned());
    }
    while let Some(first) = rest.chars().next() {
        rest = if first == '\'' {
            match after_string(&rest[1..]) {
                Some(after) => after,
                None => return Some("a string is not closed".to_owned()),
            }
        } else if first.is_ascii_digit() {
            rest.trim_start_matches(|char: char| {
                char.is_ascii_hexdigit() || matches!(char, '.' | 'x')
            })
        } else if first.is_ascii_alphabetic() || first == '_' {
            let (word, after) = split_word(rest);
            if let Some(mistake) = mistake_in_word(word, after, names) {
                return Some(mistake);
            }
            after
        } else if let Some(after) = MARKS.iter().find_map(|mark| rest.strip_prefix(mark)) {
            after
        } else {
            return Some(format!("`{first}` has no meaning in an expression"));
        }
        .trim_start();
    }
    None
}

/// What follows a string, whose opening quote is already taken away. Two quotes in it are one.
fn after_string(text: &str) -> Option<&str> {
    let (_, after) = text.split_once('\'')?;
    match after.strip_prefix('\'') {
        Some(more) => after_string(more),
        None => Some(after),
    }
}

/// A name with everything that is reached from it by dots, and the rest.
fn split_word(text: &str) -> (&str, &str) {
    let belongs =
        |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.' | '*');
    text.split_at(text.find(|char| !belongs(char)).unwrap_or(text.len()))
}

fn mistake_in_word(word: &str, after: &str, names: &Names) -> Option<String> {
    if after.trim_start().starts_with('(') {
        let known = FUNCTIONS
            .iter()
            .any(|function| function.eq_ignore_ascii_case(word));
        return (!known).then(|| format!("there is no function `{word}`"));
    }
    let mut parts = word.split('.');
    let (context, name) = (parts.next().unwrap_or_default(), parts.next());
    if LITERALS.contains(&word) {
        return None;
    }
    if !CONTEXTS.contains(&context) {
        return Some(format!("there is no context `{context}`"));
    }
    let declared = match context {
        "inputs" => &names.inputs,
        "steps" => &names.steps,
        "jobs" | "needs" => &names.jobs,
        _ => return None,
    };
    let name = name?;
    (!declared.contains(name)).then(|| format!("`{context}.{name}` is not declared here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Names {
            inputs: set(&["url", "timeout-minutes"]),
            steps: set(&["built"]),
            jobs: set(&["deploy"]),
        }
    }

    #[test]
    fn what_github_understands_is_right() {
        for right in [
            " inputs.url ",
            "inputs.image || format('ghcr.io/{0}', github.repository)",
            "steps.built.outputs.missing == 'true' && !cancelled()",
            "github.event_name != 'merge_group'",
            "contains(fromJSON('[\"a\"]'), matrix['os']) || 0x1f >= 1.5",
            "needs.deploy.result == 'it''s'",
            "toJson(github.event.*.name)",
        ] {
            let names = Names {
                inputs: ["url", "image"].map(str::to_owned).into(),
                ..names()
            };
            assert_eq!(mistake(right, &names), None, "{right}");
        }
    }

    #[test]
    fn what_github_does_not_understand_is_a_mistake() {
        for (wrong, says) in [
            ("", "the expression is empty"),
            (
                "inputs.timeout-minutes + 5",
                "`+` has no meaning in an expression",
            ),
            (
                "github.ref == \"main\"",
                "`\"` has no meaning in an expression",
            ),
            ("github.ref == 'main", "a string is not closed"),
            ("inputs.ulr", "`inputs.ulr` is not declared here"),
            (
                "steps.build.outputs.x",
                "`steps.build` is not declared here",
            ),
            ("needs.test.result", "`needs.test` is not declared here"),
            ("input.url", "there is no context `input`"),
            (
                "startWith(github.ref, 'x')",
                "there is no function `startWith`",
            ),
        ] {
            assert_eq!(mistake(wrong, &names()).as_deref(), Some(says), "{wrong}");
        }
    }
}
