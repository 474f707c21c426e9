//! Plays one act: looks, types, looks again, and compares.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender as Lines};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use cutover_api::deploy::{DEPLOY_PATH, SIGNATURE_HEADER};
use cutover_api::signature;
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::prober::Prober;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::act::{Act, Ending, Sender};
use super::docker::Docker;
use super::interrupt::Interrupt;
use super::screen::{Row, Screen};
use super::shop::{NEIGHBOR, PROJECT, SERVICE, Shop, WORKER};
use super::verdict::{Answer, Ended, Sight, compare, judge_prober, probed};

/// Lines of a command that wait to be shown; the command waits with the rest.
const LINES_WAITING_MAX: usize = 256;

/// No command of the demo takes longer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// After a command that ended, the service answers at once or never.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Long enough for the daemon's checks, and wrong.
const WRONG_SECRET: &str = "somebody guessed this secret, and guessed wrong";

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

    /// The shop with all its parts.
    pub(crate) fn shop(&self) -> &Shop {
        self.shop
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
        let prober = Prober::start_patient(self.shop.address());
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
        if serves.is_ok() {
            prober.wait_for_next_answer(ANSWER_TIMEOUT)?;
        }
        let seen = prober.stop()?;
        let after = self.look()?;
        let serves = serves.unwrap_or_else(|_| "nothing".to_owned());
        let mut row = compare(act, &before, &after, &ended, raw.as_ref(), &serves);
        row.took = took;
        if before.shop.is_some() {
            row.visitors = Some((seen.failures().len(), seen.longest_wait()));
            judge_prober(act, &seen, &ended, &mut row);
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
            worker: docker.container(PROJECT, WORKER)?,
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
        let (lines, received) = mpsc::sync_channel(LINES_WAITING_MAX);
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
                deployment: body["deployment"].clone(),
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
