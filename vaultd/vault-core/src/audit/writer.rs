//! The ordered writer of one device: chain, lines, checkpoints, repair.

use super::device::Shared;
use super::encode::Encoder;
use super::file::{FileId, LogFile};
use super::lane::{Lane, View};
use super::limits::{CHECKPOINT_INTERVAL, MAX_RECORDS_PER_CHECKPOINT, MAX_TAIL_BYTES, RETRY_INTERVAL};
use super::start;
use super::tail::Point;
use super::{AuditError, DeviceConfig, SyncMode, chain};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use vault_logical::Timestamp;

/// Why a checkpoint is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Open {
        clean: bool,
    },
    Interval,
    /// The file is about to be replaced.
    Rotate,
    /// Seal or disable.
    Close {
        open_streams: u64,
    },
}

/// A record on its way to the file.
pub(super) struct Record {
    /// Without the chain's tail.
    pub body: Vec<u8>,
    /// SHA-256 of `body`.
    pub digest: [u8; 32],
    pub now: Timestamp,
}

/// Lives on the device's writing thread.
pub(super) struct Writer {
    config: DeviceConfig,
    shared: Arc<Shared>,
    /// `None` after a failure and after the end.
    file: Option<Arc<dyn LogFile>>,
    closed: bool,
    at: Point,
    /// Where the next line goes.
    len: u64,
    /// Lines since the last checkpoint.
    unsigned: u64,
    signed_at: Timestamp,
    dirty: bool,
    /// The last failure's text, and when the file was last opened or tried.
    error: Option<String>,
    tried_at: Timestamp,
    flags: Vec<&'static str>,
    lane: Arc<Lane>,
}

impl Writer {
    /// Not open yet: [`Writer::start`] opens the file. `at` is where the chain should stand.
    pub fn new(
        config: &DeviceConfig,
        shared: Arc<Shared>,
        at: Point,
        now: Timestamp,
        lane: Arc<Lane>,
    ) -> Writer {
        Writer {
            config: config.clone(),
            shared,
            file: None,
            closed: false,
            at,
            len: 0,
            unsigned: 0,
            signed_at: now,
            dirty: false,
            error: None,
            tried_at: now,
            flags: Vec::new(),
            lane,
        }
    }

    /// How it stands, for those who must not wait for it.
    pub fn view(&self) -> View {
        View {
            point: self.at,
            error: self.error.clone(),
            flags: self.flags.clone(),
            healthy: self.file.is_some(),
            unfinished: self.dirty || self.unsigned > 0,
        }
    }

    /// Chains and writes records in one go, all of them or none; true when they count.
    pub fn append(&mut self, records: &[Record]) -> bool {
        let Some(now) = records.last().map(|r| r.now) else { return true };
        let mut rest = records;
        while !rest.is_empty() {
            // A checkpoint stands where it is due, also in the middle of a batch.
            let due = usize::try_from(MAX_RECORDS_PER_CHECKPOINT.saturating_sub(self.unsigned).max(1));
            let (batch, later) = rest.split_at(due.unwrap_or(usize::MAX).min(rest.len()));
            if self.batch(batch, now).is_err() {
                self.lane.miss((batch.len() + later.len()) as u64, now);
                return false;
            }
            rest = later;
        }
        true
    }

    fn batch(&mut self, records: &[Record], now: Timestamp) -> Result<(), AuditError> {
        if self.closed {
            return Err(AuditError::Sealed);
        }
        self.ensure_open(now)?;
        self.tell_gap(now)?;
        self.lines(records.iter().map(|r| (&*r.body, &r.digest)))?;
        if self.unsigned >= MAX_RECORDS_PER_CHECKPOINT {
            // The records themselves are written; a failure here is noted and repaired later.
            let _ = self.checkpoint(Reason::Interval, now);
        }
        if self.config.sync == SyncMode::Always { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), AuditError> {
        let Some(file) = &self.file else { return Err(AuditError::NotRecorded) };
        if let Err(e) = file.sync() {
            self.fail(&e);
            return Err(AuditError::NotRecorded);
        }
        self.dirty = false;
        Ok(())
    }

    /// Says in the log how many records it lacks.
    fn tell_gap(&mut self, now: Timestamp) -> Result<(), AuditError> {
        let missed = self.lane.missed();
        if missed.pending == 0 {
            return Ok(());
        }
        let mut gap = Encoder::new(&self.config, "gap", now);
        gap.text("device", &self.config.name);
        gap.text("since", &missed.since.unwrap_or(now).rfc3339());
        gap.number("missed", missed.pending);
        self.line(gap.plain())?;
        self.lane.told_missed(missed.pending);
        Ok(())
    }

    /// Periodic work: notice a file that was cut or removed, sign what is unsigned.
    pub fn tick(&mut self, now: Timestamp) {
        if self.closed {
            return;
        }
        if let Some(file) = &self.file {
            match file.len() {
                Ok(len) if len == self.len => {}
                Ok(_) => self.fail(&io::Error::other("the file was changed by somebody else")),
                Err(e) => self.fail(&e),
            }
        }
        if self.ensure_open(now).is_ok()
            && self.unsigned > 0
            && passed(self.signed_at, now, CHECKPOINT_INTERVAL)
        {
            let _ = self.checkpoint(Reason::Interval, now);
        }
    }

    #[cfg(test)]
    pub fn sign_now(&mut self, now: Timestamp) {
        self.checkpoint(Reason::Interval, now).unwrap();
    }

    /// Hands out the file when it has lines that are not synced.
    pub fn begin_sync(&mut self) -> Option<Arc<dyn LogFile>> {
        std::mem::take(&mut self.dirty).then(|| self.file.clone()).flatten()
    }

    /// A sync of that file failed: what it lost is unknown.
    pub fn sync_failed(&mut self, file: FileId, error: &io::Error) {
        if self.file.as_ref().is_some_and(|f| f.id() == file) {
            self.fail(error);
        }
    }

    /// Marks the device failed: nothing is written until the file has been opened again.
    pub fn fail(&mut self, error: &io::Error) {
        if self.file.take().is_some() {
            tracing::error!(device = %self.config.name, %error, "audit device failed");
        }
        self.dirty = false;
        self.error = Some(error.to_string());
    }

    /// Switches to the file that now has the name; the chain goes on in it.
    pub fn reopen(&mut self, now: Timestamp) -> Result<(), AuditError> {
        if self.closed {
            return Err(AuditError::Sealed);
        }
        let named = self.shared.files.id(&self.config.file_path);
        if self.file.as_ref().is_some_and(|f| Some(f.id()) == named) {
            return Ok(());
        }
        if self.file.is_some() {
            // Whatever becomes of this, the old file keeps what it has.
            let _ = self.checkpoint(Reason::Rotate, now);
            let _ = self.file.as_ref().map(|f| f.sync());
        }
        let rotated = self.file.is_some();
        self.file = None;
        self.resume(rotated, now)
    }

    /// Last checkpoint and sync.
    pub fn close(&mut self, now: Timestamp, open_streams: u64) {
        if !self.closed && self.file.is_some() {
            let _ = self.checkpoint(Reason::Close { open_streams }, now);
            if let Some(Err(error)) = self.file.as_ref().map(|f| f.sync()) {
                tracing::error!(device = %self.config.name, %error, "audit device failed at close");
            }
        }
        self.closed = true;
        self.file = None;
    }

    // --- opening and repair ---

    fn ensure_open(&mut self, now: Timestamp) -> Result<(), AuditError> {
        if self.file.is_some() {
            return Ok(());
        }
        if !passed(self.tried_at, now, RETRY_INTERVAL) {
            return Err(AuditError::NotRecorded);
        }
        if self.start(now).is_err() {
            return Err(AuditError::NotRecorded);
        }
        tracing::warn!(device = %self.config.name, missed = self.lane.missed().total, "audit device is back");
        Ok(())
    }

    /// Opens the file, continues its chain and says in it what was found and missed.
    pub fn start(&mut self, now: Timestamp) -> Result<(), AuditError> {
        self.resume(false, now)
    }

    /// The same. `rotated`: the file before it was ended in order, so a new one is what should be
    /// there.
    fn resume(&mut self, rotated: bool, now: Timestamp) -> Result<(), AuditError> {
        let opened = self.go_on(rotated, now);
        if let Err(e) = &opened {
            let why = match e {
                AuditError::File { source, .. } => source.to_string(),
                // The write that failed has left its reason.
                AuditError::NotRecorded => return opened,
                e => e.to_string(),
            };
            // It is tried again and again: told when it is another reason than before.
            if self.error.as_ref() != Some(&why) {
                tracing::error!(device = %self.config.name, reason = %why, "audit device cannot be opened");
            }
            self.error = Some(why);
        }
        opened
    }

    fn go_on(&mut self, rotated: bool, now: Timestamp) -> Result<(), AuditError> {
        self.tried_at = now;
        if let Some(why) = self.config.unusable() {
            return Err(file_error(&self.config, io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let opened = self.shared.files.open(&self.config.file_path);
        let file = opened.map_err(|e| file_error(&self.config, e))?;
        let start = start::find(&*file, &self.config, &self.shared.signer, Some(self.at), now)?;
        self.at = start.at;
        self.len = start.len;
        self.file = Some(file);
        for flag in start.flags.into_iter().filter(|f| !(rotated && *f == start::NEW_FILE)) {
            tracing::warn!(
                device = %self.config.name,
                path = %self.config.file_path.display(),
                flag,
                "audit file is not as it was left: keep it as evidence, move it away (mv, then SIGHUP; never copy and truncate)"
            );
            if !self.flags.contains(&flag) {
                self.flags.push(flag);
            }
        }
        for body in start.lines {
            self.line(body)?;
        }
        self.tell_gap(now)?;
        self.checkpoint(Reason::Open { clean: start.clean }, now)?;
        self.error = None;
        Ok(())
    }

    // --- lines ---

    fn checkpoint(&mut self, reason: Reason, now: Timestamp) -> Result<(), AuditError> {
        let seq = self.at.seq + 1;
        let mut e = Encoder::new(&self.config, "checkpoint", now);
        e.text("device", &self.config.name);
        e.text("reason", reason.name());
        match reason {
            Reason::Open { clean } => e.flag("clean", clean),
            Reason::Close { open_streams } => e.number_if("open_streams", open_streams),
            Reason::Interval | Reason::Rotate => {}
        }
        e.number("records", self.unsigned);
        e.text("previous", &hex::encode(self.at.chain));
        e.text("key", &self.shared.signer.id);
        let mut body = e.plain();
        self.shared.signer.sign(&mut body, &self.at.chain, seq)?;
        self.line(body)?;
        self.unsigned = 0;
        self.signed_at = now;
        Ok(())
    }

    fn line(&mut self, body: Vec<u8>) -> Result<(), AuditError> {
        let digest = chain::digest(&body);
        self.lines(std::iter::once((&*body, &digest)))
    }

    /// Writes lines whole, in one call where the system takes them so, or leaves the file as it was.
    fn lines<'r>(
        &mut self,
        bodies: impl Iterator<Item = (&'r [u8], &'r [u8; 32])> + Clone,
    ) -> Result<(), AuditError> {
        let Some(file) = self.file.clone() else { return Err(AuditError::NotRecorded) };
        let (mut at, mut count) = (self.at, 0);
        // A buffer for each write, which the allocator wipes: a path may hold what its caller took for a name.
        let size = bodies.clone().map(|(body, _)| body.len() + MAX_TAIL_BYTES).sum();
        let mut buffer = Vec::with_capacity(size);
        for (body, digest) in bodies {
            let seq = at.seq + 1;
            let link = chain::link(&at.chain, seq, digest);
            buffer.extend_from_slice(body);
            chain::finish(&mut buffer, seq, &link);
            at = Point { seq, chain: link };
            count += 1;
        }
        let written = write_whole(&*file, &buffer);
        let bytes = buffer.len() as u64;
        if let Err(error) = written {
            // Back to the first line's start; where even that fails, the next open sees to it.
            let _ = file.truncate(self.len);
            self.fail(&error);
            return Err(AuditError::NotRecorded);
        }
        self.len += bytes;
        self.at = at;
        self.unsigned += count;
        self.dirty = true;
        Ok(())
    }
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Reason::Open { .. } => "open",
            Reason::Interval => "interval",
            Reason::Rotate => "rotate",
            Reason::Close { .. } => "close",
        }
    }
}

/// True when `interval` has gone by, or the clock was set back.
fn passed(since: Timestamp, now: Timestamp, interval: Duration) -> bool {
    now < since || since.until(now) >= interval
}

fn write_whole(file: &dyn LogFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.append(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

pub(super) fn file_error(config: &DeviceConfig, source: io::Error) -> AuditError {
    AuditError::File { device: config.name.clone(), source }
}
