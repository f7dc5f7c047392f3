//! One device: its options, its keyed hash, its writer.

use super::checkpoint::Signer;
use super::encode::Encoder;
use super::file::Files;
use super::limits::WRITE_WAIT;
use super::tail::Point;
use super::writer::Writer;
use super::{AuditError, DeviceConfig, DeviceStatus, Head, SyncMode, chain};
use parking_lot::Mutex;
use secmem::Key;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use vault_logical::Timestamp;

/// What the devices of one audit share.
pub(super) struct Shared {
    pub files: Box<dyn Files>,
    pub signer: Signer,
}

/// A device. Its mutex is the one short critical section of the audit: chain and `write(2)`.
pub(super) struct Device {
    /// Unique in this process: the key of cached identity hashes.
    pub id: u64,
    pub config: DeviceConfig,
    key: Key,
    writer: Mutex<Writer>,
    /// Highest line number known to be on disk; held while syncing, so that one sync serves all
    /// who wait.
    synced: Mutex<u64>,
    healthy: AtomicBool,
}

impl Device {
    /// Opens the device's file and continues its chain.
    pub fn open(
        id: u64,
        config: DeviceConfig,
        key: Key,
        shared: Arc<Shared>,
        expected: Option<Point>,
        now: Timestamp,
    ) -> Result<Device, AuditError> {
        let writer = Writer::open(&config, shared, expected, now)?;
        Ok(Device {
            id,
            config,
            key,
            writer: Mutex::new(writer),
            synced: Mutex::new(0),
            healthy: AtomicBool::new(true),
        })
    }

    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// HMAC-SHA256 of `text` under the device's key.
    pub fn hash(&self, text: &str) -> Result<[u8; 32], AuditError> {
        super::encode::hash(&self.key, text.as_bytes())
    }

    /// Writes one record; `Ok` means that `write(2)` returned (and, with `sync = always`, that it
    /// is on disk). Waits for another writer until `deadline` at most.
    pub fn write(&self, record: Encoder<'_>, now: Timestamp, deadline: Instant) -> Result<(), AuditError> {
        let body = record.finish(&self.key)?;
        let digest = chain::digest(&body);
        let Some(mut writer) = self.writer.try_lock_until(deadline) else {
            self.healthy.store(false, Ordering::Release);
            return Err(AuditError::NotRecorded);
        };
        let written = writer.append(body, &digest, now);
        self.healthy.store(writer.healthy(), Ordering::Release);
        let seq = writer.point().seq;
        drop(writer);
        written?;
        if self.config.sync == SyncMode::Always { self.sync_through(seq, now) } else { Ok(()) }
    }

    /// Background work: checkpoint, check of the file, sync. True while something is left to do.
    pub fn tick(&self, now: Timestamp) -> bool {
        let Some(mut writer) = self.writer.try_lock_for(WRITE_WAIT) else { return true };
        writer.tick(now);
        self.healthy.store(writer.healthy(), Ordering::Release);
        let (dirty, seq) = (writer.dirty(), writer.point().seq);
        drop(writer);
        if dirty {
            // A failure is noted by the writer; the next record or tick reopens.
            let _ = self.sync_through(seq, now);
        }
        let writer = self.writer.lock();
        writer.dirty() || writer.unsigned() || !writer.healthy()
    }

    #[cfg(test)]
    pub fn sign_now(&self, now: Timestamp) {
        self.writer.lock().sign_now(now);
    }

    /// Syncs unless a sync that covers line `seq` has been made meanwhile.
    fn sync_through(&self, seq: u64, now: Timestamp) -> Result<(), AuditError> {
        let mut synced = self.synced.lock();
        if *synced >= seq {
            return Ok(());
        }
        let Some((file, through)) = self.writer.lock().begin_sync() else {
            return Err(AuditError::NotRecorded);
        };
        match file.sync() {
            Ok(()) => {
                *synced = through;
                Ok(())
            }
            Err(e) => {
                let mut writer = self.writer.lock();
                writer.fail(&e, now);
                self.healthy.store(false, Ordering::Release);
                Err(AuditError::NotRecorded)
            }
        }
    }

    /// Opens the file anew under its name.
    pub fn reopen(&self, now: Timestamp) -> Result<(), AuditError> {
        let mut writer = self.writer.lock();
        let reopened = writer.reopen(now);
        self.healthy.store(writer.healthy(), Ordering::Release);
        reopened
    }

    /// Last checkpoint and sync; nothing is written afterwards.
    pub fn close(&self, now: Timestamp, open_streams: u64) {
        let Some(mut writer) = self.writer.try_lock_for(WRITE_WAIT) else {
            tracing::error!(device = %self.config.name, "audit device is blocked: closed without a last checkpoint");
            return;
        };
        writer.close(now, open_streams);
    }

    pub fn head(&self) -> Head {
        let point = self.writer.lock().point();
        Head { device: self.config.name.clone(), seq: point.seq, chain: hex::encode(point.chain) }
    }

    pub fn status(&self) -> DeviceStatus {
        let writer = self.writer.lock();
        DeviceStatus {
            name: self.config.name.clone(),
            config: self.config.clone(),
            healthy: writer.healthy(),
            error: writer.last_error().map(str::to_owned),
            seq: writer.point().seq,
            missed: writer.missed_total(),
            flags: writer.flags().to_vec(),
        }
    }
}
