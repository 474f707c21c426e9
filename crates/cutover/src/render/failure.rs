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
    let first = format!("{} {}", paint(BAD, "error:"), clean(&error.to_string()));
    let mut text = hang(&first, 0, 2, columns) + "\n";
    for cause in error.chain().skip(1) {
        let line = format!("  caused by: {}", clean(&cause.to_string()));
        text.push_str(&hang(&line, 0, 4, columns));
        text.push('\n');
    }
    tell(&text);
    Exit::Failed
}

/// A failure as lines.
fn describe(failure: &Failure, columns: Option<usize>) -> String {
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
    let first = format!("{} {}", paint(BAD, word), clean(&failure.to_string()));
    hang(&first, 0, 2, columns) + "\n" + &fields(&lines, 2, columns)
}

/// What a refused request changed.
fn changed(problem: &cutover_api::problem::Problem) -> String {
    match &problem.deployment {
        Some(deployment) => crate::render::conclusion::changed(deployment),
        None => "nothing: the request was refused".to_owned(),
    }
}
