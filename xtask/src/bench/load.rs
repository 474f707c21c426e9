//! Load: a fixed number of the same request over a fixed number of connections, each sent when the one
//! before it is answered.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::http::{Answer, Client};
use super::resources::processor_time;

/// The longest time in which no answer at all comes.
const ANSWER_TIMEOUT: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) address: SocketAddr,
    pub(super) request: &'a [u8],
    /// Which status every answer must have.
    pub(super) expected: u16,
    pub(super) connections: u32,
    pub(super) requests: u32,
}

/// What a server made of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    pub(super) per_second: f64,
    /// Processor time of the server for one request. Unlike the rate it does not depend on what else
    /// the machine does, nor on the load generator beside it.
    pub(super) processor_micros: f64,
    /// How much of one processor the load generator used. Near one, it is what limits the rate, and the
    /// server could do more.
    pub(super) generator_share: f64,
}

/// Sends it all to the server with this process id. One thread serves all connections, so that the load
/// takes one processor at most and the server can have another.
pub(super) fn run(load: Load<'_>, server: u32) -> Result<Throughput> {
    let mut clients: Vec<Client> = (0..load.connections)
        .map(|_| Client::new(load.address))
        .collect();
    let own = std::process::id();
    let used_before = processor_time(server)?;
    let own_before = processor_time(own)?;
    let began = Instant::now();
    let mut to_send = load.requests;
    let mut to_receive = load.requests;
    for client in &mut clients {
        if to_send > 0 {
            client.begin(load.request)?;
            to_send -= 1;
        }
    }
    while to_receive > 0 {
        for ready in readable(&clients)? {
            let client = &mut clients[ready];
            let Some(answer) = client.receive()? else {
                continue;
            };
            expect(load.expected, &answer)?;
            to_receive -= 1;
            if to_send > 0 {
                client.begin(load.request)?;
                to_send -= 1;
            }
        }
    }
    let took = began.elapsed();
    let used = processor_time(server)?.saturating_sub(used_before);
    let own_used = processor_time(own)?.saturating_sub(own_before);
    let requests = f64::from(load.requests);
    Ok(Throughput {
        per_second: requests / took.as_secs_f64(),
        processor_micros: used.as_secs_f64() * 1e6 / requests,
        generator_share: own_used.as_secs_f64() / took.as_secs_f64(),
    })
}

/// Waits until something can be read, and says on which connections.
fn readable(clients: &[Client]) -> Result<Vec<usize>> {
    let open: Vec<_> = clients
        .iter()
        .enumerate()
        .filter_map(|(position, client)| Some((position, client.stream()?)))
        .collect();
    let mut waiting: Vec<_> = open
        .iter()
        .map(|(_, stream)| PollFd::new(*stream, PollFlags::IN))
        .collect();
    let ready = poll(&mut waiting, Some(&ANSWER_TIMEOUT))?;
    ensure!(ready > 0, "no answer came for a minute");
    let is_ready = |of: &PollFd<'_>| !of.revents().is_empty();
    Ok(open
        .iter()
        .zip(&waiting)
        .filter(|(_, of)| is_ready(of))
        .map(|((position, _), _)| *position)
        .collect())
}

fn expect(status: u16, answer: &Answer) -> Result<()> {
    ensure!(
        answer.status == status,
        "the answer is {} where {status} is expected: {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    Ok(())
}
