//! Files in memory, which can be told to fail.

use crate::audit::file::{FileId, Files, LogFile};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    names: HashMap<PathBuf, u64>,
    files: HashMap<u64, Vec<u8>>,
    next: u64,
    calls: u64,
    /// Calls that fail, by number; `None` in the end: for good.
    failing: Option<(u64, Option<u64>)>,
    /// A failing append first writes half of what it was given.
    torn: bool,
    /// Longest single append, as on a nearly full disk.
    most: Option<usize>,
    sizes: bool,
    blocked: bool,
    waiting: usize,
    appends: usize,
    sync_blocked: bool,
    syncing: usize,
    synced: usize,
}

/// Keeps appends waiting.
pub struct Hold(Memory);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.lock().blocked = false;
    }
}

/// Keeps syncs waiting.
pub struct SyncHold(Memory);

impl Drop for SyncHold {
    fn drop(&mut self) {
        self.0.0.lock().sync_blocked = false;
    }
}

impl Memory {
    /// Syncs wait until what this answers is dropped.
    pub fn block_sync(&self) -> SyncHold {
        self.0.lock().sync_blocked = true;
        SyncHold(self.clone())
    }
    /// Syncs that wait.
    pub fn syncing(&self) -> usize {
        self.0.lock().syncing
    }
    /// Writes so far.
    pub fn appends(&self) -> usize {
        self.0.lock().appends
    }
    /// Lets calls `from .. from + count` (counted from now, 0 is the next) fail.
    pub fn fail(&self, from: u64, count: Option<u64>, torn: bool) {
        let mut disk = self.0.lock();
        let from = disk.calls + from;
        disk.failing = Some((from, count.map(|n| from + n)));
        disk.torn = torn;
    }
    pub fn mend(&self) {
        self.0.lock().failing = None;
    }
    /// Truncating fails as well while calls fail.
    pub fn break_truncate(&self) {
        self.0.lock().sizes = true;
    }
    pub fn chop(&self, most: usize) {
        self.0.lock().most = Some(most);
    }
    /// Appends wait until what this answers is dropped.
    pub fn block(&self) -> Hold {
        self.0.lock().blocked = true;
        Hold(self.clone())
    }
    /// Appends that wait.
    pub fn waiting(&self) -> usize {
        self.0.lock().waiting
    }
    /// Length of the file that was synced last, as it was then.
    pub fn synced(&self) -> usize {
        self.0.lock().synced
    }
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }
    pub fn read(&self, path: &str) -> Vec<u8> {
        let disk = self.0.lock();
        disk.names.get(Path::new(path)).map(|id| disk.files[id].clone()).unwrap_or_default()
    }
    pub fn write(&self, path: &str, bytes: &[u8]) {
        let mut disk = self.0.lock();
        let id = disk.name(Path::new(path));
        disk.files.insert(id, bytes.to_vec());
    }
    pub fn rename(&self, from: &str, to: &str) {
        let mut disk = self.0.lock();
        if let Some(id) = disk.names.remove(Path::new(from)) {
            disk.names.insert(to.into(), id);
        }
    }
}

impl Disk {
    fn name(&mut self, path: &Path) -> u64 {
        if let Some(id) = self.names.get(path) {
            return *id;
        }
        self.next += 1;
        self.names.insert(path.into(), self.next);
        self.files.insert(self.next, Vec::new());
        self.next
    }
    /// Counts a call; true when it is to fail.
    fn fails(&mut self) -> bool {
        let n = self.calls;
        self.calls += 1;
        self.failing.is_some_and(|(from, to)| n >= from && to.is_none_or(|to| n < to))
    }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl Files for Memory {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let mut disk = self.0.lock();
        if disk.fails() {
            return Err(broken());
        }
        let id = disk.name(path);
        Ok(Arc::new(File { disk: self.0.clone(), id }))
    }
    fn id(&self, path: &Path) -> Option<FileId> {
        self.0.lock().names.get(path).map(|id| (1, *id))
    }
}

struct File {
    disk: Arc<Mutex<Disk>>,
    id: u64,
}

impl LogFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        disk.waiting += 1;
        while disk.blocked {
            parking_lot::MutexGuard::unlocked(&mut disk, std::thread::yield_now);
        }
        disk.waiting -= 1;
        disk.appends += 1;
        let fails = disk.fails();
        let n = match (fails, disk.torn) {
            (true, true) => bytes.len() / 2,
            (true, false) => 0,
            (false, _) => disk.most.map_or(bytes.len(), |most| most.min(bytes.len())),
        };
        disk.files.get_mut(&self.id).unwrap().extend_from_slice(&bytes[..n]);
        if fails { Err(broken()) } else { Ok(n) }
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.fails() && disk.sizes {
            return Err(broken());
        }
        disk.files.get_mut(&self.id).unwrap().truncate(len as usize);
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        if disk.names.values().any(|id| *id == self.id) {
            Ok(disk.files[&self.id].len() as u64)
        } else {
            Err(io::Error::other("removed"))
        }
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.fails() {
            return Err(broken());
        }
        let at = offset as usize;
        buffer.copy_from_slice(&disk.files[&self.id][at..at + buffer.len()]);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.syncing += 1;
        while disk.sync_blocked {
            parking_lot::MutexGuard::unlocked(&mut disk, std::thread::yield_now);
        }
        disk.syncing -= 1;
        if disk.fails() {
            return Err(broken());
        }
        disk.synced = disk.files[&self.id].len();
        Ok(())
    }
    fn id(&self) -> FileId {
        (1, self.id)
    }
}
