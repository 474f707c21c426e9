//! Load, by [wrk](https://github.com/wg/wrk): a tool that many use and none of ours, so that whoever
//! doubts a rate can measure it without us.
//!
//! It sends the same request again and again over connections that stay open, each when the one before
//! is answered. A script gives it the request and prints what it has counted; nothing of the script runs
//! between two requests, because that would slow wrk down.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cutover_testkit::engine::command::output_of;

use super::http;
use super::resources::{processor_time, processor_time_of_ended_children};
use crate::debian;

/// Debian's package, and the libraries that not every machine has.
const PACKAGES: [&str; 3] = [
    "wrk/bookworm",
    "libluajit-5.1-2/bookworm",
    "libssl3/bookworm",
];
/// Connections over which it sends.
pub(super) const CONNECTIONS: u32 = 16;
/// The word before what the script prints.
const COUNTED: &str = "counted:";

/// Downloads and unpacks wrk into `dir`, unless it is there, and returns the directory it is in.
pub(super) fn fetch(dir: &Path) -> Result<PathBuf> {
    debian::fetch(dir, "wrk", &PACKAGES)
}

/// An unpacked wrk.
#[derive(Debug)]
pub(super) struct Wrk {
    program: PathBuf,
    libraries: PathBuf,
}

/// A request that is to be refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) address: SocketAddr,
    pub(super) path: &'a str,
    pub(super) signature: &'a str,
    pub(super) body: &'a str,
    /// The status of the answer.
    pub(super) status: u16,
}

/// What a server made of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    pub(super) per_second: f64,
    /// Processor time of the server for one request. It depends less than the rate on what else the
    /// machine does, wrk included.
    pub(super) processor_micros: f64,
    /// How much of one processor wrk used. Near one, it is what limits the rate, and the server could
    /// do more.
    pub(super) generator_share: f64,
}

impl Wrk {
    /// The one that [`fetch`] put into `place`.
    pub(super) fn open(place: &Path) -> Result<Self> {
        let libraries = fs::read_dir(place.join("usr/lib"))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.join("libluajit-5.1.so.2").exists())
            .with_context(|| format!("{} holds no libluajit", place.display()))?;
        Ok(Self {
            program: place.join("usr/bin/wrk"),
            libraries,
        })
    }

    /// Sends the request for so long to the server with this process id. One thread serves all
    /// connections, so that the load takes one processor at most and the server can have another.
    ///
    /// # Errors
    /// If anything but the expected answer came.
    pub(super) fn run(
        &self,
        refused: Refused<'_>,
        duration: Duration,
        server: u32,
        dir: &Path,
    ) -> Result<Throughput> {
        let script = dir.join("refused.lua");
        fs::write(&script, script_of(refused))?;
        let answer_bytes = probe(refused)?;
        let own = std::process::id();
        let used_before = processor_time(server)?;
        let wrk_before = processor_time_of_ended_children(own)?;
        let began = Instant::now();
        let said = output_of(
            Command::new(&self.program)
                .env("LD_LIBRARY_PATH", &self.libraries)
                .args(["--threads", "1"])
                .args(["--connections", &CONNECTIONS.to_string()])
                .args(["--duration", &format!("{}s", duration.as_secs())])
                .arg("--script")
                .arg(&script)
                .arg(format!("http://{}{}", refused.address, refused.path)),
        )?;
        let took = began.elapsed();
        let used = processor_time(server)?.saturating_sub(used_before);
        let wrk_used = processor_time_of_ended_children(own)?.saturating_sub(wrk_before);
        let counted = Counted::parse(&said).with_context(|| said.clone())?;
        counted.check(answer_bytes).with_context(|| said.clone())?;
        probe(refused)?;
        let requests = counted.requests as f64;
        Ok(Throughput {
            per_second: requests * 1e6 / counted.micros as f64,
            processor_micros: used.as_secs_f64() * 1e6 / requests,
            generator_share: wrk_used.as_secs_f64() / took.as_secs_f64(),
        })
    }
}

/// Sends the request once, looks at the status, and returns how many bytes the answer has.
fn probe(refused: Refused<'_>) -> Result<u64> {
    let request = http::post(refused.path, refused.signature, refused.body.as_bytes());
    let answer = http::send(refused.address, &request)?;
    ensure!(
        answer.status == refused.status,
        "the answer is {} where {} is expected: {}",
        answer.status,
        refused.status,
        String::from_utf8_lossy(&answer.body)
    );
    Ok(answer.bytes as u64)
}

/// The request, and what wrk has counted, printed once at the end.
fn script_of(refused: Refused<'_>) -> String {
    format!(
        "wrk.method = \"POST\"\n\
         wrk.headers[\"Content-Type\"] = \"application/json\"\n\
         wrk.headers[\"X-Hub-Signature-256\"] = \"{signature}\"\n\
         wrk.body = [[{body}]]\n\
         function done(summary)\n\
         \x20 local errors = summary.errors\n\
         \x20 print(\"{COUNTED}\", summary.requests, summary.duration, summary.bytes, errors.status,\n\
         \x20   errors.connect + errors.read + errors.write + errors.timeout)\n\
         end\n",
        signature = refused.signature,
        body = refused.body,
    )
}

/// What wrk has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    requests: u64,
    micros: u64,
    /// Everything that was received.
    bytes: u64,
    /// Answers with a status of 400 or more.
    refusals: u64,
    /// Connections that failed and answers that did not come.
    failures: u64,
}

impl Counted {
    fn parse(said: &str) -> Result<Self> {
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix(COUNTED))
            .context("wrk has not said what it counted")?;
        let numbers: Vec<u64> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let &[requests, micros, bytes, refusals, failures] = numbers.as_slice() else {
            anyhow::bail!("wrk has counted something else");
        };
        Ok(Self {
            requests,
            micros,
            bytes,
            refusals,
            failures,
        })
    }

    /// Whether every answer was the expected one. wrk looks at nothing but whether the status is an
    /// error, so the answers must also be as long as the one that was looked at. When wrk stops, an
    /// answer may be on its way over each connection.
    fn check(self, answer_bytes: u64) -> Result<()> {
        ensure!(self.requests > 0, "nothing was answered");
        ensure!(self.failures == 0, "not every request was answered");
        ensure!(
            self.refusals == self.requests,
            "not every request was refused"
        );
        let expected = self.requests * answer_bytes;
        let under_way = u64::from(CONNECTIONS) * answer_bytes;
        ensure!(
            (expected..=expected + under_way).contains(&self.bytes),
            "the answers have {} bytes where {expected} are expected",
            self.bytes
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_in_which_everything_was_refused_counts() {
        let counted = |line: &str| Counted::parse(&format!("Running\n{line}\n"));
        let fine = counted("counted:\t10\t2000000\t1000\t10\t0").expect("five numbers");
        assert_eq!((fine.requests, fine.micros), (10, 2_000_000));
        assert!(fine.check(100).is_ok());
        assert!(counted("counted:\t10\t2000000\t1000\t10").is_err());
        assert!(counted("Requests/sec: 5").is_err());
        for wrong in [
            "counted:\t0\t2000000\t0\t0\t0",
            "counted:\t10\t2000000\t1000\t9\t0",
            "counted:\t10\t2000000\t1000\t10\t1",
            "counted:\t10\t2000000\t990\t10\t0",
            "counted:\t10\t2000000\t2700\t10\t0",
        ] {
            let wrong = counted(wrong).expect("five numbers");
            assert!(wrong.check(100).is_err(), "{wrong:?}");
        }
    }
}
