//! A disk for tests: it keeps what was written apart from what was synced, counts every call, and
//! can fail or lose its power at any of them.
//!
//! The model is harsher than any real file system: without a sync, each 512-byte sector of each
//! write, each truncation and each change of a directory may or may not have reached the disk, on
//! its own. A sync that fails loses what it should have kept, and later syncs do not bring it
//! back, as on Linux.

use super::fs::{Dir, File};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Disk>>);

#[derive(Clone, Default)]
struct Disk {
    files: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    calls: Vec<Call>,
    cut_at: Option<usize>,
    fail_at: Option<(usize, ErrorKind)>,
    /// A disk that lies: syncs answer and do nothing.
    ignores_sync: bool,
    free: Option<u64>,
}

#[derive(Clone, Default)]
struct Inode {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// What a failed sync gave up: on the disk perhaps, but never by a later sync.
    doomed: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Remove(String),
    Rename(String, String),
}

/// The calls that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Write,
    Allocate,
    Truncate,
    Sync,
    Rename,
    Remove,
    SyncDir,
    /// The index's own checkpoint.
    SyncIndex,
}

/// What is found after the power comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Image {
    /// Only what was synced.
    Synced,
    /// What was synced and a random part of the rest.
    Part(u64),
    /// Everything: the process died, the machine did not.
    Killed,
}

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The `n`-th call from now (counting from 0) and all after it fail without effect.
    pub(crate) fn cut_after(&self, n: usize) {
        let mut d = self.0.lock();
        d.cut_at = Some(d.calls.len() + n);
    }

    /// The `n`-th call from now fails, once.
    pub(crate) fn fail_after(&self, n: usize, kind: ErrorKind) {
        let mut d = self.0.lock();
        d.fail_at = Some((d.calls.len() + n, kind));
    }

    pub(crate) fn ignore_syncs(&self) {
        self.0.lock().ignores_sync = true;
    }

    /// Space that `available` and allocations see; `None` for plenty.
    pub(crate) fn set_free(&self, bytes: Option<u64>) {
        self.0.lock().free = bytes;
    }

    /// Counts the checkpoint of an index that shares this disk's power.
    pub(crate) fn sync_index(&self) -> io::Result<()> {
        self.call(Call::SyncIndex).map(drop)
    }

    /// Whether the call of `fail_after` or `cut_after` has come, and which it was.
    pub(crate) fn struck(&self) -> Option<Call> {
        let d = self.0.lock();
        let at = d.cut_at.into_iter().chain(d.fail_at.map(|(at, _)| at)).min()?;
        d.calls.get(at).copied()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().calls.clone()
    }

    /// The contents of a file, and a way to damage them.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut d = self.0.lock();
        let i = d.names[name];
        let mut bytes = d.files[i].volatile.clone();
        change(&mut bytes);
        d.files[i] = Inode { volatile: bytes.clone(), durable: bytes, ..Inode::default() };
    }

    pub(crate) fn image(&self, image: Image) -> SimDisk {
        let d = self.0.lock();
        let mut new = Disk { files: d.files.clone(), ..Disk::default() };
        let mut rng = Rng(match image {
            Image::Part(seed) => seed,
            _ => 0,
        });
        match image {
            Image::Killed => {
                new.names = d.names.clone();
                new.durable_names = d.durable_names.clone();
                new.name_changes = d.name_changes.clone();
            }
            Image::Synced => new.names = d.durable_names.clone(),
            Image::Part(_) => {
                new.names = d.durable_names.clone();
                for change in &d.name_changes {
                    if rng.coin() {
                        change.apply(&mut new.names);
                    }
                }
            }
        }
        if !matches!(image, Image::Killed) {
            new.durable_names = new.names.clone();
            for f in &mut new.files {
                f.crash(matches!(image, Image::Part(_)).then_some(&mut rng));
            }
        }
        SimDisk(Arc::new(Mutex::new(new)))
    }

    fn call(&self, call: Call) -> io::Result<parking_lot::MutexGuard<'_, Disk>> {
        let mut d = self.0.lock();
        let n = d.calls.len();
        d.calls.push(call);
        if d.cut_at.is_some_and(|at| n >= at) {
            return Err(io::Error::other("the power is off"));
        }
        match d.fail_at {
            Some((at, kind)) if at == n => {
                if call == Call::Sync {
                    // Nobody else syncs between here and the failure: all files lose alike.
                    d.files.iter_mut().for_each(Inode::doom);
                }
                Err(kind.into())
            }
            _ => Ok(d),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Set(name, i) => {
                names.insert(name.clone(), *i);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
            NameChange::Rename(from, to) => {
                if let Some(i) = names.remove(from) {
                    names.insert(to.clone(), i);
                }
            }
        }
    }
}

impl Inode {
    fn change(&mut self, p: Pending) {
        p.apply(&mut self.volatile, |_| true);
        self.pending.push(p);
    }

    fn sync(&mut self) {
        for p in std::mem::take(&mut self.pending) {
            p.apply(&mut self.durable, |_| true);
        }
    }

    fn doom(&mut self) {
        self.doomed.append(&mut self.pending);
    }

    fn crash(&mut self, part: Option<&mut Rng>) {
        if let Some(rng) = part {
            for p in self.doomed.iter().chain(&self.pending) {
                match p {
                    Pending::Length(_) if !rng.coin() => {}
                    // Now all of it, now none, now some sectors.
                    Pending::Write(..) if rng.coin() => {
                        if rng.coin() {
                            p.apply(&mut self.durable, |_| true);
                        }
                    }
                    _ => p.apply(&mut self.durable, |_| rng.coin()),
                }
            }
        }
        *self = Inode { volatile: self.durable.clone(), durable: self.durable.clone(), ..Inode::default() };
    }
}

impl Pending {
    fn apply(&self, to: &mut Vec<u8>, mut sector_kept: impl FnMut(usize) -> bool) {
        match self {
            Pending::Length(n) => to.resize(*n, 0),
            Pending::Write(offset, bytes) => {
                let mut at = 0;
                while at < bytes.len() {
                    let start = offset + at;
                    let end = ((start / SECTOR + 1) * SECTOR).min(offset + bytes.len());
                    if sector_kept(start / SECTOR) {
                        if to.len() < end {
                            to.resize(end, 0);
                        }
                        to[start..end].copy_from_slice(&bytes[at..end - offset]);
                    }
                    at = end - offset;
                }
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl File for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut d = self.disk.call(Call::Write)?;
        d.files[self.inode].change(Pending::Write(offset as usize, bytes.to_vec()));
        Ok(())
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let d = self.disk.0.lock();
        let rest = d.files[self.inode].volatile.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[self.inode].volatile.len() as u64)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut d = self.disk.call(Call::Allocate)?;
        if let Some(free) = d.free {
            d.free = Some(free.checked_sub(len).ok_or(ErrorKind::StorageFull)?);
        }
        d.files[self.inode].change(Pending::Length(len as usize));
        Ok(())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut d = self.disk.call(Call::Truncate)?;
        d.files[self.inode].change(Pending::Length(len as usize));
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let mut d = self.disk.call(Call::Sync)?;
        if !d.ignores_sync {
            d.files[self.inode].sync();
        }
        Ok(())
    }
}

impl Dir for SimDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut d = self.call(Call::Create)?;
        if d.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = d.files.len();
        d.files.push(Inode::default());
        d.change_name(NameChange::Set(name.to_owned(), inode));
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let d = self.0.lock();
        let inode = *d.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut d = self.call(Call::Rename)?;
        if !d.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        d.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut d = self.call(Call::Remove)?;
        let inode = *d.names.get(name).ok_or(ErrorKind::NotFound)?;
        let freed = d.files[inode].volatile.len() as u64;
        d.free = d.free.map(|f| f + freed);
        d.change_name(NameChange::Remove(name.to_owned()));
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let mut d = self.call(Call::SyncDir)?;
        if !d.ignores_sync {
            d.durable_names = d.names.clone();
            d.name_changes.clear();
        }
        Ok(())
    }
    fn available(&self) -> io::Result<u64> {
        Ok(self.0.lock().free.unwrap_or(u64::MAX))
    }
}

impl Disk {
    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}
