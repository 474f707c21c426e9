//! What Compose warns of while it does what it was asked: a variable that is set nowhere, a field that it ignores.
//!
//! Compose writes a warning to stderr as `time="…" level=warning msg="…"`, with the message quoted as Go quotes.

/// As many as are kept: a project with more has them all for one reason.
const WARNINGS_MAX: usize = 20;

/// The characters of a warning that are kept; its beginning says what is wrong.
const WARNING_LEN_MAX: usize = 300;

/// The warnings in what Compose wrote to stderr, each once, in the words of Compose.
#[must_use]
pub fn compose_warnings(stderr: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in stderr.lines() {
        let Some((_, message)) = line.split_once("level=warning msg=") else {
            continue;
        };
        let message = crate::mask::beginning(unquoted(message).trim(), WARNING_LEN_MAX);
        if found.len() < WARNINGS_MAX && !found.contains(&message) {
            found.push(message);
        }
    }
    found
}

/// The variable that a warning says is set nowhere.
#[must_use]
pub fn unset_variable(warning: &str) -> Option<&str> {
    let (name, rest) = warning.strip_prefix("The \"")?.split_once('"')?;
    rest.starts_with(" variable is not set").then_some(name)
}

/// A text without the quotes and the escapes that Go puts; one without quotes as it is.
fn unquoted(text: &str) -> String {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.to_owned();
    };
    let mut plain = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n' | 'r' | 't') => plain.push(' '),
                Some(escaped) => plain.push(escaped),
                None => break,
            },
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_in_the_words_of_compose_and_once() {
        let stderr = concat!(
            "time=\"2026-11-27T04:40:00Z\" level=warning msg=\"The \\\"DB_PASSWORD\\\" variable is not set. Defaulting to a blank string.\"\n",
            "time=\"2026-11-27T04:40:00Z\" level=warning msg=\"The \\\"DB_PASSWORD\\\" variable is not set. Defaulting to a blank string.\"\n",
            " Container shop-app-1  Created\n",
            "time=\"2026-11-27T04:40:00Z\" level=warning msg=\"/srv/compose.yaml: the attribute `version` is obsolete\"\n",
            "time=\"2026-11-27T04:40:00Z\" level=error msg=\"no warning\"\n",
            "time=\"2026-11-27T04:40:00Z\" level=warning msg=plain\n",
        );
        let found = compose_warnings(stderr);
        assert_eq!(
            found,
            [
                "The \"DB_PASSWORD\" variable is not set. Defaulting to a blank string.",
                "/srv/compose.yaml: the attribute `version` is obsolete",
                "plain",
            ]
        );
        let unset: Vec<_> = found.iter().map(|found| unset_variable(found)).collect();
        assert_eq!(unset, [Some("DB_PASSWORD"), None, None]);
    }

    #[test]
    fn there_are_never_more_than_can_be_read() {
        let line = |n: usize| format!("level=warning msg=\"{n}{}\"\n", "x".repeat(1000));
        let many: String = (0..100).map(line).collect();
        let found = compose_warnings(&many);
        assert_eq!(found.len(), WARNINGS_MAX);
        assert!(
            found
                .iter()
                .all(|one| one.chars().count() <= WARNING_LEN_MAX + 1)
        );
        assert_eq!(compose_warnings("level=warning msg=\"cut \\"), ["cut"]);
    }
}
