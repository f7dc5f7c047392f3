//! Work behind the writes: the next segment, base files, removing what is covered. On a thread
//! of its own, so that no answer waits for it.

use super::{Index, Shared, Threads};
use crate::config::JournalConfig;
use crate::descriptors;
use crate::journal::base::BaseWriter;
use crate::journal::frame::JournalId;
use crate::journal::fs::Dir;
use crate::journal::segment::{number_of, segment_name};
use crate::journal::writer::{Spare, WriteError};
use crate::physical::{Error, Result, Seq};
use parking_lot::Mutex;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

pub(super) const BALLAST: &str = "BALLAST";
/// Tasks that wait; one that finds no place is asked for again later.
const QUEUE: usize = 4;
/// Records read at a time while a base is written.
const PAGE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Make the next segment.
    Spare,
    /// Copy all records into a base file.
    Base,
    /// Take up the space that is given back when the disk is full.
    Ballast,
}

/// The committer's hand on the upkeep.
pub(super) struct Upkeep<I: Index> {
    work: Arc<Work<I>>,
    tasks: Option<SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
}

struct Work<I: Index> {
    shared: Arc<Shared<I>>,
    config: JournalConfig,
    id: JournalId,
    spare: Mutex<Option<Spare>>,
    serial: AtomicU64,
    /// Sequences up to this one no longer need the journal.
    covered: AtomicU64,
    base_bytes: AtomicU64,
    stopping: AtomicBool,
}

impl<I: Index> Upkeep<I> {
    pub(super) fn start(
        shared: Arc<Shared<I>>,
        config: JournalConfig,
        id: JournalId,
        covered: Seq,
        base_bytes: u64,
        threads: Threads,
    ) -> io::Result<Self> {
        let work = Arc::new(Work {
            shared,
            config,
            id,
            spare: Mutex::new(None),
            serial: AtomicU64::new(0),
            covered: AtomicU64::new(covered),
            base_bytes: AtomicU64::new(base_bytes),
            stopping: AtomicBool::new(false),
        });
        let (mut tasks, mut thread) = (None, None);
        if threads == Threads::Two {
            let (send, receive) = sync_channel(QUEUE);
            let behind = work.clone();
            let run = move || behind.run(&receive);
            thread = Some(std::thread::Builder::new().name("storage-upkeep".into()).spawn(run)?);
            tasks = Some(send);
        }
        Ok(Upkeep { work, tasks, thread })
    }

    pub(super) fn ask(&self, task: Task) {
        match &self.tasks {
            Some(tasks) => {
                let _full = tasks.try_send(task);
            }
            None => self.work.done(task),
        }
    }

    pub(super) fn covered(&self) -> Seq {
        self.work.covered.load(Ordering::Acquire)
    }

    /// The index is durable up to `seq`.
    pub(super) fn cover(&self, seq: Seq) {
        self.work.covered.fetch_max(seq, Ordering::AcqRel);
    }

    pub(super) fn base_bytes(&self) -> u64 {
        self.work.base_bytes.load(Ordering::Acquire)
    }

    pub(super) fn prune(&self) {
        self.work.prune();
    }

    pub(super) fn next_serial(&self) -> u64 {
        self.work.serial.fetch_add(1, Ordering::AcqRel)
    }

    /// The segment made ahead, if there is one and it is large enough.
    pub(super) fn take_spare(&self, need: u64) -> Result<Option<Spare>, WriteError> {
        match self.work.spare.lock().take() {
            Some(spare) if spare.size() >= need => Ok(Some(spare)),
            Some(spare) => {
                spare.discard(&*self.work.shared.dir)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    pub(super) fn discard_spare(&self) -> Result<()> {
        if let Some(spare) = self.work.spare.lock().take() {
            spare.discard(&*self.work.shared.dir)?;
        }
        Ok(())
    }

    /// Takes the ballast up again if there is just space for it.
    pub(super) fn refill_ballast(&self) {
        self.work.done(Task::Ballast);
    }

    pub(super) fn drop_ballast(&self) {
        if let Err(e) = remove_if_there(&*self.work.shared.dir, BALLAST) {
            tracing::warn!(error = %e, "the ballast file could not be removed");
        }
    }

    /// Ends the thread; what it has begun is given up.
    pub(super) fn stop(&mut self) {
        self.work.stopping.store(true, Ordering::Release);
        self.tasks.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.work.shared.poison("the upkeep thread ended in a panic");
        }
    }
}

pub(super) fn remove_if_there(dir: &dyn Dir, name: &str) -> io::Result<()> {
    match dir.remove(name) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

impl<I: Index> Work<I> {
    fn run(&self, tasks: &Receiver<Task>) {
        while let Ok(task) = tasks.recv() {
            if !self.stopping.load(Ordering::Acquire) {
                self.done(task);
            }
        }
    }

    /// A full disk, or no descriptor, leaves a task undone, to be asked for again; anything else is fatal.
    fn done(&self, task: Task) {
        let outcome = match task {
            Task::Spare => self.make_spare(),
            Task::Base => self.write_base(),
            Task::Ballast => self.make_ballast(),
        };
        match outcome {
            Ok(()) => {}
            Err(Error::Full) => tracing::warn!(?task, "no space on the disk; left for later"),
            Err(Error::Busy) => tracing::warn!(?task, "no file descriptor; left for later"),
            Err(Error::Io(e)) if descriptors::exhausted(&e) => {
                tracing::warn!(?task, "no file descriptor; left for later");
            }
            Err(e) => {
                self.shared.poison(&format!("{task:?}: {e}"));
            }
        }
    }

    fn make_spare(&self) -> Result<()> {
        if self.spare.lock().is_some() {
            return Ok(());
        }
        // What is left on a nearly full disk is for the index and for deletions.
        if self.shared.dir.available()? < self.config.reserve_bytes.saturating_add(self.config.segment_bytes)
        {
            return Err(Error::Full);
        }
        let serial = self.serial.fetch_add(1, Ordering::AcqRel);
        let spare =
            Spare::create(&*self.shared.dir, serial, self.config.segment_bytes).map_err(write_error)?;
        *self.spare.lock() = Some(spare);
        Ok(())
    }

    fn make_ballast(&self) -> Result<()> {
        let dir = &*self.shared.dir;
        if self.config.ballast_bytes == 0 || dir.open(BALLAST).is_ok() {
            return Ok(());
        }
        let file = dir.create(BALLAST).map_err(space_error)?;
        let made = file.allocate(self.config.ballast_bytes).and_then(|()| file.sync());
        if let Err(e) = made {
            remove_if_there(dir, BALLAST)?;
            return Err(space_error(e));
        }
        Ok(())
    }

    fn write_base(&self) -> Result<()> {
        let seq = self.shared.seq.load(Ordering::Acquire);
        if seq <= self.covered.load(Ordering::Acquire) {
            return Ok(());
        }
        let dir = self.shared.dir.clone();
        match self.copy_records(seq) {
            Ok(Some(bytes)) => {
                self.base_bytes.store(bytes, Ordering::Release);
                self.covered.fetch_max(seq, Ordering::AcqRel);
                let older = |name: &String| number_of(name, "base").is_some_and(|s| s < seq);
                for name in dir.list()?.iter().filter(|n| older(n)) {
                    dir.remove(name)?;
                }
                self.prune();
                Ok(())
            }
            Ok(None) => Ok(BaseWriter::discard(&*dir)?),
            Err(e) => {
                BaseWriter::discard(&*dir)?;
                Err(e)
            }
        }
    }

    /// `None` when it was told to stop.
    fn copy_records(&self, seq: Seq) -> Result<Option<u64>> {
        let (index, dir) = (self.shared.index()?, &*self.shared.dir);
        let mut base = BaseWriter::create(self.shared.dir.clone(), self.id, seq).map_err(space_error)?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return Ok(None);
            }
            // The copy must not take the space that the index needs.
            if dir.available()? < self.config.reserve_bytes {
                return Err(Error::Full);
            }
            let mut page = index.scan(&[], after.as_deref(), PAGE)?;
            for (key, record) in &page {
                base.record(record.rev, key, &record.value).map_err(space_error)?;
            }
            match page.pop() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        base.finish(self.shared.released.load(Ordering::Acquire)).map(Some).map_err(space_error)
    }

    /// Removes the segments whose records are durable elsewhere and whose riders are released,
    /// oldest first. The newest stays: it holds the end of the chain.
    fn prune(&self) {
        let covered = self.covered.load(Ordering::Acquire);
        let released = self.shared.released.load(Ordering::Acquire);
        let mut segments = self.shared.segments.lock();
        let newest = segments.len().saturating_sub(1);
        let done = |s: &super::Segment| s.last <= covered && s.last_rider <= released;
        let mut gone = 0;
        for s in segments.iter().take(newest).take_while(|s| done(s)) {
            if let Err(e) = self.shared.dir.remove(&segment_name(s.number)) {
                tracing::warn!(error = %e, segment = s.number, "an old segment could not be removed");
                break;
            }
            gone += 1;
        }
        segments.drain(..gone);
    }
}

fn write_error(e: WriteError) -> Error {
    match e {
        WriteError::Full => Error::Full,
        WriteError::Busy => Error::Busy,
        WriteError::Fatal(e) => Error::Io(e),
    }
}

fn space_error(e: io::Error) -> Error {
    if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        Error::Full
    } else {
        Error::Io(e)
    }
}
