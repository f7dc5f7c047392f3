//! The ordered writer of one device: chain, lines, checkpoints, repair.

use super::device::Shared;
use super::encode::Encoder;
use super::file::LogFile;
use super::limits::{CHECKPOINT_INTERVAL, MAX_LINE_BYTES, MAX_RECORDS_PER_CHECKPOINT, RETRY_INTERVAL};
use super::start;
use super::tail::Point;
use super::{AuditError, DeviceConfig, chain};
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
    /// Records not taken since the device failed, and in all.
    missed: u64,
    missed_total: u64,
    failed_since: Timestamp,
    flags: Vec<&'static str>,
}

impl Writer {
    /// Opens the file and continues its chain; `expected` is the head stored in the barrier.
    pub fn open(
        config: &DeviceConfig,
        shared: Arc<Shared>,
        expected: Option<Point>,
        now: Timestamp,
    ) -> Result<Writer, AuditError> {
        let mut writer = Writer {
            config: config.clone(),
            shared,
            file: None,
            closed: false,
            at: expected.unwrap_or(Point::START),
            len: 0,
            unsigned: 0,
            signed_at: now,
            dirty: false,
            error: None,
            tried_at: now,
            missed: 0,
            missed_total: 0,
            failed_since: now,
            flags: Vec::new(),
        };
        writer.start(expected, now)?;
        Ok(writer)
    }

    pub fn healthy(&self) -> bool {
        self.file.is_some()
    }
    pub fn point(&self) -> Point {
        self.at
    }
    pub fn dirty(&self) -> bool {
        self.dirty && self.file.is_some()
    }
    pub fn unsigned(&self) -> bool {
        self.unsigned > 0 && self.file.is_some()
    }
    pub fn last_error(&self) -> Option<&str> {
        self.error.as_deref()
    }
    pub fn missed_total(&self) -> u64 {
        self.missed_total
    }
    pub fn flags(&self) -> &[&'static str] {
        &self.flags
    }

    /// Chains and writes one record. `digest` is the body's.
    pub fn append(&mut self, body: Vec<u8>, digest: &[u8; 32], now: Timestamp) -> Result<(), AuditError> {
        if self.closed {
            return Err(AuditError::Sealed);
        }
        let taken = self.ensure_open(now).and_then(|()| self.line(body, digest, now));
        match taken {
            Ok(()) => {
                if self.unsigned >= MAX_RECORDS_PER_CHECKPOINT {
                    // The record itself is written; a failure here is noted and repaired later.
                    let _ = self.checkpoint(Reason::Interval, now);
                }
                Ok(())
            }
            Err(e) => {
                self.missed += 1;
                self.missed_total += 1;
                Err(e)
            }
        }
    }

    /// Periodic work under the lock: notice a file that was cut or removed, sign what is unsigned.
    pub fn tick(&mut self, now: Timestamp) {
        if self.closed {
            return;
        }
        if let Some(file) = &self.file {
            match file.len() {
                Ok(len) if len == self.len => {}
                Ok(_) => self.fail(&io::Error::other("the file was changed by somebody else"), now),
                Err(e) => self.fail(&e, now),
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

    /// Hands out the file for a sync outside the lock, and the line it will cover.
    pub fn begin_sync(&mut self) -> Option<(Arc<dyn LogFile>, u64)> {
        self.dirty = false;
        self.file.clone().map(|f| (f, self.at.seq))
    }

    /// Marks the device failed: nothing is written until the file has been opened again.
    pub fn fail(&mut self, error: &io::Error, now: Timestamp) {
        if self.file.take().is_some() {
            tracing::error!(device = %self.config.name, %error, "audit device failed");
            self.failed_since = now;
        }
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
            self.file = None;
        }
        self.failed_since = now;
        let opened = self.start(Some(self.at), now);
        if let Err(AuditError::File { source, .. }) = &opened {
            self.error = Some(source.to_string());
        }
        opened
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
        match self.start(Some(self.at), now) {
            Ok(()) => {
                tracing::warn!(device = %self.config.name, missed = self.missed_total, "audit device is back");
                Ok(())
            }
            Err(e) => {
                if let AuditError::File { source, .. } = &e {
                    self.error = Some(source.to_string());
                }
                Err(AuditError::NotRecorded)
            }
        }
    }

    /// Opens the file, continues its chain and says in it what was found and missed.
    fn start(&mut self, expected: Option<Point>, now: Timestamp) -> Result<(), AuditError> {
        self.tried_at = now;
        let opened = self.shared.files.open(&self.config.file_path);
        let file = opened.map_err(|e| file_error(&self.config, e))?;
        let start = start::find(&*file, &self.config, &self.shared.signer, expected, now)?;
        self.at = start.at;
        self.len = start.len;
        self.file = Some(file);
        for flag in start.flags {
            tracing::warn!(device = %self.config.name, flag, "audit file does not end where it should");
            if !self.flags.contains(&flag) {
                self.flags.push(flag);
            }
        }
        let mut lines = start.lines;
        if self.missed > 0 {
            let mut gap = Encoder::new(&self.config, "gap", now);
            gap.text("device", &self.config.name);
            gap.text("since", &self.failed_since.rfc3339());
            gap.number("missed", self.missed);
            lines.push(gap.plain());
        }
        for body in lines {
            let digest = chain::digest(&body);
            self.line(body, &digest, now)?;
        }
        self.checkpoint(Reason::Open { clean: start.clean }, now)?;
        self.missed = 0;
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
        let digest = chain::digest(&body);
        self.line(body, &digest, now)?;
        self.unsigned = 0;
        self.signed_at = now;
        Ok(())
    }

    /// Writes one line whole, or leaves the file as it was.
    fn line(&mut self, mut body: Vec<u8>, digest: &[u8; 32], now: Timestamp) -> Result<(), AuditError> {
        let Some(file) = self.file.clone() else { return Err(AuditError::NotRecorded) };
        let seq = self.at.seq + 1;
        let link = chain::link(&self.at.chain, seq, digest);
        chain::finish(&mut body, seq, &link);
        if body.len() > MAX_LINE_BYTES {
            return Err(AuditError::NotRecorded);
        }
        if let Err(error) = write_whole(&*file, &body) {
            // Back to the line's start; where even that fails, the next open finds it torn.
            let _ = file.truncate(self.len);
            self.fail(&error, now);
            return Err(AuditError::NotRecorded);
        }
        self.len += body.len() as u64;
        self.at = Point { seq, chain: link };
        self.unsigned += 1;
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
