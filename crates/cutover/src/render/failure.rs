//! An error at the end of a command: what happened, what was changed, what to do next.

use std::io;

use crate::client::failure::Failure;
use crate::exit::Exit;
use crate::render::deployment::fields;
use crate::render::style::{BAD, paint};
use crate::render::text::{clean, hang};
use crate::render::{Audience, tell};

/// Prints the error and returns the exit code for it.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        tell(&describe(failure, Audience::of_stderr().columns()));
        return failure.exit();
    }
    let reader_is_gone = error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if reader_is_gone {
        // `cutover history | head` has read enough; that is no error.
        return Exit::Done;
    }
    let columns = Audience::of_stderr().columns();
    let mut text = String::new();
    for (place, fact) in facts(error).iter().enumerate() {
        let (line, indent) = match place {
            0 => (format!("{} {fact}", paint(BAD, "error:")), 2),
            _ => (format!("  caused by: {fact}"), 4),
        };
        text.push_str(&hang(&line, 0, indent, columns));
        text.push('\n');
    }
    tell(&text);
    Exit::Failed
}

/// The error and its causes, without those that an error above them has told already.
fn facts(error: &anyhow::Error) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    for error in error.chain() {
        let fact = clean(&error.to_string());
        if !facts.iter().any(|told| told.contains(&fact)) {
            facts.push(fact);
        }
    }
    facts
}

/// A failure as lines.
fn describe(failure: &Failure, columns: Option<usize>) -> String {
    let mut lines = Vec::new();
    let mut what = clean(&failure.to_string());
    match failure {
        Failure::Refused { problem, .. } => {
            // The detail ends in it as well, for those who read the JSON.
            what = what.trim_end_matches("; nothing was changed").to_owned();
            lines.push(("changed", changed(problem)));
            lines.push(("next", clean(&problem.hint)));
            lines.push((
                "code",
                format!("{} (HTTP {})", clean(&problem.code), problem.status),
            ));
        }
        Failure::Usage { .. }
        | Failure::NotReached { .. }
        | Failure::Lost { .. }
        | Failure::Foreign { .. }
        | Failure::Interrupted { .. } => lines.push(("next", clean(failure.hint()))),
    }
    lines.retain(|(_, value)| !value.is_empty());
    let word = match failure {
        Failure::Interrupted { .. } => "interrupted:",
        _ => "error:",
    };
    let first = format!("{} {}", paint(BAD, word), what);
    hang(&first, 0, 2, columns) + "\n" + &fields(&lines, 2, columns)
}

/// What a refused request changed.
fn changed(problem: &cutover_api::problem::Problem) -> String {
    match &problem.deployment {
        Some(deployment) => crate::render::conclusion::changed(deployment),
        None => "nothing: the request was refused".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("`tls.crt` cannot be used: {source}")]
    struct Tells {
        source: io::Error,
    }

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let error = Tells {
            source: io::Error::other("bad encoding"),
        };
        let error = anyhow::Error::new(error).context("the daemon cannot start");
        assert_eq!(
            facts(&error),
            [
                "the daemon cannot start",
                "`tls.crt` cannot be used: bad encoding"
            ]
        );
    }
}
