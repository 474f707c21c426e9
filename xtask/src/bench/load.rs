//! Load: a fixed number of the same request over a fixed number of connections, each sent when the one
//! before it is answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::http::Client;
use super::resources::processor_time;

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
}

/// Sends it all to the server with this process id.
pub(super) fn run(load: Load<'_>, server: u32) -> Result<Throughput> {
    let left = AtomicU32::new(load.requests);
    let used_before = processor_time(server)?;
    let began = Instant::now();
    thread::scope(|scope| {
        let connections: Vec<_> = (0..load.connections)
            .map(|_| scope.spawn(|| connection(load, &left)))
            .collect();
        connections.into_iter().try_for_each(|connection| {
            connection
                .join()
                .map_err(|_| anyhow!("a connection panicked"))?
        })
    })?;
    let took = began.elapsed();
    let used: Duration = processor_time(server)?.saturating_sub(used_before);
    let requests = f64::from(load.requests);
    Ok(Throughput {
        per_second: requests / took.as_secs_f64(),
        processor_micros: used.as_secs_f64() * 1e6 / requests,
    })
}

/// One connection takes requests until none are left.
fn connection(load: Load<'_>, left: &AtomicU32) -> Result<()> {
    let mut client = Client::new(load.address);
    let take = |left: u32| left.checked_sub(1);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
    {
        let answer = client.send(load.request)?;
        ensure!(
            answer.status == load.expected,
            "the answer is {} where {} is expected: {}",
            answer.status,
            load.expected,
            String::from_utf8_lossy(&answer.body)
        );
    }
    Ok(())
}
