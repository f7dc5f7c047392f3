//! The anchor's upkeep, on another thread so that no round waits for it.
//!
//! A change that must not be undone unnoticed is acknowledged once the anchor is at its sequence: the anchor is written
//! at once then, and one write serves all that wait for it. What arrives meanwhile waits for the next. For other changes
//! it is written at most once a second.

use super::Reply;
use crate::anchor::{Anchor, AnchorFile, Phase};
use crate::limits::{ANCHOR_INTERVAL, ANCHOR_WAIT};
use crate::store::shared::Shared;
use crate::{CommitError, Error};
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// Who waits for the anchor.
pub enum Waiter {
    Commit(Reply),
    Change(oneshot::Sender<Result<(), Error>>),
}

impl Waiter {
    fn answer(self, seq: u64, outcome: Result<(), &str>) {
        // Whoever gave up waiting has no use for the answer.
        match self {
            Waiter::Commit(reply) => {
                let _ = reply.send(outcome.map(|()| seq).map_err(|e| CommitError::Unanchored(e.to_owned())));
            }
            Waiter::Change(reply) => {
                let _ = reply.send(outcome.map_err(|e| Error::Unanchored(e.to_owned())));
            }
        }
    }
}

struct Waiting {
    seq: u64,
    since: Instant,
    who: Waiter,
}

/// A write that is under way.
struct Writing {
    /// The sequence that the anchor will be at.
    seq: u64,
    task: JoinHandle<Result<(), Error>>,
}

/// What is to be done next.
enum Next {
    /// The write under way has ended.
    Ended(Result<(), Error>),
    /// Somebody has waited for too long.
    Overdue,
    /// The anchor is to be written.
    Due,
}

pub struct Upkeep {
    file: AnchorFile,
    /// What the anchor says of the vault's making.
    pub phase: Phase,
    shared: Arc<Shared>,
    /// The file says less than the store holds.
    behind: bool,
    next: Instant,
    writing: Option<Writing>,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
}

impl Upkeep {
    pub fn new(file: AnchorFile, phase: Phase, shared: Arc<Shared>) -> Upkeep {
        let (writing, waiting) = (None, VecDeque::new());
        Upkeep { file, phase, shared, behind: false, next: Instant::now(), writing, waiting }
    }

    /// A round was applied.
    pub fn behind(&mut self) {
        self.behind = true;
    }

    /// Answers `who` once the anchor is at `seq`, which is durable and in force.
    pub fn acknowledge_later(&mut self, seq: u64, who: Waiter) {
        self.waiting.push_back(Waiting { seq, since: Instant::now(), who });
    }

    /// Waits for the next thing to do: true when the anchor is to be written. May be dropped at any time.
    pub async fn due(&mut self) -> bool {
        match self.next().await {
            Next::Due => return true,
            Next::Ended(outcome) => self.ended(outcome),
            Next::Overdue => {
                let now = Instant::now();
                let late = self.waiting.iter().take_while(|w| w.since + ANCHOR_WAIT <= now).count();
                self.release(late, Err("it was not written in time"));
            }
        }
        false
    }

    async fn next(&mut self) -> Next {
        let first = self.waiting.front().map(|w| w.since);
        match &mut self.writing {
            Some(Writing { task, .. }) => {
                let overdue = async {
                    match first {
                        Some(since) => sleep_until(since + ANCHOR_WAIT).await,
                        None => pending().await,
                    }
                };
                tokio::select! {
                    done = task => Next::Ended(joined(done)),
                    () = overdue => Next::Overdue,
                }
            }
            None if first.is_some() => Next::Due,
            None if self.behind => {
                sleep_until(self.next).await;
                Next::Due
            }
            None => pending().await,
        }
    }

    /// Starts a write. The store is ahead of the anchor meanwhile, never behind.
    pub fn write_behind(&mut self, anchor: Result<Anchor, Error>) {
        let (file, shared) = (self.file.clone(), self.shared.clone());
        self.behind = false;
        // Whoever waits does so for a sequence that is applied, so this anchor is at it or beyond.
        let seq = anchor.as_ref().map_or(u64::MAX, |anchor| anchor.seq);
        let write = move || {
            let written = anchor.and_then(|anchor| file.write(&anchor));
            shared.progress.anchor.wrote(written.is_ok());
            written
        };
        self.writing = Some(Writing { seq, task: tokio::task::spawn_blocking(write) });
    }

    /// Writes the anchor and waits for it, but not for ever; answers all who wait.
    pub async fn write_last(&mut self, anchor: Result<Anchor, Error>, wait: Duration) -> Result<(), Error> {
        let write = async {
            if let Some(Writing { task, .. }) = &mut self.writing {
                let done = joined(task.await);
                self.ended(done);
            }
            self.write_behind(anchor);
            match &mut self.writing {
                Some(Writing { task, .. }) => joined(task.await),
                None => Ok(()),
            }
        };
        let outcome = match timeout(wait, write).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Unanchored("it was not written in time".into())),
        };
        match &outcome {
            Ok(()) => self.release(self.waiting.len(), Ok(())),
            Err(e) => self.give_up(&e.to_string()),
        }
        outcome
    }

    /// Tells all who wait that the anchor will not come.
    pub fn give_up(&mut self, why: &str) {
        self.release(self.waiting.len(), Err(why));
    }

    fn ended(&mut self, outcome: Result<(), Error>) {
        let Some(Writing { seq, .. }) = self.writing.take() else { return };
        self.behind |= outcome.is_err();
        self.next = Instant::now() + ANCHOR_INTERVAL;
        let served = self.waiting.iter().take_while(|w| w.seq <= seq).count();
        match outcome {
            Ok(()) => self.release(served, Ok(())),
            Err(e) => {
                tracing::error!(error = %e, "cannot write the anchor: a rollback of the store may go unnoticed");
                self.release(served, Err(&e.to_string()));
            }
        }
    }

    /// Answers the first `count` of those who wait.
    fn release(&mut self, count: usize, outcome: Result<(), &str>) {
        for Waiting { seq, since, who } in self.waiting.drain(..count) {
            self.shared.progress.anchor.waited(since.elapsed());
            who.answer(seq, outcome);
        }
    }
}

fn joined(done: Result<Result<(), Error>, tokio::task::JoinError>) -> Result<(), Error> {
    done.unwrap_or_else(|_| Err(Error::Worker("writing the anchor ended early".into())))
}
