//! What a person or a log gets to see while a deployment is followed.

use std::io::IsTerminal;

use cutover_api::deployment::Deployment;

use crate::client::failure::Failure;
use crate::client::follow::Sight;
use crate::render::Audience;
use crate::render::github::{self, GithubView};
use crate::render::plain::PlainView;
use crate::render::terminal::TerminalView;
use crate::render::time::Clock;

/// Shows a deployment as it goes, on stderr.
pub(crate) trait View {
    /// Something about sending the request or the connection.
    fn note(&mut self, text: &str);

    /// The request was accepted as deployment `id`.
    fn accepted(&mut self, service: &str, sha: Option<&str>, id: &str);

    /// Something of the deployment was seen.
    fn see(&mut self, sight: Sight<'_>);

    /// The deployment has ended.
    fn ended(&mut self, deployment: &Deployment, conclusion: Conclusion);

    /// The command failed before the end was known.
    fn failed(&mut self, service: &str, failure: &Failure);
}

/// Whether the [conclusion](crate::render::conclusion) is printed after the view, with the container's last lines
/// under the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// It is.
    Follows,
    /// It is not: a program gets the answer instead.
    IsJson,
}

/// Whether a live, redrawn line is welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// On a terminal.
    WhereItCanBe,
    /// Never: a program reads along.
    Never,
}

/// The view for where this runs: GitHub Actions, a terminal, or neither.
pub(crate) fn choose(liveness: Liveness) -> Box<dyn View> {
    let stderr = std::io::stderr();
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if github::is_runner() {
        Box::new(GithubView::for_runner(stderr))
    } else if stderr.is_terminal() && !dumb && liveness == Liveness::WhereItCanBe {
        Box::new(TerminalView::new(Audience::of_stderr()))
    } else {
        Box::new(PlainView::new(
            anstream::stderr(),
            Clock::now(Audience::Pipe),
        ))
    }
}
