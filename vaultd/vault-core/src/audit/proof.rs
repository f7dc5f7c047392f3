//! Proof types: what the pipeline must hold to go on. Only this module makes them.

use super::CallFacts;
use super::broker::Inner;
use super::device::Device;
use super::ticket::Ticket;
use super::writer::Record;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use vault_logical::{Completion, Outcome, RequestId};

/// The request is on record (or, where it only looks something up, in front of its answer's record; or, without a valid identity and above the rate, counted in the
/// next summary). A mount is called only with one of these.
#[must_use]
#[derive(Debug)]
pub struct Audited {
    pub(super) id: RequestId,
    /// Counted, not recorded line by line.
    pub(super) summed: bool,
    /// No device took the record, and the request may go on all the same.
    pub(super) unrecorded: bool,
    /// The request only looks something up: its record goes out right before its answer's, or by
    /// itself when there is no answer.
    pub(super) held: Option<Held>,
}

/// A request's record on each device, not yet offered. Dropped, it is.
pub(super) struct Held {
    pub inner: Arc<Inner>,
    pub records: Vec<(Arc<Device>, Record)>,
}

impl Held {
    /// The record for that device.
    pub fn take(&mut self, device: u64) -> Option<Record> {
        let at = self.records.iter().position(|(d, _)| d.id == device)?;
        Some(self.records.swap_remove(at).1)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Nobody waits for it: the caller is gone, or the device is.
        for (device, record) in self.records.drain(..) {
            let _ = device.lane.record(None, record, &Ticket::new(1));
            self.inner.wake.work();
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// The closed list of requests that are served although no device accepts their record: an
/// operator must be able to seal, and to repair the audit from the machine itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exempt {
    Seal,
    /// `sys/audit` over the operator's unix socket.
    OperatorSocket,
}

impl Audited {
    /// The request this proof is for.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Goes on without a record, for one of the listed reasons; it is logged.
    pub fn exempt(id: RequestId, why: Exempt) -> Self {
        tracing::error!(request_id = %id, ?why, "served although no audit device accepts its record");
        Audited { id, summed: false, unrecorded: true, held: None }
    }
}

/// An outcome whose record is written. A response is encoded only from one of these.
#[must_use]
pub struct Recorded<T>(pub(super) T);

impl<T> Recorded<T> {
    /// The outcome, for the codec.
    pub fn into_inner(self) -> T {
        self.0
    }
    pub fn get(&self) -> &T {
        &self.0
    }
    /// Changes the form of the outcome (an error into its reply).
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Recorded<U> {
        Recorded(f(self.0))
    }
    /// The closed list of answers that go out without a record.
    pub fn unaudited(_why: Unaudited, outcome: T) -> Self {
        Recorded(outcome)
    }
}

impl<T> fmt::Debug for Recorded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

/// Answers that need no record: they carry nothing but public status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaudited {
    Health,
    SealStatus,
    Leader,
    /// 503 to a request that cannot be served while sealed; nothing was done.
    Sealed,
    /// 503 or 500 because the record itself failed; nothing else is in the answer.
    NotRecorded,
}

/// A recorded request whose answer is a stream. Holds the reserved slot of its completion record.
#[must_use]
pub struct Opened {
    inner: Arc<Inner>,
    id: RequestId,
    facts: Option<Arc<CallFacts>>,
    since: Instant,
    done: AtomicBool,
}

/// A streamed answer that is over.
#[derive(Clone)]
pub(super) struct Ended {
    pub id: RequestId,
    pub facts: Option<Arc<CallFacts>>,
    pub completion: Completion,
    pub took: Duration,
}

impl Opened {
    pub(super) fn new(inner: Arc<Inner>, id: RequestId) -> Self {
        Opened { inner, id, facts: None, since: Instant::now(), done: AtomicBool::new(false) }
    }

    /// What the completion record repeats of the call; its duration counts from the call's start.
    pub fn about(mut self, facts: CallFacts) -> Self {
        self.since = facts.started;
        self.facts = Some(Arc::new(facts));
        self
    }

    /// The request this stream answers.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Writes the completion record. The first call counts, later ones do nothing. It cannot
    /// fail: when no device accepts it, it is kept in its slot and written once one recovers.
    pub fn complete(&self, completion: &Completion) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.inner.complete(Ended {
                id: self.id,
                facts: self.facts.clone(),
                completion: completion.clone(),
                took: self.since.elapsed(),
            });
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.complete(&Completion { outcome: Outcome::Cut, ..Completion::default() });
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("id", &self.id).finish_non_exhaustive()
    }
}
