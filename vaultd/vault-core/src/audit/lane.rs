//! One device's way to its disk: a bounded queue, a thread that writes and one that syncs.
//!
//! No thread that serves requests ever touches an audit file. What waits in the queue while one
//! `write(2)` is under way goes out with the next, in one call. Whoever waits is answered within
//! [`WRITE_WAIT`]: a disk that hangs holds its own two threads and nothing else.

use super::AuditError;
use super::file::LogFile;
use super::limits::{
    MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_LINE_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_RECORDS, MAX_TAIL_BYTES,
    SYNC_WAIT, WRITE_WAIT,
};
use super::tail::Point;
use super::ticket::{News, Ticket};
use super::writer::{Record, Writer};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;
use vault_logical::Timestamp;

/// Something done on the writing thread.
type Work = Box<dyn FnOnce(&mut Writer) + Send>;

enum Task {
    Record {
        /// Written before `record`, with it or not at all.
        before: Option<Record>,
        record: Record,
    },
    Work(Work),
}

struct Job {
    task: Task,
    ticket: Option<Arc<Ticket>>,
    since: Instant,
}

impl Job {
    fn bytes(&self) -> usize {
        match &self.task {
            Task::Record { before, record } => {
                before.as_ref().map_or(0, |b| b.body.len()) + record.body.len()
            }
            Task::Work(_) => 0,
        }
    }

    fn records(&self) -> u64 {
        match &self.task {
            Task::Record { before, .. } => 1 + u64::from(before.is_some()),
            Task::Work(_) => 0,
        }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Of the bodies in `waiting`.
    bytes: usize,
    /// Tickets of what the writing thread is at; whoever takes them out answers them.
    flight: Vec<Arc<Ticket>>,
    /// When the oldest job that the thread is at was offered.
    busy: Option<Instant>,
    /// The thread did not come back in time: what comes is refused at once.
    stalled: bool,
    /// A sync did not come back in time: what comes is refused as well.
    unsynced: bool,
    stopped: bool,
    ticking: bool,
}

/// What the writing thread last said of itself; reading it never waits for a disk.
#[derive(Clone)]
pub(super) struct View {
    pub point: Point,
    pub error: Option<String>,
    pub flags: Vec<&'static str>,
    pub healthy: bool,
    /// Something is still to sign or to sync.
    pub unfinished: bool,
}

/// Records not taken: noted in the log when it goes on.
#[derive(Clone, Copy, Default)]
pub(super) struct Missed {
    /// Since the last `gap` line.
    pub pending: u64,
    pub total: u64,
    pub since: Option<Timestamp>,
}

#[derive(Default)]
struct Syncing {
    file: Option<Arc<dyn LogFile>>,
    busy: bool,
    /// When the sync under way began.
    since: Option<Instant>,
    stopped: bool,
}

pub(super) struct Lane {
    name: String,
    queue: Mutex<Queue>,
    bell: Condvar,
    view: Mutex<View>,
    healthy: AtomicBool,
    missed: Mutex<Missed>,
    syncing: Mutex<Syncing>,
    sync_bell: Condvar,
}

impl Lane {
    /// Starts the device's threads; they end with [`Lane::stop`].
    /// `point` is where the chain stood last, as far as is known before the file is open.
    pub fn start(
        name: &str,
        point: Point,
        writer: impl FnOnce(Arc<Lane>) -> Writer,
    ) -> io::Result<Arc<Lane>> {
        let view = View { point, error: None, flags: Vec::new(), healthy: false, unfinished: false };
        let lane = Arc::new(Lane {
            name: name.to_owned(),
            queue: Mutex::default(),
            bell: Condvar::new(),
            view: Mutex::new(view),
            healthy: AtomicBool::new(false),
            missed: Mutex::default(),
            syncing: Mutex::default(),
            sync_bell: Condvar::new(),
        });
        let writer = writer(lane.clone());
        let own = lane.clone();
        thread::Builder::new().name("audit-write".into()).spawn(move || own.write_on(writer))?;
        let own = lane.clone();
        let syncer = thread::Builder::new().name("audit-sync".into()).spawn(move || own.sync_on());
        syncer.inspect_err(|_| lane.stop())?;
        Ok(lane)
    }

    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }
    pub fn view(&self) -> View {
        self.view.lock().clone()
    }
    pub fn missed(&self) -> Missed {
        *self.missed.lock()
    }

    /// `count` records were not taken.
    pub fn miss(&self, count: u64, now: Timestamp) {
        let mut m = self.missed.lock();
        m.pending += count;
        m.total += count;
        m.since.get_or_insert(now);
    }

    /// A `gap` line tells of `count` records.
    pub fn told_missed(&self, count: u64) {
        let mut m = self.missed.lock();
        m.pending = m.pending.saturating_sub(count);
        m.since = if m.pending == 0 { None } else { m.since };
    }

    /// Queues a record, and one to be written right before it; the ticket is answered in any case.
    /// `Err`: not taken, and why.
    pub fn record(
        &self,
        before: Option<Record>,
        record: Record,
        ticket: &Arc<Ticket>,
    ) -> Result<(), AuditError> {
        let now = record.now;
        let fits = |r: &Record| r.body.len() + MAX_TAIL_BYTES <= MAX_LINE_BYTES;
        let fit = fits(&record) && before.as_ref().is_none_or(fits);
        let task = Task::Record { before, record };
        let job = Job { task, ticket: Some(ticket.clone()), since: Instant::now() };
        let count = job.records();
        let pushed = if fit { self.push(job) } else { Err(AuditError::NotRecorded) };
        pushed.inspect_err(|e| {
            if matches!(e, AuditError::NotRecorded) {
                self.miss(count, now);
            }
        })
    }

    fn push(&self, job: Job) -> Result<(), AuditError> {
        let mut q = self.queue.lock();
        if q.stopped {
            return Err(AuditError::Sealed);
        }
        let full = q.waiting.len() >= MAX_QUEUED_RECORDS || q.bytes + job.bytes() > MAX_QUEUED_BYTES;
        if matches!(job.task, Task::Record { .. }) && (q.stalled || q.unsynced || full) {
            return Err(AuditError::NotRecorded);
        }
        q.bytes += job.bytes();
        q.waiting.push_back(job);
        drop(q);
        self.bell.notify_one();
        Ok(())
    }

    /// Runs `work` on the writing thread, after what waits. `None`: not done in time.
    /// Queued at once, not when it is first awaited.
    pub fn ask<T: Send + 'static, W: FnOnce(&mut Writer) -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Option<T>> + use<T, W> {
        let slot = Arc::new(Mutex::new(None));
        let (ticket, filled) = (Ticket::new(1), slot.clone());
        let work: Work = Box::new(move |w| {
            let done = work(w);
            *filled.lock() = Some(done);
        });
        let job = Job { task: Task::Work(work), ticket: Some(ticket.clone()), since: Instant::now() };
        let pushed = self.push(job);
        async move {
            pushed.ok()?;
            if ticket.taken().await { slot.lock().take() } else { None }
        }
    }

    /// Asks the writing thread to look after its file. True while something is left to do.
    pub fn tick(self: &Arc<Self>, now: Timestamp) -> bool {
        let mut q = self.queue.lock();
        if q.stalled || q.stopped {
            return true;
        }
        if !q.ticking {
            q.ticking = true;
            let own = self.clone();
            let work: Work = Box::new(move |w| {
                own.queue.lock().ticking = false;
                w.tick(now);
                own.sync(w.begin_sync());
            });
            q.waiting.push_back(Job { task: Task::Work(work), ticket: None, since: Instant::now() });
            self.bell.notify_one();
        }
        drop(q);
        let syncing = { self.syncing.lock().busy };
        syncing || !self.healthy() || self.view.lock().unfinished
    }

    /// Answers whoever has waited too long. True while something waits.
    pub fn expire(&self, at: Instant, now: Timestamp) -> bool {
        let late = |since: Instant| at.saturating_duration_since(since) >= WRITE_WAIT;
        let mut news: Vec<News> = Vec::new();
        let mut dropped = 0;
        let mut q = self.queue.lock();
        if !q.stalled && q.busy.is_some_and(late) {
            q.stalled = true;
            self.healthy.store(false, Ordering::Release);
            tracing::error!(device = %self.name, "the audit device's disk does not answer");
            // Not counted as missed: the thread will know whether they were written.
            news.extend(q.flight.drain(..).filter_map(|t| t.answer(false)));
        }
        let mut kept = Vec::new();
        while q.waiting.front().is_some_and(|j| late(j.since)) {
            let Some(job) = q.waiting.pop_front() else { break };
            // What nobody waits for (a failed sync, a tick) is not to be lost.
            let Some(ticket) = &job.ticket else {
                kept.push(job);
                continue;
            };
            q.bytes = q.bytes.saturating_sub(job.bytes());
            dropped += job.records();
            news.extend(ticket.answer(false));
        }
        kept.into_iter().rev().for_each(|job| q.waiting.push_front(job));
        let (since, syncing) = {
            let s = self.syncing.lock();
            (s.since, s.busy)
        };
        if !q.unsynced && since.is_some_and(|since| at.saturating_duration_since(since) >= SYNC_WAIT) {
            q.unsynced = true;
            self.healthy.store(false, Ordering::Release);
            tracing::error!(device = %self.name, "the audit device's disk does not come back from a sync");
        }
        let waiting = q.busy.is_some() || !q.waiting.is_empty() || syncing;
        drop(q);
        if dropped > 0 {
            self.miss(dropped, now);
        }
        news.into_iter().for_each(News::tell);
        waiting
    }

    /// Ends the threads; whoever still waits is answered.
    pub fn stop(&self) {
        let mut q = self.queue.lock();
        q.stopped = true;
        q.bytes = 0;
        let jobs = std::mem::take(&mut q.waiting);
        let flight = std::mem::take(&mut q.flight);
        drop(q);
        self.bell.notify_one();
        self.syncing.lock().stopped = true;
        self.sync_bell.notify_all();
        let tickets = jobs.into_iter().filter_map(|j| j.ticket).chain(flight);
        tickets.filter_map(|t| t.answer(false)).for_each(News::tell);
    }

    // --- the writing thread ---

    fn write_on(&self, mut writer: Writer) {
        let mut records = Vec::new();
        loop {
            let taken = match self.take(&mut records) {
                None => return,
                Some(Some(work)) => {
                    work(&mut writer);
                    true
                }
                Some(None) => {
                    let taken = writer.append(&records);
                    records.clear();
                    taken
                }
            };
            self.done(&writer, taken);
        }
    }

    /// The next piece of work, or as many records as go out in one write. `None`: stop.
    fn take(&self, records: &mut Vec<Record>) -> Option<Option<Work>> {
        let mut q = self.queue.lock();
        while q.waiting.is_empty() && !q.stopped {
            self.bell.wait(&mut q);
        }
        let mut bytes = 0;
        let mut work = None;
        let room = |bytes: usize, records: &[Record], job: &Job| match job.task {
            Task::Record { .. } => records.len() < MAX_BATCH_RECORDS && bytes < MAX_BATCH_BYTES,
            Task::Work(_) => records.is_empty(),
        };
        while q.waiting.front().is_some_and(|job| room(bytes, records, job)) {
            let Some(job) = q.waiting.pop_front() else { break };
            bytes += job.bytes();
            q.busy.get_or_insert(job.since);
            q.flight.extend(job.ticket);
            match job.task {
                Task::Record { before, record } => {
                    records.extend(before);
                    records.push(record);
                }
                Task::Work(w) => {
                    work = Some(w);
                    break;
                }
            }
        }
        q.bytes = q.bytes.saturating_sub(bytes);
        if records.is_empty() && work.is_none() { None } else { Some(work) }
    }

    /// Publishes how the writer stands, then answers those whose records it was at.
    fn done(&self, writer: &Writer, taken: bool) {
        let view = writer.view();
        let healthy = view.healthy;
        *self.view.lock() = view;
        let mut q = self.queue.lock();
        self.healthy.store(healthy && !q.unsynced, Ordering::Release);
        q.busy = None;
        let back = std::mem::take(&mut q.stalled);
        let mut flight = std::mem::take(&mut q.flight);
        drop(q);
        if back {
            tracing::warn!(device = %self.name, "the audit device's disk answers again");
        }
        let news: Vec<News> = flight.drain(..).filter_map(|t| t.answer(taken)).collect();
        news.into_iter().for_each(News::tell);
    }

    // --- the syncing thread ---

    /// Hands a file over to be synced.
    fn sync(&self, file: Option<Arc<dyn LogFile>>) {
        if let Some(file) = file {
            let mut s = self.syncing.lock();
            s.file = Some(file);
            s.busy = true;
            self.sync_bell.notify_all();
        }
    }

    /// A sync came back: that no longer stands in the way.
    fn synced_again(&self) {
        let mut q = self.queue.lock();
        if std::mem::take(&mut q.unsynced) {
            self.healthy.store(self.view.lock().healthy && !q.stalled, Ordering::Release);
            tracing::warn!(device = %self.name, "the audit device's disk came back from its sync");
        }
    }

    /// Whether records are refused because a sync does not come back.
    pub fn unsynced(&self) -> bool {
        self.queue.lock().unsynced
    }

    /// Waits until no sync is under way any more: the file's lock is free then.
    pub fn rest(&self) {
        let until = Instant::now() + WRITE_WAIT;
        let mut s = self.syncing.lock();
        s.file = None;
        while s.busy && !self.sync_bell.wait_until(&mut s, until).timed_out() {}
    }

    fn sync_on(self: Arc<Self>) {
        loop {
            let mut s = self.syncing.lock();
            let file = loop {
                match s.file.take() {
                    Some(file) => break file,
                    None if s.stopped => return,
                    None => {
                        s.busy = false;
                        self.sync_bell.notify_all();
                        self.sync_bell.wait(&mut s);
                    }
                }
            };
            s.since = Some(Instant::now());
            drop(s);
            let synced = file.sync();
            self.syncing.lock().since = None;
            self.synced_again();
            if let Err(error) = synced {
                let work: Work = Box::new(move |w| w.sync_failed(file.id(), &error));
                let job = Job { task: Task::Work(work), ticket: None, since: Instant::now() };
                // Refused only where the device has failed or stopped already.
                let _ = self.push(job);
            }
        }
    }
}
