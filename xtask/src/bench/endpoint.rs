//! How many requests the endpoint refuses and accepts per second, and how much memory it takes, beside
//! adnanh/webhook with a hook that checks the same signature. Both speak plain HTTP on loopback.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cutover_api::signature;
use cutover_testkit::images::ImageSpec;

use super::chart::{Bar, Chart, Whose};
use super::http;
use super::report::{Report, Table};
use super::resources::{Memory, memory};
use super::stage::{SECRET, Stage};
use super::statistics::Summary;
use super::target::Target;
use super::webhook::{self, Webhook};
use super::wrk::{CONNECTIONS, Refused, Throughput, Wrk};

/// A payload as large as those that GitHub sends.
const BODY_BYTES: usize = 7 * 1024;
/// So long does each turn send what is to be refused. cutover logs every request, some ten megabytes in
/// this time.
const TURN: Duration = Duration::from_secs(2);
/// Before the first turn, for what servers do only once.
const WARM_UP: Duration = Duration::from_secs(1);
/// So many accepted requests; each is a whole deployment that finds nothing to do.
const UNCHANGED: u32 = 20;

/// What was measured of one server.
#[derive(Debug)]
struct Server {
    title: &'static str,
    name: &'static str,
    idle: Memory,
    after: Memory,
    refused: Vec<Throughput>,
    accepted: Vec<f64>,
}

impl Server {
    fn rate(&self) -> Result<Summary> {
        Summary::of(self.refused.iter().map(|turn| turn.per_second)).context("nothing was measured")
    }

    fn processor(&self) -> Result<Summary> {
        Summary::of(self.refused.iter().map(|turn| turn.processor_micros))
            .context("nothing was measured")
    }

    fn generator(&self) -> Result<Summary> {
        Summary::of(self.refused.iter().map(|turn| turn.generator_share))
            .context("nothing was measured")
    }

    fn accepted(&self) -> Result<Summary> {
        Summary::of(self.accepted.iter().copied()).context("nothing was measured")
    }
}

/// Measures, and writes `endpoint.csv` and `endpoint.svg`.
pub(super) fn run(
    cutover: &Path,
    webhook: &Path,
    wrk: &Path,
    rounds: u32,
    report: &mut Report,
) -> Result<()> {
    let wrk = Wrk::open(wrk)?;
    let mut stage = Stage::set(cutover)?;
    let tag = stage.push(&ImageSpec::new("one"))?;
    stage.compose(&tag, &["up", "-d"])?;
    stage.start_daemon()?;
    // It finds a container that cutover did not make, and switches.
    let (status, answer) = stage.deploy(&tag)?;
    ensure!(status == 200, "cutover answers {status}: {answer}");
    let hook = Webhook::start(webhook, stage.dir())?;
    let mut servers = [
        server("cutover", "cutover", stage.daemon()?)?,
        server("adnanh/webhook", "webhook", hook.pid())?,
    ];
    refuse(&mut servers, &stage, &hook, &wrk, rounds)?;
    servers[0].accepted = unchanged(&mut stage, &tag)?;
    servers[1].accepted = started(&hook)?;
    servers[0].after = memory(stage.daemon()?)?;
    servers[1].after = memory(hook.pid())?;
    report.write("endpoint.csv", &csv(&servers))?;
    print(&servers, report)?;
    chart(&servers, rounds)?.write(report, "endpoint.svg")?;
    judge(&servers, report)
}

fn server(title: &'static str, name: &'static str, pid: u32) -> Result<Server> {
    let idle = memory(pid)?;
    Ok(Server {
        title,
        name,
        idle,
        after: idle,
        refused: Vec::new(),
        accepted: Vec::new(),
    })
}

/// The same body with a signature by somebody who does not know the secret.
fn refuse(
    servers: &mut [Server; 2],
    stage: &Stage,
    hook: &Webhook,
    wrk: &Wrk,
    rounds: u32,
) -> Result<()> {
    let body = "x".repeat(BODY_BYTES);
    let forged = signature::sign(b"not the secret", body.as_bytes());
    let contestants = [
        (stage.endpoint(), "/deploy", stage.daemon()?),
        (hook.address(), webhook::PATH, hook.pid()),
    ];
    let turn = |which: usize, duration: Duration| {
        let (address, path, pid) = contestants[which];
        let refused = Refused {
            address,
            path,
            signature: &forged,
            body: &body,
            status: 401,
        };
        wrk.run(refused, duration, pid, stage.dir())
            .with_context(|| format!("http://{address}{path}"))
    };
    for which in [0, 1] {
        turn(which, WARM_UP)?;
    }
    for round in 0..rounds {
        for place in [0, 1] {
            let which = (place + round as usize) % 2;
            servers[which].refused.push(turn(which, TURN)?);
        }
        eprintln!("endpoint: round {} of {rounds}", round + 1);
    }
    Ok(())
}

/// Valid requests for the release that runs, each with an id of its own, one after the other. Returns
/// the rate of each.
fn unchanged(stage: &mut Stage, tag: &str) -> Result<Vec<f64>> {
    let mut rates = Vec::new();
    for _ in 0..UNCHANGED {
        let request = stage.request(tag, BODY_BYTES)?;
        let began = Instant::now();
        let answer = http::send(stage.endpoint(), &request)?;
        rates.push(1.0 / began.elapsed().as_secs_f64());
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status == 200 && text.contains("\"unchanged\""),
            "cutover answers {}: {text}",
            answer.status
        );
    }
    Ok(rates)
}

/// The same for the hook, which starts a program that does nothing.
fn started(hook: &Webhook) -> Result<Vec<f64>> {
    let body = vec![b'x'; BODY_BYTES];
    let signature = signature::sign(SECRET.as_bytes(), &body);
    let request = http::post(webhook::PATH, &signature, &body);
    let mut rates = Vec::new();
    for _ in 0..UNCHANGED {
        let began = Instant::now();
        let answer = http::send(hook.address(), &request)?;
        rates.push(1.0 / began.elapsed().as_secs_f64());
        ensure!(answer.status == 200, "webhook answers {}", answer.status);
    }
    Ok(rates)
}

fn csv(servers: &[Server; 2]) -> String {
    let mut text = "server,measure,round,value\n".to_owned();
    for server in servers {
        let name = server.name;
        for (round, turn) in (1..).zip(&server.refused) {
            text += &format!("{name},refused_per_second,{round},{:.0}\n", turn.per_second);
            text += &format!(
                "{name},processor_us_per_refused_request,{round},{:.1}\n",
                turn.processor_micros
            );
            text += &format!(
                "{name},processors_of_wrk,{round},{:.2}\n",
                turn.generator_share
            );
        }
        for (round, rate) in (1..).zip(&server.accepted) {
            text += &format!("{name},accepted_per_second,{round},{rate:.2}\n");
        }
        for (when, memory) in [("idle", server.idle), ("after_load", server.after)] {
            text += &format!("{name},rss_bytes_{when},1,{:.0}\n", memory.resident);
            text += &format!("{name},pss_bytes_{when},1,{:.0}\n", memory.proportional);
        }
    }
    text
}

fn print(servers: &[Server; 2], report: &mut Report) -> Result<()> {
    let mut table = Table::new(&["endpoint", "cutover", "min", "max", "webhook", "min", "max"]);
    let mut row = |title: &str, value: fn(&Server) -> Result<Summary>| -> Result<()> {
        let mut cells = Vec::new();
        for server in servers {
            let of = value(server)?;
            cells.extend([of.median, of.min, of.max].map(|value| format!("{value:.2}")));
        }
        table.row(title, cells);
        Ok(())
    };
    row("refused requests per second", Server::rate)?;
    row("processor time per refused request, us", Server::processor)?;
    row("processors that wrk used", Server::generator)?;
    row("accepted, nothing to do, per second", Server::accepted)?;
    report.say(&table.to_string());
    let mut table = Table::new(&["memory, MB", "RSS", "PSS"]);
    for server in servers {
        for (when, memory) in [("idle", server.idle), ("after the load", server.after)] {
            let cells = [memory.resident, memory.proportional];
            table.row(
                &format!("{}, {when}", server.title),
                cells.map(|bytes| format!("{:.1}", bytes / 1e6)).to_vec(),
            );
        }
    }
    report.say(&table.to_string());
    Ok(())
}

fn chart(servers: &[Server; 2], rounds: u32) -> Result<Chart> {
    let mut chart = Chart::new(
        "The endpoint beside adnanh/webhook",
        &format!(
            "median of {rounds} rounds, in each {} s of requests of 7 KB by wrk over {CONNECTIONS} connections; the line spans all rounds",
            TURN.as_secs()
        ),
    );
    let exactly = |value: f64| Summary {
        median: value,
        min: value,
        max: value,
    };
    let bars = |value: &dyn Fn(&Server) -> Result<Summary>| -> Result<Vec<Bar>> {
        servers
            .iter()
            .zip([Whose::Ours, Whose::Others])
            .map(|(server, whose)| Ok(Bar::new(server.title, value(server)?, whose)))
            .collect()
    };
    chart.group("Forged requests refused per second", bars(&Server::rate)?);
    chart.group(
        "Processor time per refused request, microseconds",
        bars(&Server::processor)?,
    );
    chart.group(
        "Memory when idle (RSS), MB",
        bars(&|server| Ok(exactly(server.idle.resident / 1e6)))?,
    );
    chart.group(
        "Memory after the load (RSS), MB",
        bars(&|server| Ok(exactly(server.after.resident / 1e6)))?,
    );
    Ok(chart)
}

fn judge(servers: &[Server; 2], report: &mut Report) -> Result<()> {
    let [cutover, webhook] = servers;
    report.judge(Target::at_least(
        "refused requests / adnanh/webhook's",
        2.0,
        "x",
        cutover.rate()?.median / webhook.rate()?.median,
    ));
    report.judge(Target::at_most(
        "memory of the idle daemon after a deployment (RSS)",
        20.0,
        "MB",
        cutover.idle.resident / 1e6,
    ));
    Ok(())
}
