//! The committer: one thread that writes, so that transactions have one order.
//!
//! It gathers what is waiting, judges each transaction against the store and the earlier ones of the round, seals the
//! accepted ones and applies them in one call. What arrives meanwhile is the next round. After the first failure whose
//! extent is unknown nothing is acknowledged any more.

pub mod change;
mod round;
pub mod state;
mod upkeep;

pub use round::seal_head;

use super::Changed;
use super::request::{Batch, Command, Request, Title};
use super::shared::Shared;
use crate::anchor::{Anchor, AnchorFile, Phase};
use crate::limits::{MAX_ROUND_BYTES, MAX_ROUND_TXNS, SEAL_ANCHOR_WAIT, SEAL_WAIT};
use crate::physical::{self, Fence, Outcome, Txn};
use crate::{CommitError, Error, Meters};
use change::{Change, Prepared};
use round::{Round, Sealed};
use state::State;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use upkeep::{Upkeep, Waiter};

type Reply = oneshot::Sender<Result<u64, CommitError>>;

pub struct Committer {
    shared: Arc<Shared>,
    state: State,
    queue: mpsc::Receiver<Command>,
    upkeep: Upkeep,
    /// Why nothing is acknowledged any more.
    failed: Option<String>,
}

/// How an apply ended when it did not succeed.
enum Refused {
    Full,
    Busy,
    /// What is on disk is unknown.
    Broken(String),
}

impl Committer {
    /// Starts the thread. `place` is the right to be the only writer, given up when the thread ends.
    pub fn start(
        shared: Arc<Shared>,
        state: State,
        queue: mpsc::Receiver<Command>,
        anchor: AnchorFile,
        phase: Phase,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(2)
            .build()
            .map_err(|e| Error::Worker(e.to_string()))?;
        let upkeep = Upkeep::new(anchor, phase, shared.clone());
        let run = move || {
            let end = End { shared: shared.clone(), place: Some(place) };
            runtime.block_on(async move {
                Committer { shared, state, queue, upkeep, failed: None }.run().await;
            });
            // Not waiting for an anchor that hangs.
            runtime.shutdown_background();
            drop(end);
        };
        let thread = std::thread::Builder::new().name("storage-barrier".into());
        thread.spawn(run).map(|_| ()).map_err(|e| Error::Worker(e.to_string()))
    }

    async fn run(mut self) {
        let last = loop {
            let command = tokio::select! {
                command = self.queue.recv() => command,
                due = self.upkeep.due() => {
                    if due {
                        let anchor = self.present();
                        self.upkeep.write_behind(anchor);
                    }
                    continue;
                }
            };
            let Some(mut command) = command else { break None };
            if let Command::Commit(first) = command {
                let (requests, stopped_by) = self.gather(first);
                self.commit(requests).await;
                match stopped_by {
                    Some(next) => command = next,
                    None => continue,
                }
            }
            match command {
                Command::Commit(request) => self.commit(vec![request]).await,
                Command::Change(change, reply) => match self.change(change).await {
                    Ok(true) => self.upkeep.acknowledge_later(self.state.head.seq, Waiter::Change(reply)),
                    done => drop(reply.send(done.map(|_| ()))),
                },
                Command::Seal { initialised, reply } => break Some((initialised, reply)),
            }
        };
        self.shared.sealed.store(true, Ordering::SeqCst);
        self.refuse_rest();
        let initialised = last.as_ref().is_some_and(|(initialised, _)| *initialised);
        let done = self.finish(initialised).await;
        if let Some((_, reply)) = last {
            let _ = reply.send(done);
        }
    }

    /// What else is waiting, within the bounds of a round, and the command that ended the gathering.
    fn gather(&mut self, first: Request) -> (Vec<Request>, Option<Command>) {
        let mut bytes = first.batch.bytes();
        let mut requests = vec![first];
        while requests.len() < MAX_ROUND_TXNS && bytes < MAX_ROUND_BYTES {
            match self.queue.try_recv() {
                Ok(Command::Commit(request)) => {
                    bytes += request.batch.bytes();
                    requests.push(request);
                }
                Ok(other) => return (requests, Some(other)),
                Err(_) => break,
            }
        }
        (requests, None)
    }

    async fn commit(&mut self, requests: Vec<Request>) {
        if let Some(why) = &self.failed {
            for request in requests {
                let _ = request.reply.send(Err(CommitError::Failed(Error::Failed(why.clone()))));
            }
            return;
        }
        let started = Instant::now();
        let shared = self.shared.clone();
        let keyring = shared.keyring.load_full();
        let seq = self.next_seq();
        let mut round = Round::new(&shared, &keyring, seq);
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for Request { batch, reply } in requests {
            let writes = !batch.writes.is_empty() || !batch.riders.is_empty();
            let anchored = batch.anchored;
            match round.add(batch).await {
                Ok(()) if writes => writers.push((reply, anchored)),
                Ok(()) => readers.push(reply),
                Err(e) => {
                    if matches!(e, CommitError::Conflict) {
                        shared.meters.conflicts.one();
                    }
                    answer(reply, Err(e));
                }
            }
        }
        for reply in readers {
            answer(reply, Ok(self.state.head.seq));
        }
        if round.is_empty() {
            return;
        }
        let mut sealed = match round.seal(&self.state) {
            Ok(sealed) => sealed,
            Err(e) => {
                // What was planned does not fit together: no later round can be trusted to.
                if let Error::Bookkeeping(why) = &e {
                    self.fail(why);
                }
                return answer_all(writers, || Err(again(&e).into()));
            }
        };
        match self.apply(std::mem::take(&mut sealed.txns), seq).await {
            Ok(()) => {
                self.adopt(sealed);
                let batches = round.into_batches();
                meter(&shared.meters, &batches, started.elapsed());
                self.tell(seq, batches);
                for (reply, anchored) in writers {
                    match anchored {
                        true => self.upkeep.acknowledge_later(seq, Waiter::Commit(reply)),
                        false => answer(reply, Ok(seq)),
                    }
                }
            }
            Err(Refused::Full) if writers.len() > 1 => {
                // Each alone: one large value must not refuse a small deletion.
                for (batch, (reply, _)) in round.into_batches().into_iter().zip(writers) {
                    Box::pin(self.commit(vec![Request { batch, reply }])).await;
                }
            }
            Err(Refused::Full) => answer_all(writers, || Err(CommitError::Full)),
            Err(Refused::Busy) => answer_all(writers, || Err(CommitError::Busy)),
            Err(Refused::Broken(why)) => {
                answer_all(writers, || Err(CommitError::Failed(Error::Failed(why.clone()))));
            }
        }
    }

    /// Makes a change; false when there was nothing to do.
    async fn change(&mut self, change: Change) -> Result<bool, Error> {
        if let Some(why) = &self.failed {
            return Err(Error::Failed(why.clone()));
        }
        let seq = self.next_seq();
        let Some(next) = change::prepare(&self.shared, &self.state, seq, change)? else { return Ok(false) };
        let Prepared { txn, head, digest, boot, keyring, master, config } = next;
        match self.apply(vec![txn], seq).await {
            Ok(()) => {
                self.state.boot = boot;
                let sealed = Sealed { txns: Vec::new(), head, digest, partitions: Default::default() };
                if let Some(keyring) = keyring {
                    self.shared.keyring.store(Arc::new(keyring));
                }
                if let Some(master) = master {
                    *self.shared.master.lock() = master;
                }
                if config.is_some() {
                    *self.shared.config.write() = config;
                }
                self.adopt(sealed);
                Ok(true)
            }
            Err(Refused::Full) => Err(Error::Physical(physical::Error::Full)),
            Err(Refused::Busy) => Err(Error::Physical(physical::Error::Busy)),
            Err(Refused::Broken(why)) => Err(Error::Failed(why)),
        }
    }

    /// The sequence that the next apply takes.
    fn next_seq(&self) -> u64 {
        self.shared.physical.seq().wrapping_add(self.shared.offset).wrapping_add(1)
    }

    async fn apply(&mut self, txns: Vec<Txn>, seq: u64) -> Result<(), Refused> {
        let progress = &self.shared.progress;
        progress.applying();
        let count = txns.len();
        let outcome = self.shared.physical.apply(Fence(0), txns).await;
        let stored = Outcome::Applied { seq: seq.wrapping_sub(self.shared.offset) };
        let why = match outcome {
            Ok(outcomes) if outcomes.len() == count && outcomes.iter().all(|o| *o == stored) => {
                progress.applied(Some(seq));
                return Ok(());
            }
            Err(physical::Error::Full) => {
                progress.applied(None);
                return Err(Refused::Full);
            }
            Err(physical::Error::Busy) => {
                progress.applied(None);
                return Err(Refused::Busy);
            }
            Ok(_) => "the backend did not apply a round as one".to_owned(),
            Err(e) => e.to_string(),
        };
        progress.applied(None);
        self.fail(&why);
        Err(Refused::Broken(why))
    }

    /// From here on nothing is acknowledged.
    fn fail(&mut self, why: &str) {
        if self.failed.is_none() {
            tracing::error!(error = why, "storage failed; nothing is acknowledged any more");
            self.failed = Some(why.to_owned());
            self.shared.sinks.fatal(why);
        }
    }

    /// Takes what was applied as the state.
    fn adopt(&mut self, sealed: Sealed) {
        for (id, part) in sealed.partitions {
            if part.index.is_some() {
                self.state.partitions.insert(id, part);
            } else {
                self.state.partitions.remove(&id);
            }
        }
        self.state.head = sealed.head;
        self.state.digest = sealed.digest;
        self.shared.progress.term_writes.store(self.state.head.term_writes, Ordering::SeqCst);
        self.shared.progress.raised.store(self.state.head.raised, Ordering::SeqCst);
        self.upkeep.behind();
    }

    /// Tells the sinks, before anybody gets an acknowledgement.
    fn tell(&self, seq: u64, batches: Vec<Batch>) {
        if !self.shared.sinks.wants_changes() {
            return;
        }
        let writes = batches.into_iter().flat_map(|batch| batch.writes);
        let changes: Vec<Changed> = writes
            .filter_map(|(_, write)| match write.title {
                Title::Record(path) => {
                    Some(Changed { space: write.space, deleted: write.value.is_none(), path })
                }
                Title::Fence(_) | Title::Unknown => None,
            })
            .collect();
        self.shared.sinks.changed(seq, &changes);
    }

    /// The anchor for the present state.
    fn present(&self) -> Result<Anchor, Error> {
        let head = &self.state.head;
        let index = &self.shared.keyring.load().index;
        Anchor::of(self.upkeep.phase, self.shared.store_id, head.epoch, head.seq, self.state.digest, index)
    }

    /// Wipes the keys, and only then writes the last anchor of this unsealed period, which may take its time.
    async fn finish(&mut self, initialised: bool) -> Result<(), Error> {
        if initialised {
            self.upkeep.phase = Phase::Initialised;
        }
        let anchor = self.present();
        self.shared.forget();
        if let Some(why) = &self.failed {
            self.upkeep.give_up(why);
            return Err(Error::Failed(why.clone()));
        }
        // A vault whose shares are about to be handed out must not be taken for half made.
        let wait = if initialised { SEAL_WAIT } else { SEAL_ANCHOR_WAIT };
        let written = self.upkeep.write_last(anchor, wait).await;
        if let Err(e) = &written {
            tracing::error!(error = %e, "cannot write the anchor while sealing");
        }
        written
    }

    /// Answers what came after the end.
    fn refuse_rest(&mut self) {
        self.queue.close();
        while let Ok(command) = self.queue.try_recv() {
            match command {
                Command::Commit(request) => answer(request.reply, Err(CommitError::Sealed)),
                Command::Change(_, reply) | Command::Seal { reply, .. } => {
                    let _ = reply.send(Err(Error::Sealed));
                }
            }
        }
    }
}

/// Ends the unsealed period when the thread does, however it does.
struct End {
    shared: Arc<Shared>,
    place: Option<OwnedSemaphorePermit>,
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.sinks.fatal("the committer failed internally");
        }
        self.shared.sealed.store(true, Ordering::SeqCst);
        self.shared.forget();
        drop(self.place.take());
        self.shared.ended.send_replace(true);
    }
}

/// Counts a round that was written, and its records.
fn meter(meters: &Meters, batches: &[Batch], took: Duration) {
    let records = batches.iter().flat_map(|b| &b.writes).filter(|(_, w)| !matches!(w.title, Title::Fence(_)));
    let (puts, deletes): (Vec<_>, Vec<_>) = records.map(|(_, w)| w.value.is_some()).partition(|put| *put);
    meters.puts.took_each(puts.len() as u64, took);
    meters.deletes.took_each(deletes.len() as u64, took);
    meters.rounds.took(took);
}

fn answer(reply: Reply, result: Result<u64, CommitError>) {
    // Whoever gave up waiting has no use for the answer.
    let _ = reply.send(result);
}

fn answer_all(replies: Vec<(Reply, bool)>, result: impl Fn() -> Result<u64, CommitError>) {
    for (reply, _) in replies {
        answer(reply, result());
    }
}

/// The same error for one more caller.
fn again(e: &Error) -> Error {
    match e.kind() {
        crate::ErrorKind::Sealed => Error::Sealed,
        crate::ErrorKind::Integrity => Error::Integrity(e.to_string()),
        _ => Error::Worker(e.to_string()),
    }
}
