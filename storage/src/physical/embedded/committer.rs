//! The one thread that writes: it gathers what waits into a round, makes it durable, shows it,
//! and only then answers.

use super::upkeep::{Task, Upkeep};
use super::{Change, Index, Layout, Shared, riders_allowed};
use crate::config::JournalConfig;
use crate::descriptors;
use crate::journal::clean::Clean;
use crate::journal::frame::{Builder, Entry};
use crate::journal::writer::{Spare, WriteError, Writer};
use crate::limits::{FRAME_BYTES, FRAME_TXNS};
use crate::physical::round::{Round, writes};
use crate::physical::{Error, Outcome, Result, Seq, Txn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

type Reply = oneshot::Sender<Result<Vec<Outcome>>>;

pub(super) enum Command {
    Apply(Job),
    Close(oneshot::Sender<Result<()>>),
}

/// One call of `apply`. Never split over two rounds.
pub(super) struct Job {
    pub txns: Vec<Txn>,
    pub bytes: usize,
    /// Small and freeing space: still accepted when the disk is nearly full.
    pub relief: bool,
    pub reply: Reply,
}

pub(super) struct Committer<I: Index> {
    shared: Arc<Shared<I>>,
    commands: mpsc::Receiver<Command>,
    writer: Writer,
    frame: Builder,
    upkeep: Upkeep<I>,
    config: JournalConfig,
    /// Journal bytes since the last checkpoint or base.
    since: u64,
    checkpointed: Instant,
    /// Bytes that the index may still need on disk for what it was given since its last sync.
    debt: u64,
    /// Release of riders that the journal already records.
    released: Seq,
    ballast: bool,
    /// Held until everything else is let go of.
    _layout: Option<Layout>,
}

/// Size of the segment that is tried when there is no space for a usual one.
const SMALL_SEGMENT: u64 = 64 * 1024;
/// Bytes of tree pages that one change may make an index write.
const PAGES_PER_CHANGE: u64 = 2 * 4096;
/// Longest wait, in milliseconds, for readers to let go of a closed index.
const READERS_WAIT_MS: u64 = 5_000;

/// What a round does with the free space there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    Plenty,
    /// Only jobs that free space.
    Relief,
    None,
}

impl<I: Index> Committer<I> {
    pub(super) fn new(
        shared: Arc<Shared<I>>,
        commands: mpsc::Receiver<Command>,
        writer: Writer,
        upkeep: Upkeep<I>,
        config: JournalConfig,
        since: u64,
        layout: Option<Layout>,
    ) -> Self {
        Committer {
            shared,
            commands,
            writer,
            frame: Builder::new(),
            upkeep,
            config,
            since,
            checkpointed: Instant::now(),
            debt: 0,
            // What CLEAN told is gone with it: the first frame says it again.
            released: 0,
            ballast: true,
            _layout: layout,
        }
    }

    pub(super) fn run(mut self) {
        let mut waiting = None;
        let closing = loop {
            let first = match waiting.take() {
                Some(job) => job,
                None => match self.commands.blocking_recv() {
                    Some(Command::Apply(job)) => job,
                    Some(Command::Close(reply)) => break Some(reply),
                    None => break None,
                },
            };
            let (jobs, close) = self.gather(first, &mut waiting);
            self.round(jobs);
            if let Some(reply) = close {
                if let Some(job) = waiting.take() {
                    self.round(vec![job]);
                }
                break Some(reply);
            }
        };
        // What is queued behind the close is dropped unanswered, and its callers told so.
        self.commands.close();
        let outcome = self.close();
        if let Some(reply) = closing {
            let _gone = reply.send(outcome);
        }
    }

    /// Takes what else waits, up to the size of a frame.
    fn gather(
        &mut self,
        first: Job,
        waiting: &mut Option<Job>,
    ) -> (Vec<Job>, Option<oneshot::Sender<Result<()>>>) {
        let (mut txns, mut bytes) = (first.txns.len(), first.bytes);
        let mut jobs = vec![first];
        while txns < FRAME_TXNS && bytes < FRAME_BYTES {
            match self.commands.try_recv() {
                Ok(Command::Apply(job)) => {
                    if bytes + job.bytes > FRAME_BYTES || txns + job.txns.len() > FRAME_TXNS {
                        *waiting = Some(job);
                        break;
                    }
                    txns += job.txns.len();
                    bytes += job.bytes;
                    jobs.push(job);
                }
                Ok(Command::Close(reply)) => return (jobs, Some(reply)),
                Err(_) => break,
            }
        }
        (jobs, None)
    }

    fn round(&mut self, jobs: Vec<Job>) {
        let outcomes = self.decide(&jobs);
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            // A caller that went away has no use for the answer; the round stands.
            let _gone = job.reply.send(outcome);
        }
        self.keep_up();
    }

    /// The outcome of each job; on return all that was accepted is durable and visible.
    fn decide(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Outcome>>> {
        let failed = |e: &dyn Fn() -> Error| jobs.iter().map(|_| Err(e())).collect();
        if self.shared.failed.load(Ordering::Acquire) {
            return failed(&|| self.shared.failure());
        }
        // An index that cannot open a file is in an unknown state: better not begun.
        let room = (I::OPENS_FILES && jobs.iter().any(|j| j.txns.iter().any(writes))).then(descriptors::room);
        if let Some(Err(_)) = room {
            return failed(&|| Error::Busy);
        }
        let seq = self.writer.next_seq();
        let mut round = Round::new(seq);
        let mut riders = Vec::new();
        let mut outcomes = match self.judge(jobs, &mut round, &mut riders) {
            Ok(outcomes) => outcomes,
            Err(e) => {
                self.shared.poison(&format!("reading the index: {e}"));
                return failed(&|| self.shared.failure());
            }
        };
        if round.finals().len() == 0 && riders.is_empty() {
            let now = self.shared.seq.load(Ordering::Acquire);
            for o in outcomes.iter_mut().flatten().flatten() {
                if let Outcome::Applied { seq } = o {
                    *seq = now;
                }
            }
            return outcomes;
        }
        match self.commit(seq, &round, &riders) {
            Ok(()) => outcomes,
            Err(Error::Full) => failed(&|| Error::Full),
            Err(Error::Busy) => failed(&|| Error::Busy),
            Err(_) => failed(&|| self.shared.failure()),
        }
    }

    fn judge<'a>(
        &mut self,
        jobs: &'a [Job],
        round: &mut Round<'a>,
        riders: &mut Vec<&'a [u8]>,
    ) -> Result<Vec<Result<Vec<Outcome>>>> {
        let index = self.shared.index()?;
        let space = self.space(jobs);
        let riders_full = !self.may_ride();
        let mut all = Vec::with_capacity(jobs.len());
        for job in jobs {
            let wants = job.txns.iter().any(writes);
            let refused = match space {
                Space::Plenty => riders_full && job.txns.iter().any(|t| t.rider.is_some()),
                Space::Relief => wants && !job.relief,
                Space::None => wants,
            };
            if refused {
                all.push(Err(Error::Full));
                continue;
            }
            let mut outcomes = Vec::with_capacity(job.txns.len());
            for txn in &job.txns {
                let outcome = round.judge(txn, |k| index.revision(k.as_bytes()))?;
                if let (Outcome::Applied { .. }, Some(rider)) = (&outcome, &txn.rider) {
                    riders.push(rider);
                }
                outcomes.push(outcome);
            }
            all.push(Ok(outcomes));
        }
        Ok(all)
    }

    /// Makes the round durable, then visible. Every error but `Full` and `Busy`
    /// has poisoned the store.
    fn commit(&mut self, seq: Seq, round: &Round<'_>, riders: &[&[u8]]) -> Result<()> {
        self.frame.clear();
        for (key, value) in round.finals() {
            let key = key.as_bytes();
            self.frame.push(value.map_or(Entry::Delete { key }, |value| Entry::Put { key, value }));
        }
        for rider in riders {
            self.frame.push(Entry::Rider(rider));
        }
        let released = self.shared.released.load(Ordering::Acquire);
        if released > self.released {
            self.frame.push(Entry::Release(released));
        }
        let started = Instant::now();
        let written = self.make_room().and_then(|()| self.writer.append(&mut self.frame, !riders.is_empty()));
        self.shared.syncs.since(started);
        match written {
            Ok(_) => {}
            Err(WriteError::Full) => return Err(Error::Full),
            Err(WriteError::Busy) => return Err(Error::Busy),
            Err(WriteError::Fatal(e)) => {
                return Err(self.shared.poison(&format!("writing the journal: {e}")));
            }
        }
        self.released = self.released.max(released);
        self.since += self.frame.len() as u64;
        self.note_segment();
        let changes: Vec<Change<'_>> =
            round.finals().map(|(k, value)| Change { key: k.as_bytes(), value, rev: seq }).collect();
        self.debt += 2 * self.frame.len() as u64 + PAGES_PER_CHANGE * changes.len() as u64;
        let shown = self.shared.index().and_then(|index| {
            self.shared.snapshots.publish(&*index, &changes, || {
                index.apply(seq, &changes)?;
                self.shared.seq.store(seq, Ordering::Release);
                Ok(())
            })
        });
        if let Err(e) = shown {
            return Err(self.shared.poison(&format!("applying to the index: {e}")));
        }
        self.shared.watch.publish(seq, round.keys());
        // Another thread may have met a failed sync meanwhile: then this is not acknowledged.
        if self.shared.failed.load(Ordering::Acquire) { Err(self.shared.failure()) } else { Ok(()) }
    }

    /// Sees to it that the frame fits into the segment written to.
    fn make_room(&mut self) -> Result<(), WriteError> {
        if self.writer.has_room(self.frame.len()) {
            return Ok(());
        }
        let need = Writer::segment_for(self.frame.len());
        let spare = match self.upkeep.take_spare(need)? {
            Some(spare) => spare,
            None => self.new_segment(need)?,
        };
        self.writer.advance(spare)?;
        if let Some(active) = self.writer.active() {
            self.shared.segments.lock().push(*active);
        }
        self.upkeep.ask(Task::Spare);
        Ok(())
    }

    /// A segment made while callers wait; on a nearly full disk a small one will do.
    fn new_segment(&self, need: u64) -> Result<Spare, WriteError> {
        let dir = &*self.shared.dir;
        let small = need.next_multiple_of(SMALL_SEGMENT);
        let size = need.max(self.config.segment_bytes);
        match Spare::create(dir, self.upkeep.next_serial(), size) {
            Err(WriteError::Full) if small < size => Spare::create(dir, self.upkeep.next_serial(), small),
            made => made,
        }
    }

    fn note_segment(&self) {
        if let (Some(active), Some(last)) = (self.writer.active(), self.shared.segments.lock().last_mut()) {
            *last = *active;
        }
    }

    fn may_ride(&self) -> bool {
        let covered = self.upkeep.covered();
        riders_allowed(&self.shared.segments.lock(), self.shared.released.load(Ordering::Acquire), covered)
    }

    /// How the free space lets this round go, giving up the ballast when it is short.
    fn space(&mut self, jobs: &[Job]) -> Space {
        if self.config.reserve_bytes == 0 || !jobs.iter().any(|j| j.txns.iter().any(writes)) {
            return Space::Plenty;
        }
        let Ok(mut free) = self.shared.dir.available() else { return Space::Plenty };
        let incoming: usize = jobs.iter().map(|j| j.bytes).sum();
        let reserve = self.config.reserve_bytes.max(4 * incoming as u64);
        if I::SURVIVES_POWER_CUT && self.debt > 0 && free < reserve + self.debt {
            // The index takes its space now, while there is some.
            self.checkpoint();
            free = self.shared.dir.available().unwrap_or(free);
        }
        if free >= reserve {
            if !self.ballast && free >= reserve + 2 * self.config.ballast_bytes {
                self.ballast = true;
                self.upkeep.ask(Task::Ballast);
            }
            return Space::Plenty;
        }
        if self.ballast {
            tracing::warn!(free, reserve, "the disk is nearly full: only deletions are accepted");
            self.ballast = false;
            self.upkeep.drop_ballast();
            free = self.shared.dir.available().unwrap_or(free);
        }
        if free >= self.config.reserve_bytes / 8 { Space::Relief } else { Space::None }
    }

    /// Work that the answers did not have to wait for.
    fn keep_up(&mut self) {
        if self.shared.failed.load(Ordering::Acquire) {
            return;
        }
        if I::SURVIVES_POWER_CUT {
            let old = self.since > 0 && self.checkpointed.elapsed() >= self.config.checkpoint_interval;
            if self.since >= self.config.checkpoint_bytes || old {
                self.checkpoint();
            }
        } else if self.since >= self.config.checkpoint_bytes.max(self.upkeep.base_bytes()) {
            // Whether it is taken or one is under way: the next try is as many bytes away.
            self.since = 0;
            self.upkeep.ask(Task::Base);
        }
        self.upkeep.prune();
    }

    fn checkpoint(&mut self) {
        let seq = self.shared.seq.load(Ordering::Acquire);
        match self.shared.index().and_then(|index| index.sync()) {
            Ok(()) => {
                (self.since, self.debt) = (0, 0);
                self.checkpointed = Instant::now();
                self.upkeep.cover(seq);
            }
            Err(e) => {
                self.shared.poison(&format!("syncing the index: {e}"));
            }
        }
    }

    /// The orderly end: index synced, end of the journal noted.
    fn close(mut self) -> Result<()> {
        self.upkeep.stop();
        let outcome = self.finish();
        if let Err(e) = &outcome {
            self.shared.poison(&format!("closing: {e}"));
        }
        let index = self.shared.index.write().take();
        self.shared.watch.close();
        // A reader that is still at it keeps the files locked.
        if let Some(index) = index {
            let mut waited = 0;
            while Arc::strong_count(&index) > 1 && waited < READERS_WAIT_MS {
                std::thread::sleep(Duration::from_millis(1));
                waited += 1;
            }
        }
        outcome
    }

    fn finish(&mut self) -> Result<()> {
        let index = self.shared.index()?;
        index.sync()?;
        self.upkeep.discard_spare()?;
        if self.shared.segments.lock().is_empty() {
            return Ok(());
        }
        let clean = Clean {
            id: self.writer.id(),
            seq: self.shared.seq.load(Ordering::Acquire),
            link: self.writer.link(),
            released: self.shared.released.load(Ordering::Acquire),
        };
        clean.write(&*self.shared.dir)?;
        // So that the next open has space to give up if the disk is full by then.
        self.upkeep.refill_ballast();
        Ok(())
    }
}
