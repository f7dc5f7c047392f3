//! The anchor: a small file outside the store that says how far the store must be.
//!
//! It is never ahead of the store: it is written after a round is durable, to a temporary file that is synced, renamed
//! into place, and the directory synced. A store older than its anchor is a rollback; an anchor without its store is a
//! loss that must not look like a new vault.

use crate::Error;
use crate::descriptors::reserved;
use crate::head::ClearHead;
use crate::head::mac::{MAC_BYTES, Use, mac};
use crate::journal::fs::{Dir, RealDir, replace};
use crate::limits::MAX_ANCHOR_BYTES;
use parking_lot::Mutex;
use secmem::{Key, ct};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

#[cfg(test)]
mod tests;

const VERSION: u32 = 1;
const NAME: &str = "anchor";
const TEMPORARY: &str = "anchor.new";

/// How far the making of the vault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Begun; the shares have not been handed out, so whatever is there may be made again.
    Initialising,
    Initialised,
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub phase: Phase,
    pub store_id: Uuid,
    pub epoch: u64,
    pub seq: u64,
    /// SHA-256 of the head as stored at that sequence.
    pub head: [u8; 32],
    /// HMAC by the index key over all of it; zero before there is a key.
    pub mac: [u8; MAC_BYTES],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    phase: Phase,
    store_id: String,
    epoch: u64,
    seq: u64,
    head: String,
    mac: String,
}

impl Anchor {
    /// For a vault whose first key is not made yet.
    pub fn begun(store_id: Uuid) -> Anchor {
        let (head, mac) = ([0; 32], [0; MAC_BYTES]);
        Anchor { phase: Phase::Initialising, store_id, epoch: 0, seq: 0, head, mac }
    }

    pub fn of(
        phase: Phase,
        store_id: Uuid,
        epoch: u64,
        seq: u64,
        head: [u8; 32],
        index_key: &Key,
    ) -> Result<Anchor, Error> {
        let mut anchor = Anchor { phase, store_id, epoch, seq, head, mac: [0; MAC_BYTES] };
        anchor.mac = anchor.computed(index_key)?;
        Ok(anchor)
    }

    fn computed(&self, index_key: &Key) -> Result<[u8; MAC_BYTES], Error> {
        let phase = [u8::from(self.phase == Phase::Initialised)];
        let (epoch, seq) = (self.epoch.to_be_bytes(), self.seq.to_be_bytes());
        let parts: [&[u8]; 5] = [&phase, self.store_id.as_bytes(), &epoch, &seq, &self.head];
        index_key.attempt(|key| mac(key, Use::Anchor, &parts))?
    }

    /// Whether the holder of the index key wrote it.
    pub fn is_genuine(&self, index_key: &Key) -> Result<bool, Error> {
        Ok(ct::eq(&self.computed(index_key)?, &self.mac))
    }

    /// Why a store with this head is not the one that was anchored or a later one; `None` when it is.
    pub fn rollback(&self, head: &ClearHead) -> Option<String> {
        let (stored, anchored) = ((head.epoch, head.seq), (self.epoch, self.seq));
        if stored < anchored {
            return Some(format!(
                "the store is older than its anchor (epoch {}, sequence {}; anchored at epoch {}, sequence {})",
                head.epoch, head.seq, self.epoch, self.seq
            ));
        }
        if stored == anchored && head.digest != self.head {
            return Some(format!("the store differs from its anchor at sequence {}", head.seq));
        }
        None
    }

    fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let stored = Stored {
            version: VERSION,
            phase: self.phase,
            store_id: self.store_id.to_string(),
            epoch: self.epoch,
            seq: self.seq,
            head: hex(&self.head),
            mac: hex(&self.mac),
        };
        let mut out = serde_json::to_vec(&stored)?;
        out.push(b'\n');
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Option<Anchor> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        if stored.version != VERSION {
            return None;
        }
        Some(Anchor {
            phase: stored.phase,
            store_id: Uuid::parse_str(&stored.store_id).ok()?,
            epoch: stored.epoch,
            seq: stored.seq,
            head: unhex(&stored.head)?,
            mac: unhex(&stored.mac)?,
        })
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// The inverse of [`hex`], of exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut out = [0; N];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}

/// What was found where the anchor should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// Something that is no anchor: a cut or foreign file.
    Damaged,
    Anchor(Anchor),
}

/// The anchor file of a state directory.
#[derive(Clone, Debug)]
pub struct AnchorFile {
    dir: PathBuf,
    /// One write at a time.
    turn: Arc<Mutex<()>>,
    /// Counts those who took the file over; only the last may write. A write that hung in an earlier unsealed period
    /// may come to its end in a later one, and must not put the older state back.
    owners: Arc<AtomicU64>,
    owner: u64,
    /// A store in memory ends with the process, and so does its anchor.
    volatile: Option<Arc<Mutex<Vec<u8>>>>,
}

fn anchor_in(dir: &dyn Dir, bytes: &[u8]) -> io::Result<()> {
    replace(dir, NAME, TEMPORARY, bytes)
}

#[cfg(test)]
pub struct Hanging<'a> {
    _turn: parking_lot::MutexGuard<'a, ()>,
}

impl AnchorFile {
    /// In `dir`; an empty path is the anchor of a store in memory.
    pub fn in_dir(dir: &Path) -> AnchorFile {
        let volatile = dir.as_os_str().is_empty().then(Default::default);
        AnchorFile { dir: dir.to_owned(), turn: Arc::default(), owners: Arc::default(), owner: 0, volatile }
    }

    /// The same file; from now on only through this handle and its clones.
    pub fn take_over(&self) -> AnchorFile {
        let owner = self.owners.fetch_add(1, Ordering::SeqCst) + 1;
        AnchorFile { owner, ..self.clone() }
    }

    /// Keeps every write waiting while it is held, as a disk that hangs does.
    #[cfg(test)]
    pub fn hang(&self) -> Hanging<'_> {
        Hanging { _turn: self.turn.lock() }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Anchor { path: self.path().display().to_string(), source }
    }

    pub fn read(&self) -> Result<Found, Error> {
        let mut bytes = Vec::new();
        if let Some(kept) = &self.volatile {
            let kept = kept.lock();
            return Ok(match kept.is_empty() {
                true => Found::Nothing,
                false => Anchor::decode(&kept).map_or(Found::Damaged, Found::Anchor),
            });
        }
        let file = match reserved(|| File::open(self.path())) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            opened => opened.map_err(|e| self.error(e))?,
        };
        file.take(MAX_ANCHOR_BYTES).read_to_end(&mut bytes).map_err(|e| self.error(e))?;
        Ok(Anchor::decode(&bytes).map_or(Found::Damaged, Found::Anchor))
    }

    /// Replaces the file; on return the new one survives a power cut.
    pub fn write(&self, anchor: &Anchor) -> Result<(), Error> {
        self.try_write(anchor).map_err(|e| self.error(e))
    }

    fn try_write(&self, anchor: &Anchor) -> io::Result<()> {
        let bytes = anchor.encode().map_err(io::Error::other)?;
        let _turn = self.turn.lock();
        if self.owner != self.owners.load(Ordering::SeqCst) {
            return Err(io::Error::other("written by a later unsealed period"));
        }
        if let Some(kept) = &self.volatile {
            *kept.lock() = bytes;
            return Ok(());
        }
        anchor_in(&RealDir::existing(&self.dir)?, &bytes)
    }
}
