//! The hold: new connections to the published ports of a service wait in the kernel while it is switched.
//!
//! Rules of the packet filter send the first packet of each new connection to a queue, which a thread of its own reads.
//! If cutover dies, the kernel lets everything through. What is decided is in [`cutover_core::hold`].

mod drain;
mod holder;
mod process;
mod queue;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use cutover_core::hold::{Family, Published, Rule, left_over, rules};
use tokio::process::Command;

pub use self::drain::{Drained, drain, listening};
pub use self::holder::Held;
use self::holder::Holder;
pub use self::process::ContainerProcess;
use self::queue::{Queue, read_queues};
use crate::program::{ProgramError, Running, find_executable};

/// Where the programs are that change the rules.
const DIRECTORIES: &[&str] = &["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Shows the rules of the table.
const LIST: [&str; 5] = ["-w", "5", "-t", "raw", "-S"];

/// One change of the rules takes some 50 ms, and waits up to 5 s for others that change them.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// For so long everything goes on after the rules are gone: what met a rule before may arrive after.
const AFTER_RULES: Duration = Duration::from_millis(100);

/// Why nothing can be held. Nothing was changed then, or all of it was taken back.
#[derive(Debug, thiserror::Error)]
pub enum NoHold {
    /// The program that changes the rules is not there.
    #[error("`{program}` is not installed")]
    NoProgram {
        /// Which.
        program: &'static str,
    },
    /// The kernel gives no queue.
    #[error("the kernel gives no packet queue: {0}; this takes CAP_NET_ADMIN")]
    NoQueue(#[source] io::Error),
    /// The kernel does not let cutover change the packet filter.
    #[error("the packet filter may not be changed: {0}; this takes CAP_NET_ADMIN")]
    NotAllowed(#[source] ProgramError),
    /// A rule could not be added.
    #[error("the packet filter could not be changed: {0}")]
    NoRule(#[source] ProgramError),
}

/// New connections wait as long as this is there and closed. Dropped without [`Self::end`], it lets them through; its
/// rules then do nothing, and the next hold removes them.
#[derive(Debug)]
pub struct Hold {
    holder: Holder,
    is_open: bool,
    rules: Vec<Rule>,
    owner: String,
    queue: u16,
}

impl Hold {
    /// Begins to hold what comes to these ports. `owner` is what the rules' comment says: a project and a service. No
    /// connection waits for longer than `bound`.
    ///
    /// # Errors
    /// [`NoHold`]; nothing waits then.
    pub async fn begin(
        published: &[Published],
        owner: &str,
        bound: Duration,
    ) -> Result<Self, NoHold> {
        remove_left_over().await?;
        let queue = Queue::open().map_err(NoHold::NoQueue)?;
        let number = queue.number();
        let mut hold = Self {
            holder: Holder::start(queue, bound).map_err(NoHold::NoQueue)?,
            is_open: false,
            rules: Vec::new(),
            owner: owner.to_owned(),
            queue: number,
        };
        for rule in rules(published) {
            match change(rule.family, &rule.to_add(owner, number)).await {
                Ok(()) => hold.rules.push(rule),
                // Most machines are reached by IPv4, and many have no IPv6.
                Err(why) if rule.family == Family::V6 && !hold.rules.is_empty() => {
                    tracing::info!(error = %why, "connections by IPv6 are not held");
                }
                Err(why) => {
                    hold.end().await;
                    return Err(why);
                }
            }
        }
        Ok(hold)
    }

    /// Whether new connections go on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Lets all go on that wait, in the order in which they came, and then everything. The rules stay, so that it can be
    /// closed again at once: by [`Self::close`], or when one of the processes ends whose ends these are.
    pub async fn open(&mut self, ends: Vec<OwnedFd>) -> Held {
        self.is_open = true;
        self.holder.open(ends).await
    }

    /// Holds again what comes.
    pub fn close(&mut self) {
        self.is_open = false;
        self.holder.close();
    }

    /// Removes the rules, and lets everything go on.
    pub async fn end(mut self) {
        self.open(Vec::new()).await;
        for rule in &self.rules {
            if let Err(error) = change(rule.family, &rule.to_delete(&self.owner, self.queue)).await
            {
                tracing::warn!(%error, "a rule of the hold could not be removed; it lets everything through, and the next hold removes it");
            }
        }
        tokio::time::sleep(AFTER_RULES).await;
        drop(tokio::task::spawn_blocking(|| self.holder.end()).await);
    }
}

/// Whether anything can be held here. Changes nothing.
///
/// # Errors
/// Why not.
pub async fn possible() -> Result<(), NoHold> {
    changed(Family::V4, &LIST.map(str::to_owned)).await?;
    Queue::open().map(drop).map_err(NoHold::NoQueue)
}

/// Removes the rules that a hold has left behind whose daemon was killed. They let everything through.
///
/// # Errors
/// [`NoHold`]; they are still there then.
pub async fn remove_left_over() -> Result<(), NoHold> {
    for family in Family::BOTH {
        let deleted = match rules_left_over(family).await {
            Err(_) if family == Family::V6 => continue,
            rules => delete_all(family, &rules?).await,
        };
        // Another hold that begins deletes them as well: what failed counts only if one is still there.
        if deleted.is_err() && !rules_left_over(family).await?.is_empty() {
            return deleted;
        }
    }
    Ok(())
}

/// The arguments that delete each of them. A queue is read from before its first rule is there until its last one is gone,
/// so the rules are listed first: those of a hold that begins meanwhile are never taken for left over.
async fn rules_left_over(family: Family) -> Result<Vec<Vec<String>>, NoHold> {
    let listing = changed(family, &LIST.map(str::to_owned)).await?;
    let read = read_queues().map_err(NoHold::NoQueue)?;
    Ok(left_over(&listing, &read))
}

async fn delete_all(family: Family, rules: &[Vec<String>]) -> Result<(), NoHold> {
    let mut deleted = Ok(());
    for arguments in rules {
        deleted = deleted.and(change(family, arguments).await);
    }
    deleted
}

async fn change(family: Family, arguments: &[String]) -> Result<(), NoHold> {
    changed(family, arguments).await.map(drop)
}

/// Runs the program that changes the rules of this family; returns what it printed.
async fn changed(family: Family, arguments: &[String]) -> Result<String, NoHold> {
    let name = family.program();
    let directories = DIRECTORIES.iter().map(PathBuf::from);
    let program = find_executable(name, None, directories);
    let program = program.ok_or(NoHold::NoProgram { program: name })?;
    let mut command = Command::new(program);
    command.args(arguments);
    let running = Running::start(command, name).map_err(NoHold::NoRule)?;
    running.output(CHANGE_TIMEOUT).await.map_err(refused)
}

fn refused(error: ProgramError) -> NoHold {
    match &error {
        ProgramError::Failed { message, .. } if message.contains("Permission denied") => {
            NoHold::NotAllowed(error)
        }
        _ => NoHold::NoRule(error),
    }
}
