//! What the environment of the image asks of the service.
//!
//! Several services of one image may behave differently: where `ROLE` is `worker`, `WORKER_EXIT_AT_ONCE` goes before
//! `EXIT_AT_ONCE`, and so on. The same goes for every word of the command: where it is `rails db:migrate`, those are
//! `RAILS`, `DB` and `MIGRATE`.
//!
//! | variable | effect |
//! |---|---|
//! | `VERSION` | the text answered at `/` and `/version`; default `unknown` |
//! | `LISTEN` | the port; default 8080 |
//! | `ALSO_LISTEN` | a second port, at which it answers the same |
//! | `START_DELAY_MS` | waits this long before it listens |
//! | `EXIT_AT_ONCE` | prints some lines, unless it is 0 the value of `SECRET_TOKEN` among them, and exits with this code |
//! | `RUNS_ONCE` | if set: a container that was started before exits at once, with code 1 |
//! | `EXIT_AFTER_MS`, `EXIT_CODE` | listens, and exits this much later; code 1 unless given |
//! | `HEALTH_STATUS` | the status that `/healthz` answers; default 200 |
//! | `NEVER_HEALTHY` | if set: `/healthz` always answers 503, everything else works |
//! | `UNHEALTHY_AFTER_MS` | `/healthz` turns to 503 this long after the start |
//! | `HEALTHY_WITH` | `/healthz` answers 503 until this file is there; `/write` makes it |
//! | `FLAP` | `/healthz` alternates between 200 and 503, each for this many milliseconds |
//! | `STOP_DELAY_MS` | exits this long after SIGTERM instead of at once |
//! | `DRAINS_AT_STOP` | if set: at SIGTERM `/healthz` turns to 503, and it exits when nobody asks for anything else |
//! | `IGNORE_SIGTERM` | if set: only SIGKILL ends it |
//! | `KEEP_ALIVE` | if set: a connection stays open for further requests, instead of for one |
//! | `NO_SIGNAL_HANDLER` | if set: it catches no signal, so that as the first process of a container only SIGKILL ends it |

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How this copy of the service behaves.
#[derive(Debug)]
pub(crate) struct Behavior {
    /// What `/version` answers.
    pub(crate) version: String,
    /// The port to listen on.
    pub(crate) port: u16,
    /// A second port to listen on.
    pub(crate) second_port: Option<u16>,
    /// How long nothing listens after the start.
    pub(crate) start_delay: Duration,
    /// The code to exit with before anything is served.
    pub(crate) exit_at_once: Option<u8>,
    /// Whether a second start in the same container fails.
    pub(crate) runs_once: bool,
    /// Whether it stays alive once it serves.
    pub(crate) after_start: AfterStart,
    /// What `/healthz` answers.
    pub(crate) health: Health,
    /// What SIGTERM does.
    pub(crate) on_terminate: OnTerminate,
    /// Whether a connection stays open after an answer.
    pub(crate) keeps_alive: bool,
}

/// Whether the service stays alive once it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AfterStart {
    /// It serves until it is stopped.
    Serve,
    /// It dies on its own.
    Exit { after: Duration, code: u8 },
}

/// What `/healthz` answers over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// Always this status.
    Always(u16),
    /// 200 until then, 503 from then on.
    Until(Duration),
    /// 503 until this file is there, 200 from then on.
    With(PathBuf),
    /// 200 and 503 in turns, each for this long.
    Flapping(Duration),
}

impl Health {
    /// The status to answer this long after the start.
    pub(crate) fn status_at(&self, age: Duration) -> u16 {
        match self {
            Self::Always(status) => *status,
            Self::Until(end) if age < *end => 200,
            Self::Until(_) => 503,
            Self::With(path) if path.exists() => 200,
            Self::With(_) => 503,
            Self::Flapping(turn) => {
                let turns = age.as_millis() / turn.as_millis().max(1);
                if turns.is_multiple_of(2) { 200 } else { 503 }
            }
        }
    }
}

/// What SIGTERM does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OnTerminate {
    /// The service ends after this delay.
    ExitAfter(Duration),
    /// The service is unhealthy, and ends when nobody asks any more.
    Drain,
    /// The service logs the signal and goes on.
    Ignore,
    /// What the kernel does.
    Nothing,
}

impl Behavior {
    /// Reads the variables of the module's table. What is not set or not a number has its default.
    pub(crate) fn from_environment() -> Self {
        let health = if is_set("NEVER_HEALTHY") {
            Health::Always(503)
        } else if let Some(turn) = millis("FLAP") {
            Health::Flapping(turn)
        } else if let Some(end) = millis("UNHEALTHY_AFTER_MS") {
            Health::Until(end)
        } else if let Some(path) = variable("HEALTHY_WITH") {
            Health::With(PathBuf::from(path))
        } else {
            Health::Always(number("HEALTH_STATUS").unwrap_or(200))
        };
        let after_start = match millis("EXIT_AFTER_MS") {
            None => AfterStart::Serve,
            Some(after) => AfterStart::Exit {
                after,
                code: number("EXIT_CODE").unwrap_or(1),
            },
        };
        Self {
            version: variable("VERSION").unwrap_or_else(|| "unknown".to_owned()),
            port: number("LISTEN").unwrap_or(8080),
            second_port: number("ALSO_LISTEN"),
            start_delay: millis("START_DELAY_MS").unwrap_or_default(),
            exit_at_once: number("EXIT_AT_ONCE"),
            runs_once: is_set("RUNS_ONCE"),
            after_start,
            health,
            keeps_alive: is_set("KEEP_ALIVE"),
            on_terminate: if is_set("NO_SIGNAL_HANDLER") {
                OnTerminate::Nothing
            } else if is_set("IGNORE_SIGTERM") {
                OnTerminate::Ignore
            } else if is_set("DRAINS_AT_STOP") {
                OnTerminate::Drain
            } else {
                OnTerminate::ExitAfter(millis("STOP_DELAY_MS").unwrap_or_default())
            },
        }
    }
}

fn variable(name: &str) -> Option<String> {
    let roles = std::env::var("ROLE").into_iter();
    let roles = roles.chain(std::env::args().flat_map(|argument| words(&argument)));
    let mut of_roles =
        roles.filter_map(|role| std::env::var(format!("{}_{name}", role.to_uppercase())).ok());
    of_roles.next().or_else(|| std::env::var(name).ok())
}

/// The words of an argument, which may be a path, a script, or several words for a shell.
fn words(argument: &str) -> Vec<String> {
    let words = argument.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty())
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    variable(name)?.parse().ok()
}

fn millis(name: &str) -> Option<Duration> {
    number(name).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_any_word_of_the_command() {
        assert_eq!(
            words("bin/rails db:migrate"),
            ["bin", "rails", "db", "migrate"]
        );
        assert_eq!(
            words("Shop.Release.migrate()"),
            ["Shop", "Release", "migrate"]
        );
    }

    #[test]
    fn flapping_health_alternates_in_equal_turns() {
        let health = Health::Flapping(Duration::from_millis(100));
        let seen: Vec<u16> = [0, 99, 100, 199, 200]
            .map(|age| health.status_at(Duration::from_millis(age)))
            .to_vec();
        assert_eq!(seen, [200, 200, 503, 503, 200]);
    }

    #[test]
    fn health_ends_when_it_was_told_to() {
        let health = Health::Until(Duration::from_millis(100));
        assert_eq!(health.status_at(Duration::from_millis(99)), 200);
        assert_eq!(health.status_at(Duration::from_millis(100)), 503);
    }
}
