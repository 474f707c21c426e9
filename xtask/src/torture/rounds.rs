//! Random rounds, some beside each other.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use cutover_testkit::torture::fault::Fault;
use cutover_testkit::torture::ground::Ground;
use cutover_testkit::torture::release::Shape;
use cutover_testkit::torture::round::{BLOCK, Lengths, Played, Round};
use cutover_testkit::torture::verdict::Verdict;

use super::table::Table;
use super::{Arguments, details};

/// How often a worker may need a new ground in a row: then it is not the round's doing any more.
const FRESH_GROUNDS: u32 = 3;

/// What all workers share.
struct Shared<'a> {
    arguments: &'a Arguments,
    faults: Vec<Fault>,
    cutover: &'a str,
    /// The next block of rounds.
    next_block: AtomicU32,
    table: Mutex<Table>,
}

/// Plays all rounds; returns whether none ended in a third state.
pub(super) fn play(arguments: &Arguments, cutover: &str) -> Result<ExitCode> {
    let began = Instant::now();
    let shared = Shared {
        arguments,
        faults: arguments.faults()?,
        cutover,
        next_block: AtomicU32::new(arguments.first / BLOCK),
        table: Mutex::default(),
    };
    let worked = thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs)
            .map(|_| scope.spawn(|| shared.work()))
            .collect();
        let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ended.collect::<Vec<_>>()
    });
    let table = shared
        .table
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    println!("\nseed {}, {} s", arguments.seed, began.elapsed().as_secs());
    for ended in worked {
        match ended {
            Ok(ended) => ended?,
            Err(_) => bail!("a worker died"),
        }
    }
    Ok(super::conclude(&table))
}

impl Shared<'_> {
    /// Takes blocks until there are none; a block whose ground was lost goes on upon another one.
    fn work(&self) -> Result<()> {
        let mut left = Vec::new();
        let mut lost = 0;
        loop {
            let mut played = 0;
            let worked = Ground::with(self.cutover, Shape::USUAL, |ground| {
                let lengths = Lengths::measure(ground)?;
                self.play_on(ground, lengths, &mut left, &mut played)
            });
            let Err(error) = worked.and_then(|worked| worked) else {
                return Ok(());
            };
            println!("a ground was lost: {error:#}");
            lost = if played > 0 { 1 } else { lost + 1 };
            if lost == FRESH_GROUNDS {
                return Err(error);
            }
        }
    }

    /// `left` are the rounds of the block at hand, last first.
    fn play_on(
        &self,
        ground: &mut Ground,
        lengths: Lengths,
        left: &mut Vec<u32>,
        played: &mut u32,
    ) -> Result<()> {
        let end = self.arguments.first + self.arguments.rounds;
        loop {
            if left.is_empty() {
                let block = self.next_block.fetch_add(1, Ordering::Relaxed);
                let numbers = block * BLOCK..(block + 1) * BLOCK;
                let wanted = numbers.filter(|number| (self.arguments.first..end).contains(number));
                left.extend(wanted.rev());
            }
            let Some(number) = left.pop() else {
                return Ok(());
            };
            let round = Round::of(self.arguments.seed, number, &self.faults);
            let name = format!("{}-{number}-{}", self.arguments.seed, round.fault);
            let kept = details().join(name);
            let ended = round.play(ground, lengths, self.arguments.patience(), &kept)?;
            *played += 1;
            self.tell(&ended);
        }
    }

    fn tell(&self, played: &Played) {
        let round = played.round;
        println!(
            "round {:>4} {:<28} {:<14} {:<9} {:<12} at {:>5} ms: {} ({:.1} s){}",
            round.number,
            round.fault,
            round.shape.policy.as_str(),
            format!("{:?}", round.shape.door),
            format!("{:?}", round.behavior),
            played.moment_ms,
            played.ending.verdict.as_str(),
            played.took.as_secs_f32(),
            played
                .alone
                .map(|count| format!(" [Docker alone: {count}]"))
                .unwrap_or_default(),
        );
        if let Verdict::Third(_) = played.ending.verdict {
            print!("{}", played.ending.story);
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.add(
            round.fault.as_str(),
            &played.ending.verdict,
            played.ending.is_down,
        );
    }
}
