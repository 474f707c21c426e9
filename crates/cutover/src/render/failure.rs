//! An error at the end of a command: what happened, what was changed, what to do next.

use std::io;

use crate::client::failure::Failure;
use crate::exit::Exit;
use crate::render::deployment::fields;
use crate::render::style::{BAD, paint};
use crate::render::tell;
use crate::render::text::clean;

/// Prints the error and returns the exit code for it.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        tell(&describe(failure));
        return failure.exit();
    }
    let reader_is_gone = error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if reader_is_gone {
        // `cutover history | head` has read enough; that is no error.
        return Exit::Done;
    }
    let mut text = format!("{} {}\n", paint(BAD, "error:"), clean(&error.to_string()));
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  caused by: {}\n", clean(&cause.to_string())));
    }
    tell(&text);
    Exit::Failed
}

/// A failure as lines.
fn describe(failure: &Failure) -> String {
    let mut lines = Vec::new();
    match failure {
        Failure::Refused { problem, .. } => {
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
    let indented: String = fields(&lines)
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    format!(
        "{} {}\n{indented}",
        paint(BAD, word),
        clean(&failure.to_string())
    )
}

/// What a refused request changed.
fn changed(problem: &cutover_api::problem::Problem) -> String {
    match &problem.deployment {
        Some(deployment) => crate::render::conclusion::changed(deployment),
        None => "nothing: the request was refused".to_owned(),
    }
}
