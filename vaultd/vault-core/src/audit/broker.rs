//! The set of devices and the way every record takes to them.

use super::checkpoint::Signer;
use super::device::{Device, Shared};
use super::encode::Encoder;
use super::file::{AuditDirs, Files};
use super::identity::DeviceHashes;
use super::lane::Lane;
use super::limits::{MAX_DEVICES, MAX_OPEN_STREAMS};
use super::proof::Ended;
use super::proof::Held;
use super::sealed::Attempts;
use super::source::Sources;
use super::ticker::Wake;
use super::ticket::{News, Ticket};
use super::{
    AuditError, Audited, DeviceConfig, DeviceStatus, Head, Heads, IdentityHashes, Opened, PublicKey,
    Recorded, RequestEntry, ResponseEntry, SealedRing, record, ticker,
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use secmem::Key;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;
use vault_logical::{Clock, Timestamp};
use vault_metrics::{Counter, Times};

/// What the audit needs from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The only directories that audit files may lie in.
    pub audit_dirs: Vec<PathBuf>,
    /// The vault's own directories and files (store, anchor, config, TLS keys): no audit file may
    /// be one of them or lie below one of them, whatever `audit_dirs` says.
    pub own_places: Vec<PathBuf>,
    /// Outlive the unsealed period.
    pub meters: Arc<Meters>,
}

/// What the audit counts.
#[derive(Debug, Default)]
pub struct Meters {
    /// How long requests, and answers, waited to be on record.
    pub requests: Times,
    /// See `requests`.
    pub responses: Times,
    /// Requests, and answers, that no device took.
    pub request_failures: Counter,
    /// See `request_failures`.
    pub response_failures: Counter,
}

impl Meters {
    fn request<T>(&self, since: Instant, done: &Result<T, AuditError>) {
        self.requests.since(since);
        if matches!(done, Err(e) if !matches!(e, AuditError::Sealed)) {
            self.request_failures.one();
        }
    }
}

/// The audit of one unsealed period. Cheap to clone.
#[derive(Clone)]
pub struct Audit(pub(super) Arc<Inner>);

/// A completion that no device has taken yet; its slot stays reserved.
struct Late {
    ended: Ended,
    time: Timestamp,
}

pub(super) struct Inner {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    meters: Arc<Meters>,
    devices: ArcSwap<Vec<Arc<Device>>>,
    /// Those of them that keep what they are given: only their answers count.
    recording: ArcSwap<Vec<Arc<Device>>>,
    /// Every device's way to its disk, also of those not yet open or about to close.
    lanes: Mutex<Vec<Weak<Lane>>>,
    /// Held by whoever changes the set of devices.
    admin: tokio::sync::Mutex<()>,
    generation: AtomicU64,
    closed: AtomicBool,
    sources: Sources,
    /// Completion slots in use.
    streams: AtomicUsize,
    late: Mutex<VecDeque<Late>>,
    /// Attempts from before the unseal that no device has taken yet.
    owed: Mutex<Option<Arc<SealedRing>>>,
    pub(super) wake: Wake,
}

impl Inner {
    fn check_open(&self) -> Result<(), AuditError> {
        if self.closed.load(Ordering::Acquire) { Err(AuditError::Sealed) } else { Ok(()) }
    }

    #[cfg(test)]
    pub(super) fn meters(&self) -> Arc<Meters> {
        self.meters.clone()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Offers a record to every device; `ticket` is made for their number and answered once each
    /// of them has. `Err`: none will take it, and why.
    fn offer<'a>(
        &self,
        devices: &'a [Arc<Device>],
        now: Timestamp,
        ticket: &Arc<Ticket>,
        make: impl Fn(&'a Device) -> Encoder<'a>,
    ) -> Result<(), AuditError> {
        self.offer_each(devices, ticket, |d| d.offer(make(d), now, ticket))
    }

    fn offer_each<'a>(
        &self,
        devices: &'a [Arc<Device>],
        ticket: &Arc<Ticket>,
        mut offer: impl FnMut(&'a Device) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        let mut offered = devices.is_empty();
        let mut failure = AuditError::NotRecorded;
        for device in devices {
            match offer(device) {
                Ok(()) => offered = true,
                Err(e) => {
                    failure = e;
                    ticket.answer(false).into_iter().for_each(News::tell);
                }
            }
        }
        self.wake.work();
        if offered { Ok(()) } else { Err(failure) }
    }

    /// Offers a record that its caller waits for.
    fn write<'a>(
        &self,
        devices: &'a [Arc<Device>],
        now: Timestamp,
        make: impl Fn(&'a Device) -> Encoder<'a>,
    ) -> Result<Written, AuditError> {
        if devices.is_empty() {
            return Ok(Written(None));
        }
        let ticket = Ticket::new(devices.len());
        self.offer(devices, now, &ticket, make)?;
        Ok(Written(Some(ticket)))
    }

    /// The completion record of a stream; kept in its slot when no device takes it.
    pub(super) fn complete(self: &Arc<Self>, ended: Ended) {
        let late = Late { ended, time: self.now() };
        if self.check_open().is_ok() {
            self.write_completion(late);
        } else {
            // Bounded by the slots: this one's is still taken.
            self.late.lock().push_back(late);
        }
    }

    fn write_completion(self: &Arc<Self>, late: Late) {
        let devices = self.recording.load();
        if devices.is_empty() {
            self.streams.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let (ended, time) = (late.ended.clone(), late.time);
        let weak = Arc::downgrade(self);
        let ticket = Ticket::then(devices.len(), move |taken| {
            let Some(inner) = weak.upgrade() else { return };
            if taken {
                inner.streams.fetch_sub(1, Ordering::AcqRel);
            } else {
                inner.late.lock().push_back(late);
                inner.wake.work();
            }
        });
        // Its outcome is the ticket's affair.
        let _ = self.offer(&devices, time, &ticket, |d| record::completion(&d.config, time, &ended));
    }

    /// Background work. True while something is left to do.
    pub(super) fn tick(self: &Arc<Self>) -> bool {
        let now = self.now();
        let mut more = self.expire(now);
        if self.closed.load(Ordering::Acquire) {
            return more;
        }
        self.write_owed(now);
        self.summarise(now);
        self.write_late();
        more |= !self.late.lock().is_empty();
        for device in self.devices.load().iter() {
            more |= device.lane.tick(now);
        }
        more
    }

    /// Answers whoever waits too long for a disk.
    fn expire(&self, now: Timestamp) -> bool {
        let lanes: Vec<Arc<Lane>> = {
            let mut all = self.lanes.lock();
            all.retain(|l| l.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        let at = Instant::now();
        // Every lane is asked, whatever the one before said.
        let mut busy = false;
        for lane in lanes.iter() {
            busy |= lane.expire(at, now);
        }
        busy
    }

    fn summarise(self: &Arc<Self>, now: Timestamp) {
        let devices = self.recording.load();
        let Some(summary) = self.sources.summary(now).map(Arc::new) else { return };
        if devices.is_empty() {
            return;
        }
        let (weak, given) = (Arc::downgrade(self), summary.clone());
        let ticket = Ticket::then(devices.len(), move |taken| {
            if let (false, Some(inner)) = (taken, weak.upgrade()) {
                inner.sources.put_back(&given);
            }
        });
        let _ = self.offer(&devices, now, &ticket, |d| record::summary(&d.config, now, &summary));
    }

    fn write_late(self: &Arc<Self>) {
        // Taken out whole: what fails again comes back and waits for the next time.
        let late = std::mem::take(&mut *self.late.lock());
        late.into_iter().for_each(|l| self.write_completion(l));
    }

    /// Once a device takes records, what was tried before the unseal goes there.
    fn write_owed(self: &Arc<Self>, now: Timestamp) {
        let devices = self.recording.load();
        if !devices.iter().any(|d| d.healthy()) {
            return;
        }
        let Some(ring) = self.owed.lock().take() else { return };
        let Attempts { kinds, dropped } = ring.take();
        let keep = |left: Attempts| {
            let (weak, ring) = (Arc::downgrade(self), ring.clone());
            Ticket::then(devices.len(), move |taken| {
                if !taken {
                    ring.put_back(left);
                    if let Some(inner) = weak.upgrade() {
                        *inner.owed.lock() = Some(ring);
                    }
                }
            })
        };
        for kind in kinds {
            let ticket = keep(Attempts { kinds: vec![kind.clone()], dropped: 0 });
            let _ = self.offer(&devices, now, &ticket, |d| record::sealed_attempt(&d.config, now, &kind));
        }
        if dropped > 0 {
            let ticket = keep(Attempts { kinds: Vec::new(), dropped });
            let _ = self.offer(&devices, now, &ticket, |d| record::sealed_dropped(&d.config, now, dropped));
        }
    }

    /// The same with a clock that is ahead.
    #[cfg(test)]
    pub(super) fn expire_ahead(&self, by: std::time::Duration) {
        for d in self.devices.load().iter() {
            d.lane.expire(Instant::now() + by, self.now());
        }
    }

    /// A checkpoint at once on every device.
    #[cfg(test)]
    pub(super) async fn sign_now(&self) {
        for d in self.devices.load_full().iter() {
            d.sign_now(self.now()).await;
        }
    }

    fn set_devices(&self, all: Vec<Arc<Device>>) {
        let recording = all.iter().filter(|d| d.config.records()).cloned().collect();
        self.recording.store(Arc::new(recording));
        self.devices.store(Arc::new(all));
    }

    /// Starts a device's threads and has them watched.
    fn begin(
        &self,
        id: u64,
        config: DeviceConfig,
        hmac: Key,
        head: Option<&Head>,
    ) -> Result<Arc<Device>, AuditError> {
        let expected = head.and_then(Head::point);
        let device = Device::start(id, config, hmac, expected, self.shared.clone(), self.now())?;
        self.lanes.lock().push(Arc::downgrade(&device.lane));
        self.wake.work();
        Ok(Arc::new(device))
    }

    fn open_streams(&self) -> u64 {
        self.streams.load(Ordering::Acquire) as u64
    }

    fn device(&self, name: &str) -> Result<Arc<Device>, AuditError> {
        let name = name.strip_suffix('/').unwrap_or(name);
        let devices = self.devices.load();
        let found = devices.iter().find(|d| d.config.name.strip_suffix('/') == Some(name));
        found.cloned().ok_or(AuditError::NoSuchDevice)
    }
}

/// A record under way to its devices.
#[must_use]
struct Written(Option<Arc<Ticket>>);

impl Written {
    /// `Ok` when there is no device, or when at least one took the record.
    async fn taken(self) -> Result<(), AuditError> {
        let Some(ticket) = self.0 else { return Ok(()) };
        if ticket.taken().await { Ok(()) } else { Err(AuditError::NotRecorded) }
    }
}

impl Audit {
    /// Starts without devices. `signing` is the 32-byte Ed25519 seed (`KeyName::AuditSigning`).
    pub fn start(settings: Settings, signing: Key, clock: Arc<dyn Clock>) -> Result<Audit, AuditError> {
        let files = AuditDirs { dirs: settings.audit_dirs, own: settings.own_places };
        Self::with_meters(Box::new(files), signing, clock, settings.meters)
    }

    #[cfg(test)]
    pub(super) fn with_files(
        files: Box<dyn Files>,
        signing: Key,
        clock: Arc<dyn Clock>,
    ) -> Result<Audit, AuditError> {
        Self::with_meters(files, signing, clock, Arc::default())
    }

    fn with_meters(
        files: Box<dyn Files>,
        signing: Key,
        clock: Arc<dyn Clock>,
        meters: Arc<Meters>,
    ) -> Result<Audit, AuditError> {
        let sources = Sources::new(clock.now());
        let inner = Arc::new(Inner {
            shared: Arc::new(Shared { files, signer: Signer::new(signing)? }),
            clock,
            meters,
            devices: ArcSwap::default(),
            recording: ArcSwap::default(),
            lanes: Mutex::new(Vec::new()),
            admin: tokio::sync::Mutex::new(()),
            generation: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            sources,
            streams: AtomicUsize::new(0),
            late: Mutex::new(VecDeque::new()),
            owed: Mutex::new(None),
            wake: Wake::default(),
        });
        ticker::start(&inner)
            .map_err(|source| AuditError::File { device: "(background thread)".into(), source })?;
        Ok(Audit(inner))
    }

    /// Opens a device and adds it. `hmac` is `KeyName::AuditHmac(config.name)`; `expected` the
    /// head that the barrier holds for it, if any. A file that is no audit log is refused unless
    /// there is an expected head: then the device goes on and the finding is flagged.
    pub async fn enable(
        &self,
        config: DeviceConfig,
        hmac: Key,
        expected: Option<&Head>,
    ) -> Result<(), AuditError> {
        let inner = &self.0;
        let _admin = inner.admin.lock().await;
        inner.check_open()?;
        let devices = inner.devices.load_full();
        if devices.iter().any(|d| d.config.name == config.name) {
            return Err(AuditError::Config(format!("path already in use: {}", config.name)));
        }
        if devices.len() >= MAX_DEVICES {
            return Err(AuditError::Config(format!("at most {MAX_DEVICES} audit devices can be enabled")));
        }
        let id = inner.generation.load(Ordering::Acquire) + 1;
        let device = inner.begin(id, config, hmac, expected)?;
        device.open(inner.now()).await?;
        let mut changed = (*devices).clone();
        changed.push(device);
        inner.set_devices(changed);
        inner.generation.store(id, Ordering::Release);
        inner.wake.work();
        Ok(())
    }

    /// Adds the devices that the vault had before. One that cannot be opened is in the set all the
    /// same: it takes nothing, is tried again by itself, and where no other device takes records,
    /// requests are refused. The names differ.
    pub async fn restore(&self, all: Vec<(DeviceConfig, Key, Option<Head>)>) -> Result<(), AuditError> {
        let inner = &self.0;
        let _admin = inner.admin.lock().await;
        inner.check_open()?;
        let mut devices = (*inner.devices.load_full()).clone();
        let (mut id, before) = (inner.generation.load(Ordering::Acquire), devices.len());
        for (config, hmac, head) in all {
            id += 1;
            devices.push(inner.begin(id, config, hmac, head.as_ref())?);
        }
        // All at once: one disk that hangs takes no time from the others.
        let opening: Vec<_> = devices.iter().skip(before).map(|d| d.open(inner.now())).collect();
        for opened in opening {
            // Its thread has said why, and `status` does.
            let _ = opened.await;
        }
        inner.set_devices(devices);
        inner.generation.store(id, Ordering::Release);
        inner.wake.work();
        Ok(())
    }

    /// Takes a device out, after a last checkpoint.
    pub async fn disable(&self, name: &str) -> Result<(), AuditError> {
        let inner = &self.0;
        let _admin = inner.admin.lock().await;
        let device = inner.device(name)?;
        let devices = inner.devices.load_full();
        let left: Vec<_> = devices.iter().filter(|d| d.id != device.id).cloned().collect();
        inner.set_devices(left);
        inner.generation.fetch_add(1, Ordering::AcqRel);
        inner.wake.work();
        device.close(inner.now(), inner.open_streams()).await;
        Ok(())
    }

    /// Puts a request on record. Call it for refused requests as well.
    pub async fn request(&self, entry: &RequestEntry<'_>) -> Result<Audited, AuditError> {
        let started = Instant::now();
        let recorded = match self.offer_request(entry) {
            Ok(Some(written)) => written.taken().await.map(|()| false),
            Ok(None) => Ok(true),
            Err(e) => Err(e),
        };
        self.0.meters.request(started, &recorded);
        let summed = recorded?;
        Ok(Audited { id: entry.id, summed, unrecorded: false, held: None })
    }

    /// A request of a known caller that only looks something up. Its record goes out with its answer's,
    /// in one write and before the answer; `None`: no device would take it now, so put it on record
    /// first as any other.
    pub fn lookup(&self, entry: &RequestEntry<'_>) -> Result<Option<Audited>, AuditError> {
        let inner = &self.0;
        inner.check_open()?;
        let now = inner.now();
        let devices = inner.recording.load();
        if entry.identity.is_none() || !devices.iter().any(|d| d.healthy()) {
            return Ok(None);
        }
        let record =
            |d: &Arc<Device>| Ok((d.clone(), d.encode(record::request(&d.config, d.id, now, entry), now)?));
        let records = devices.iter().map(record).collect::<Result<_, AuditError>>()?;
        let held = Some(Held { inner: inner.clone(), records });
        Ok(Some(Audited { id: entry.id, summed: false, unrecorded: false, held }))
    }

    /// `None`: counted only.
    fn offer_request(&self, entry: &RequestEntry<'_>) -> Result<Option<Written>, AuditError> {
        let inner = &self.0;
        inner.check_open()?;
        let now = inner.now();
        let devices = inner.recording.load();
        if entry.identity.is_none() && !devices.is_empty() && !inner.sources.admit(entry.remote, now) {
            inner.wake.work();
            // Never while nothing could take the count.
            let able = devices.iter().any(|d| d.healthy());
            return if able { Ok(None) } else { Err(AuditError::NotRecorded) };
        }
        inner.write(&devices, now, |d| record::request(&d.config, d.id, now, entry)).map(Some)
    }

    /// Puts the answer on record; on failure the outcome comes back so that it can be undone.
    pub async fn response<T>(
        &self,
        mut audited: Audited,
        entry: &ResponseEntry<'_>,
        outcome: T,
    ) -> Result<Recorded<T>, (AuditError, T)> {
        let inner = &self.0;
        if audited.id != entry.request.id {
            return Err((AuditError::Mismatch, outcome));
        }
        if let Err(e) = inner.check_open() {
            return Err((e, outcome));
        }
        // A request that was only counted has its answer on record if it obtained a token by it.
        if audited.summed && entry.auth.is_none() && entry.wrap.is_none() {
            return Ok(Recorded(outcome));
        }
        let started = Instant::now();
        let lookup = audited.held.is_some();
        let taken = match self.offer_response(audited.held.as_mut(), entry) {
            Ok(written) => written.taken().await,
            Err(e) => Err(e),
        };
        if lookup {
            inner.meters.request(started, &taken);
        }
        inner.meters.responses.since(started);
        if taken.is_err() {
            inner.meters.response_failures.one();
        }
        match taken {
            Ok(()) => Ok(Recorded(outcome)),
            Err(_) if audited.unrecorded => Ok(Recorded(outcome)),
            Err(e) => Err((e, outcome)),
        }
    }

    fn offer_response(
        &self,
        mut held: Option<&mut Held>,
        entry: &ResponseEntry<'_>,
    ) -> Result<Written, AuditError> {
        let inner = &self.0;
        let now = inner.now();
        let devices = inner.recording.load();
        if devices.is_empty() {
            return Ok(Written(None));
        }
        let ticket = Ticket::new(devices.len());
        inner.offer_each(&devices, &ticket, |d| {
            let before = held.as_mut().and_then(|h| h.take(d.id));
            d.offer_after(before, record::response(&d.config, d.id, now, entry), now, &ticket)
        })?;
        Ok(Written(Some(ticket)))
    }

    /// Reserves the completion record of a streamed answer.
    pub fn open(&self, audited: Audited) -> Result<Opened, AuditError> {
        let inner = &self.0;
        inner.check_open()?;
        let slot = |used: usize| (used < MAX_OPEN_STREAMS).then_some(used + 1);
        inner
            .streams
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, slot)
            .map_err(|_| AuditError::Busy)?;
        Ok(Opened::new(inner.clone(), audited.id))
    }

    /// Keyed hashes of a token and its accessor for every device, to be cached with the token.
    pub fn hash_identity(&self, token: &str, accessor: &str) -> Result<IdentityHashes, AuditError> {
        // Read first: a device enabled meanwhile makes these hashes old, never wrongly new.
        let generation = self.generation();
        let devices = self.0.devices.load();
        let of = |d: &Arc<Device>| {
            Ok(DeviceHashes { device: d.id, token: d.hash(token)?, accessor: d.hash(accessor)? })
        };
        let devices: Result<Box<[_]>, AuditError> = devices.iter().map(of).collect();
        Ok(IdentityHashes { generation, devices: devices? })
    }

    /// Changes with the set of devices: hashes of another generation should be renewed.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// `sys/audit-hash/<device>`: `hmac-sha256:<hex>` of `input`.
    pub fn hash(&self, device: &str, input: &str) -> Result<String, AuditError> {
        Ok(format!("hmac-sha256:{}", hex::encode(self.0.device(device)?.hash(input)?)))
    }

    /// Writes what was tried while sealed. Call it after the devices are enabled, before requests.
    /// What no device takes now is written once one does.
    pub async fn drain_sealed(&self, ring: &Arc<SealedRing>) -> Result<(), AuditError> {
        let drained = self.drain_now(ring).await;
        if drained.is_err() {
            *self.0.owed.lock() = Some(ring.clone());
            self.0.wake.work();
        }
        drained
    }

    async fn drain_now(&self, ring: &SealedRing) -> Result<(), AuditError> {
        let inner = &self.0;
        let devices = inner.recording.load_full();
        let now = inner.now();
        let mut attempts = ring.take();
        attempts.kinds.reverse();
        while let Some(kind) = attempts.kinds.pop() {
            let written = inner.write(&devices, now, |d| record::sealed_attempt(&d.config, now, &kind));
            if let Err(e) = settled(written).await {
                attempts.kinds.push(kind);
                attempts.kinds.reverse();
                ring.put_back(attempts);
                return Err(e);
            }
        }
        if attempts.dropped > 0 {
            let dropped = attempts.dropped;
            let written = inner.write(&devices, now, |d| record::sealed_dropped(&d.config, now, dropped));
            return settled(written).await.inspect_err(|_| ring.put_back(attempts));
        }
        Ok(())
    }

    /// Where every device's chain stands now.
    pub fn heads(&self) -> Vec<Head> {
        self.0.devices.load().iter().map(|d| d.head()).collect()
    }

    /// What a stranger needs to check the logs as they are now.
    pub fn proof(&self) -> Heads {
        let recording = self.0.recording.load();
        Heads {
            public_key: self.public_key().to_string(),
            time: self.0.now().rfc3339().to_string(),
            heads: recording.iter().map(|d| d.head()).collect(),
        }
    }

    /// The devices, in the order they were enabled.
    pub fn status(&self) -> Vec<DeviceStatus> {
        self.0.devices.load().iter().map(|d| d.status()).collect()
    }

    /// Opens every file anew under its name (SIGHUP after logrotate); the chain goes on. Answers
    /// the first failure, after all have been tried.
    pub async fn reopen(&self) -> Result<(), AuditError> {
        let now = self.0.now();
        let mut result = Ok(());
        self.0.wake.work();
        for device in self.0.devices.load_full().iter() {
            result = result.and(device.reopen(now).await);
        }
        result
    }

    /// The key that verifies the checkpoints.
    pub fn public_key(&self) -> PublicKey {
        self.0.shared.signer.public
    }

    /// Last checkpoint, sync, stop. Later records fail with `Sealed`. Answers the final heads.
    pub async fn close(&self) -> Vec<Head> {
        let inner = &self.0;
        let _admin = inner.admin.lock().await;
        let devices = inner.devices.load_full();
        let now = inner.now();
        if !inner.closed.swap(true, Ordering::AcqRel) {
            inner.summarise(now);
            inner.write_late();
            inner.wake.work();
            // All at once: one disk that hangs takes no time from the others.
            let closing: Vec<_> = devices.iter().map(|d| d.close(now, inner.open_streams())).collect();
            for closed in closing {
                closed.await;
            }
            inner.wake.stop();
        }
        devices.iter().map(|d| d.head()).collect()
    }

    /// What the background thread does, and what comes of it, for tests that do not wait for it.
    #[cfg(test)]
    pub(super) async fn tick(&self) -> bool {
        self.0.tick();
        for device in self.0.devices.load_full().iter() {
            let lane = device.lane.clone();
            device.lane.ask(move |_| lane.rest()).await;
        }
        self.0.tick()
    }
}

async fn settled(written: Result<Written, AuditError>) -> Result<(), AuditError> {
    written?.taken().await
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.wake.stop();
    }
}
