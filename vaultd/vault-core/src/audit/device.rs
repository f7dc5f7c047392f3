//! One device: its options, its keyed hash, its way to the disk.

use super::checkpoint::Signer;
use super::encode::Encoder;
use super::file::Files;
use super::lane::Lane;
use super::tail::Point;
use super::ticket::Ticket;
use super::writer::{Record, Writer, file_error};
use super::{AuditError, DeviceConfig, DeviceStatus, Head, chain};
use secmem::Key;
use std::future::Future;
use std::io;
use std::sync::Arc;
use vault_logical::Timestamp;

/// Why a device takes nothing whose file could be written.
const NO_SYNC: &str = "the disk does not come back from a sync";

/// What the devices of one audit share.
pub(super) struct Shared {
    pub files: Box<dyn Files>,
    pub signer: Signer,
}

/// A device. Its file belongs to threads of its own: nothing here waits for a disk but by
/// awaiting it, for [`super::limits::WRITE_WAIT`] at most.
pub(super) struct Device {
    /// Unique in this process: the key of cached identity hashes.
    pub id: u64,
    pub config: DeviceConfig,
    key: Key,
    pub lane: Arc<Lane>,
}

impl Device {
    /// Starts the device's threads; [`Device::open`] opens its file. `expected` is the head stored
    /// in the barrier.
    pub fn start(
        id: u64,
        config: DeviceConfig,
        key: Key,
        expected: Option<Point>,
        shared: Arc<Shared>,
        now: Timestamp,
    ) -> Result<Device, AuditError> {
        let at = expected.unwrap_or(Point::START);
        let lane = Lane::start(&config.name, at, |lane| Writer::new(&config, shared, at, now, lane))
            .map_err(|e| file_error(&config, e))?;
        Ok(Device { id, config, key, lane })
    }

    /// Opens the file and continues its chain. Begun at once, not when it is first awaited.
    pub fn open(&self, now: Timestamp) -> impl Future<Output = Result<(), AuditError>> + use<'_> {
        let opened = self.lane.ask(move |w| w.start(now));
        async move { self.in_time(opened.await) }
    }

    fn in_time<T>(&self, answer: Option<Result<T, AuditError>>) -> Result<T, AuditError> {
        answer.unwrap_or_else(|| {
            Err(file_error(&self.config, io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer")))
        })
    }

    pub fn healthy(&self) -> bool {
        self.lane.healthy()
    }

    /// HMAC-SHA256 of `text` under the device's key.
    pub fn hash(&self, text: &str) -> Result<[u8; 32], AuditError> {
        super::encode::hash(&self.key, text.as_bytes())
    }

    /// Offers one record. The ticket is answered `true` once `write(2)` has returned (and, with
    /// `sync = always`, once it is on disk); `Err`: refused at once.
    pub fn offer(&self, record: Encoder<'_>, now: Timestamp, ticket: &Arc<Ticket>) -> Result<(), AuditError> {
        self.offer_after(None, record, now, ticket)
    }

    /// The same, with a record of this device's to be written right before it.
    pub fn offer_after(
        &self,
        before: Option<Record>,
        record: Encoder<'_>,
        now: Timestamp,
        ticket: &Arc<Ticket>,
    ) -> Result<(), AuditError> {
        self.lane.record(before, self.encode(record, now)?, ticket)
    }

    /// A finished record of this device.
    pub fn encode(&self, record: Encoder<'_>, now: Timestamp) -> Result<Record, AuditError> {
        let body = record.finish(&self.key)?;
        let digest = chain::digest(&body);
        Ok(Record { body, digest, now })
    }

    #[cfg(test)]
    pub async fn sign_now(&self, now: Timestamp) {
        self.lane.ask(move |w| w.sign_now(now)).await.unwrap();
    }

    /// Opens the file anew under its name.
    pub async fn reopen(&self, now: Timestamp) -> Result<(), AuditError> {
        self.in_time(self.lane.ask(move |w| w.reopen(now)).await)
    }

    /// Last checkpoint and sync; nothing is written afterwards.
    pub fn close(&self, now: Timestamp, open_streams: u64) -> impl Future<Output = ()> + use<'_> {
        let lane = self.lane.clone();
        let closed = self.lane.ask(move |w| {
            w.close(now, open_streams);
            lane.rest();
        });
        async move {
            if closed.await.is_none() {
                tracing::error!(device = %self.config.name, "audit device is blocked: closed without a last checkpoint");
            }
            self.lane.stop();
        }
    }

    pub fn head(&self) -> Head {
        let point = self.lane.view().point;
        Head { device: self.config.name.clone(), seq: point.seq, chain: hex::encode(point.chain) }
    }

    pub fn status(&self) -> DeviceStatus {
        let view = self.lane.view();
        DeviceStatus {
            name: self.config.name.clone(),
            config: self.config.clone(),
            healthy: self.healthy(),
            error: view.error.or_else(|| self.lane.unsynced().then(|| NO_SYNC.to_owned())),
            seq: view.point.seq,
            missed: self.lane.missed().total,
            flags: view.flags,
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.lane.stop();
    }
}
