//! Plays one act: looks, types, looks again, and compares.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender as Lines};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use cutover_api::deploy::{DEPLOY_PATH, SIGNATURE_HEADER};
use cutover_api::signature;
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::prober::{Observations, Prober};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::docker::{Docker, Identity};
use super::interrupt::Interrupt;
use super::screen::{Row, Screen, span};
use super::shop::{NEIGHBOR, PROJECT, SERVICE, Shop};
use super::story::Release;

/// No command of the demo takes longer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// After a command that ended, the service answers at once or never.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the prober goes on after the last command, so that late failures are seen.
const AFTERWARDS: Duration = Duration::from_millis(100);
/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Long enough for the daemon's checks, and wrong.
const WRONG_SECRET: &str = "somebody guessed this secret, and guessed wrong";

/// Who types.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sender {
    /// CI, with the secret: a release and the delivery id.
    Ci(Release, &'static str),
    /// The same with a wrong secret.
    Forger(Release, &'static str),
    /// An operator on the server: rolls back.
    Operator,
}

/// What becomes of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// One deployment more, with this outcome.
    Deployment(&'static str),
    /// No deployment; the request itself is answered with this status.
    Refused(u16),
    /// No deployment; the answer of an earlier one, with this status.
    Replayed(u16),
}

/// What becomes of the service's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// Another one.
    New,
    /// The same one, stopped and started.
    SameStartedAgain,
    /// Not even that.
    Untouched,
}

impl Container {
    fn between(before: Option<&Identity>, after: Option<&Identity>) -> Option<Self> {
        let after = after?;
        Some(match before {
            Some(before) if before == after => Self::Untouched,
            Some(before) if before.id == after.id => Self::SameStartedAgain,
            _ => Self::New,
        })
    }

    fn words(self) -> &'static str {
        match self {
            Self::New => "new container",
            Self::SameStartedAgain => "same container",
            Self::Untouched => "untouched",
        }
    }
}

/// One act of the story.
#[derive(Debug)]
pub(crate) struct Act {
    /// A few words.
    pub(crate) title: &'static str,
    /// What is going to happen.
    pub(crate) happens: &'static str,
    /// What cutover promises then.
    pub(crate) promise: &'static str,
    /// Who types.
    pub(crate) sender: Sender,
    /// The client's exit code.
    pub(crate) exit: i32,
    /// What becomes of the request.
    pub(crate) ending: Ending,
    /// What becomes of the container.
    pub(crate) container: Container,
    /// The release that answers visitors afterwards.
    pub(crate) serves: Release,
    /// What the client says, among other things.
    pub(crate) says: &'static [&'static str],
}

/// Everything that an act must or must not change.
#[derive(Debug)]
struct Sight {
    shop: Option<Identity>,
    neighbor: Option<Identity>,
    deployments: Vec<Value>,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    exit: i32,
    text: String,
}

/// Where acts are played.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    shop: &'a Shop,
    screen: &'a Screen,
    interrupt: &'a Interrupt,
    /// cutover over its unix socket; it speaks HTTP as Docker does.
    cutover: Docker,
    runtime: Runtime,
    client: reqwest::Client,
    rows: Vec<Row>,
}

impl<'a> Stage<'a> {
    /// The stage in front of this shop.
    pub(crate) fn new(
        shop: &'a Shop,
        screen: &'a Screen,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let authority = std::fs::read(shop.authority())?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
            .timeout(COMMAND_TIMEOUT)
            .build()?;
        Ok(Self {
            shop,
            screen,
            interrupt,
            cutover: Docker::at(&shop.cutover_socket())?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            client,
            rows: Vec::new(),
        })
    }

    /// A row for each act that was played.
    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    /// Plays an act and notes whether the promise was kept.
    ///
    /// # Errors
    /// If it cannot be played.
    pub(crate) fn play(&mut self, act: &Act) -> Result<()> {
        self.screen
            .act(self.rows.len() + 1, act.title, act.happens, act.promise);
        let before = self.look()?;
        let prober = Prober::start(self.shop.address());
        if before.shop.is_some() {
            prober.wait_for_answer(ANSWER_TIMEOUT)?;
        }
        let began = Instant::now();
        let url = self.shop.url();
        let (shown, arguments) = command_line(act.sender, &url);
        let secret = match act.sender {
            Sender::Forger(..) => WRONG_SECRET,
            _ => self.shop.secret(),
        };
        self.screen.typed(&shown);
        let ended = self.run(&arguments, secret)?;
        let took = began.elapsed();
        let raw = self.post_again(act, secret)?;
        let serves = wait_for("the shop to answer", ANSWER_TIMEOUT, || {
            Ok(self.version().ok())
        });
        thread::sleep(AFTERWARDS);
        let seen = prober.stop()?;
        let after = self.look()?;
        let serves = serves.unwrap_or_else(|_| "nothing".to_owned());
        let mut row = compare(act, &before, &after, &ended, raw.as_ref(), &serves);
        row.took = took;
        if before.shop.is_some() {
            row.outage = Some(unanswered(&seen));
            judge_prober(act, &seen, &mut row);
            self.screen.prober(&probed(&seen));
        }
        self.screen.promise(&row);
        self.rows.push(row);
        Ok(())
    }

    fn look(&self) -> Result<Sight> {
        let docker = self.shop.docker();
        let page = self.cutover.ask("/v1/deployments?limit=100")?;
        let deployments = page["deployments"].as_array().cloned();
        Ok(Sight {
            shop: docker.container(PROJECT, SERVICE)?,
            neighbor: docker.container(PROJECT, NEIGHBOR)?,
            deployments: deployments.context("cutover lists no deployments")?,
        })
    }

    /// Runs a command of the client and shows what it prints, as it comes.
    fn run(&self, arguments: &[&str], secret: &str) -> Result<Ended> {
        let mut command = self.shop.command(secret);
        if self.screen.is_colored() {
            command.env("CLICOLOR_FORCE", "1");
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let text = self.show(&mut child);
        if text.is_err() {
            drop(child.kill());
        }
        let status = child.wait()?;
        let exit = status.code().unwrap_or(-1);
        self.screen.exit(exit);
        Ok(Ended { exit, text: text? })
    }

    fn show(&self, child: &mut Child) -> Result<String> {
        let (lines, received) = mpsc::channel();
        forward(child.stderr.take(), lines.clone());
        forward(child.stdout.take(), lines);
        let began = Instant::now();
        let mut text = String::new();
        loop {
            match received.recv_timeout(POLL) {
                Ok(line) => {
                    self.screen.output(&line);
                    text.push_str(&line);
                    text.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(text),
                Err(RecvTimeoutError::Timeout) => {}
            }
            ensure!(!self.interrupt.came(), "ended by a signal");
            ensure!(
                began.elapsed() < COMMAND_TIMEOUT,
                "the command did not end within {} s",
                COMMAND_TIMEOUT.as_secs()
            );
        }
    }

    /// For acts about the request itself: sends it once more, as plain HTTP, to see the answer that
    /// the client acted upon.
    fn post_again(&self, act: &Act, secret: &str) -> Result<Option<Answer>> {
        let (release, delivery_id) = match (act.ending, act.sender) {
            (Ending::Deployment(_), _) | (_, Sender::Operator) => return Ok(None),
            (_, Sender::Ci(release, id) | Sender::Forger(release, id)) => (release, id),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let body = json!({
            "service": SERVICE, "image_sha": release.sha(),
            "delivery_id": delivery_id, "timestamp": now,
        })
        .to_string();
        let request = self
            .client
            .post(format!("{}{DEPLOY_PATH}", self.shop.url()))
            .header("content-type", "application/json")
            .header(
                SIGNATURE_HEADER,
                signature::sign(secret.as_bytes(), body.as_bytes()),
            )
            .body(body);
        let answer = self.runtime.block_on(async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            let replayed = answer.headers().get("idempotent-replayed").cloned();
            let body: Value = answer.json().await?;
            anyhow::Ok(Answer {
                status,
                is_replayed: replayed.is_some_and(|value| value == "true"),
                code: body["code"].as_str().unwrap_or_default().to_owned(),
            })
        })?;
        self.screen.answer(&format!(
            "the same request as plain HTTP: {} {}{}",
            answer.status,
            answer.code,
            match answer.is_replayed {
                true => ", Idempotent-Replayed: true",
                false => "",
            }
        ));
        Ok(Some(answer))
    }

    /// The version that answers visitors.
    fn version(&self) -> Result<String> {
        let url = format!("http://{}/version", self.shop.address());
        self.runtime.block_on(async {
            let answer = self.client.get(url).send().await?.error_for_status()?;
            Ok(answer.text().await?.trim().to_owned())
        })
    }
}

/// An answer to `POST /deploy`.
#[derive(Debug)]
struct Answer {
    status: u16,
    is_replayed: bool,
    code: String,
}

/// What a reader would type, and the same as arguments.
fn command_line(sender: Sender, url: &str) -> (String, Vec<&str>) {
    let arguments = match sender {
        Sender::Ci(release, id) | Sender::Forger(release, id) => vec![
            "deploy",
            SERVICE,
            release.sha(),
            "--delivery-id",
            id,
            "--url",
            url,
        ],
        Sender::Operator => vec!["rollback", SERVICE],
    };
    let typed = format!("cutover {}", arguments.join(" "));
    let shown = match sender {
        Sender::Forger(..) => format!("CUTOVER_SECRET=wrong {typed}"),
        _ => typed,
    };
    (shown, arguments)
}

/// Sends every line of a pipe to the channel.
fn forward(pipe: Option<impl Read + Send + 'static>, lines: Lines<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// Compares what was promised with what was observed.
fn compare(
    act: &Act,
    before: &Sight,
    after: &Sight,
    ended: &Ended,
    raw: Option<&Answer>,
    serves: &str,
) -> Row {
    let added = after.deployments.len() - before.deployments.len().min(after.deployments.len());
    let newest = || after.deployments.first().map(|newest| &newest["outcome"]);
    let outcome = match (added, raw) {
        (0, Some(answer)) if answer.is_replayed => format!("{} replayed", answer.status),
        (0, Some(answer)) => answer.status.to_string(),
        (0, None) => "no deployment".to_owned(),
        (1, _) => newest()
            .and_then(Value::as_str)
            .unwrap_or("unfinished")
            .replace('_', " "),
        (more, _) => format!("{more} deployments"),
    };
    let promised = match act.ending {
        Ending::Deployment(outcome) => outcome.replace('_', " "),
        Ending::Refused(status) => status.to_string(),
        Ending::Replayed(status) => format!("{status} replayed"),
    };
    let container = Container::between(before.shop.as_ref(), after.shop.as_ref());
    let line =
        |outcome: &str, container: &str, serves: &str| format!("{outcome}, {container}, {serves}");
    let mut row = Row {
        title: act.title,
        promised: line(&promised, act.container.words(), act.serves.version()),
        observed: line(
            &outcome,
            container.map_or("no container", Container::words),
            serves,
        ),
        outage: None,
        took: Duration::ZERO,
        broken: Vec::new(),
    };
    if row.promised != row.observed {
        let broken = format!("promised: {}; observed: {}", row.promised, row.observed);
        row.broken.push(broken);
    }
    if ended.exit != act.exit {
        let broken = format!("exit code {} instead of {}", ended.exit, act.exit);
        row.broken.push(broken);
    }
    for words in act
        .says
        .iter()
        .filter(|words| !ended.text.contains(**words))
    {
        row.broken
            .push(format!("the client does not say {words:?}"));
    }
    if before.neighbor != after.neighbor || after.neighbor.is_none() {
        row.broken
            .push(format!("the service {NEIGHBOR} beside it was touched"));
    }
    row
}

/// Where nothing may be stopped, no request may fail; anywhere, the last ones must be answered.
fn judge_prober(act: &Act, seen: &Observations, row: &mut Row) {
    let failed = seen.failures().len();
    if act.container == Container::Untouched && failed > 0 {
        row.broken
            .push(format!("{failed} requests to the shop failed"));
    }
    let ends_well = seen
        .attempts()
        .last()
        .is_some_and(|last| last.outcome.as_deref() == Ok(act.serves.version()));
    if !ends_well {
        row.broken.push(format!(
            "the prober's last request was not answered by {}",
            act.serves.version()
        ));
    }
}

/// How long visitors got no answer, in all: from each good answer before a failure to the next one.
fn unanswered(seen: &Observations) -> Duration {
    let mut sum = Duration::ZERO;
    let mut last_good: Option<Instant> = None;
    let mut failed_since = false;
    for attempt in seen.attempts() {
        if attempt.outcome.is_err() {
            failed_since = true;
            continue;
        }
        if let Some(last_good) = last_good.filter(|_| failed_since) {
            sum += attempt.ended - last_good;
        }
        last_good = Some(attempt.ended);
        failed_since = false;
    }
    sum
}

/// What the prober saw, in one line.
fn probed(seen: &Observations) -> String {
    let requests = seen.attempts().len();
    let versions = seen.versions().join(" -> ");
    match seen.failures().len() {
        0 => format!("{requests} requests, all answered: {versions}"),
        failed => format!(
            "{requests} requests, {failed} failed, {} without an answer: {versions}",
            span(unanswered(seen))
        ),
    }
}
