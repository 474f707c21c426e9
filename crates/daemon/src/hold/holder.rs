//! The thread that holds: it reads the queue and decides about each packet, and nothing else can make it wait.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use cutover_core::hold::{Connection, Waiting};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read, write};
use tokio::sync::oneshot;

use super::queue::{Packet, Queue, Verdict};

/// So many connections go on at once, and then so many more after each pause: a server has a bound on how many it has
/// not accepted yet.
const AT_ONCE: usize = 5;
const PAUSE: Duration = Duration::from_millis(1);

/// When nothing waits.
const IDLE: Duration = Duration::from_secs(1);

/// It is opened and closed a few times, and ended once.
const ORDERS_MAX: usize = 8;

/// So often the queue is read before something is decided, whatever still comes.
const READS_MAX: usize = 64;

/// What the kernel tells at once is never longer.
const BUFFER_BYTES: usize = 64 << 10;

/// What was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// How many connections.
    pub connections: u64,
    /// How long the one waited that waited longest.
    pub longest: Duration,
}

/// What the thread is told. Where nobody is left to tell it anything, it lets everything through and ends.
#[derive(Debug)]
enum Order {
    /// All go on, and what comes, until one of these processes ends. Answered when the last one that waits has gone on.
    Open(Vec<OwnedFd>, oneshot::Sender<Held>),
    /// What comes waits again.
    Close,
    /// The rules are gone.
    End,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Holder {
    orders: SyncSender<Order>,
    wake: OwnedFd,
    thread: JoinHandle<()>,
}

impl Holder {
    /// Starts to hold; no connection waits for longer than `bound`.
    pub(super) fn start(queue: Queue, bound: Duration) -> io::Result<Self> {
        let (orders, receiver) = sync_channel(ORDERS_MAX);
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mut holding = Holding {
            queue,
            bound,
            orders: receiver,
            wake: wake.try_clone()?,
            waiting: Waiting::default(),
            phase: Phase::Holding,
            ends: Vec::new(),
            began: Instant::now(),
        };
        let thread = Builder::new()
            .name("hold".to_owned())
            .spawn(move || holding.run())?;
        Ok(Self {
            orders,
            wake,
            thread,
        })
    }

    fn tell(&self, order: Order) {
        // A thread that has ended lets everything through.
        drop(self.orders.try_send(order));
        if let Err(error) = write(&self.wake, &1_u64.to_ne_bytes()) {
            // It looks once in a second.
            tracing::debug!(%error, "the thread that holds was not woken");
        }
    }

    /// Lets all go on that wait, and from then on everything, until one of the processes ends whose ends these are. Returns
    /// when the last one has gone on.
    pub(super) async fn open(&self, ends: Vec<OwnedFd>) -> Held {
        let (told, opened) = oneshot::channel();
        self.tell(Order::Open(ends, told));
        opened.await.unwrap_or_default()
    }

    /// Holds again what comes.
    pub(super) fn close(&self) {
        self.tell(Order::Close);
    }

    /// Ends the thread, and with it the queue.
    pub(super) fn end(self) {
        self.tell(Order::End);
        if self.thread.join().is_err() {
            tracing::error!("the thread that holds panicked; everything goes on");
        }
    }
}

#[derive(Debug)]
enum Phase {
    Holding,
    /// Those that wait go on.
    Releasing(Option<oneshot::Sender<Held>>),
    /// Everything goes on.
    Open,
}

struct Holding {
    queue: Queue,
    bound: Duration,
    orders: Receiver<Order>,
    wake: OwnedFd,
    waiting: Waiting,
    phase: Phase,
    /// What becomes readable when a process ends that serves what goes on.
    ends: Vec<OwnedFd>,
    began: Instant,
}

impl Holding {
    fn run(&mut self) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut is_over = false;
        while !(is_over && self.waiting.is_empty()) {
            if self.wait().is_err() {
                break;
            }
            is_over |= self.take_orders();
            // One that cannot be read any more ends, and with it the hold.
            let Ok(verdicts) = self.decide(&mut buffer) else {
                break;
            };
            if self.queue.decide(&verdicts).is_err() {
                break;
            }
        }
    }

    /// Until there is something to read, or somebody's time is up. Where a process has ended that served what goes on,
    /// nothing goes on any more.
    fn wait(&mut self) -> io::Result<()> {
        let due_in = match self.phase {
            Phase::Releasing(_) => PAUSE,
            Phase::Open => IDLE,
            Phase::Holding => self
                .waiting
                .due_at(self.bound)
                .map_or(IDLE, |due_at| due_at.saturating_sub(self.began.elapsed())),
        };
        let timeout = Timespec::try_from(due_in.min(IDLE)).ok();
        let mut all = vec![
            PollFd::new(&self.queue, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
        ];
        let ends = self.ends.iter();
        all.extend(ends.map(|end| PollFd::new(end, PollFlags::IN)));
        match poll(&mut all, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if all.iter().skip(2).any(|end| !end.revents().is_empty()) {
            self.close();
        }
        Ok(())
    }

    fn close(&mut self) {
        self.ends.clear();
        self.phase = Phase::Holding;
        // What has not gone on yet goes on waiting.
        if self.waiting.is_empty() {
            self.waiting = Waiting::default();
        }
    }

    /// Returns whether it is over.
    fn take_orders(&mut self) -> bool {
        let mut count = [0; 8];
        if let Err(error) = read(&self.wake, &mut count[..])
            && error != Errno::AGAIN
        {
            tracing::debug!(%error, "the thread that holds cannot be woken");
        }
        loop {
            match self.orders.try_recv() {
                Ok(Order::Open(ends, told)) => {
                    self.ends = ends;
                    self.phase = Phase::Releasing(Some(told));
                }
                Ok(Order::Close) => self.close(),
                Ok(Order::End) => return true,
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => {
                    if matches!(self.phase, Phase::Holding) {
                        self.phase = Phase::Releasing(None);
                    }
                    return true;
                }
            }
        }
    }

    fn decide(&mut self, buffer: &mut [u8]) -> io::Result<Vec<(u32, Verdict)>> {
        let mut verdicts = Vec::new();
        for _ in 0..READS_MAX {
            let packets = self.queue.read(buffer)?;
            if packets.is_empty() {
                break;
            }
            let now = self.began.elapsed();
            for packet in packets {
                verdicts.extend(self.arrived(&packet, now));
            }
        }
        let now = self.began.elapsed();
        match &mut self.phase {
            Phase::Holding => {
                while let Some(packet) = self.waiting.next_overdue(now, self.bound) {
                    verdicts.push((packet, Verdict::Accept));
                }
            }
            Phase::Releasing(told) => {
                for _ in 0..AT_ONCE {
                    let Some(packet) = self.waiting.next(now) else {
                        break;
                    };
                    verdicts.push((packet, Verdict::Accept));
                }
                if self.waiting.is_empty() {
                    let held = Held {
                        connections: self.waiting.count(),
                        longest: self.waiting.longest(),
                    };
                    if let Some(told) = told.take()
                        && told.send(held).is_err()
                    {
                        tracing::debug!("nobody waits for the end of the hold any more");
                    }
                    self.phase = Phase::Open;
                }
            }
            Phase::Open => {}
        }
        Ok(verdicts)
    }

    fn arrived(&mut self, packet: &Packet, now: Duration) -> Option<(u32, Verdict)> {
        let connection = Connection::of_packet(&packet.bytes);
        let waits = connection.is_some_and(|connection| self.waiting.contains(&connection));
        if !waits && !matches!(self.phase, Phase::Holding) {
            return Some((packet.id, Verdict::Accept));
        }
        let older = self.waiting.arrive(packet.id, connection, now)?;
        Some((older, Verdict::Drop))
    }
}
