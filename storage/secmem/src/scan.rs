//! A scanner for left-over copies of secrets in a process's memory, ours or another's. For tests.
//!
//! It reads `/proc/PID/mem`, which shows root everything except `memfd_secret` pages: heap, stacks, locked, undumpable
//! and inaccessible pages alike. The patterns it looks for are kept masked, and its read buffer is left out, so that it
//! does not find itself.

mod needle;
mod read;
mod schedule;

pub use needle::Encoding;

use std::io;

use parking_lot::Mutex;

use needle::{Matcher, Needle};
use read::Memory;

static SELF_SCAN: Mutex<()> = Mutex::new(());

/// One place where a secret was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The secret's label.
    pub label: String,
    /// How it was spelled there.
    pub encoding: Encoding,
    /// Address of the first byte.
    pub address: u64,
    /// The mapping's line in `/proc/PID/maps`, without its addresses.
    pub mapping: String,
}

/// What a scan saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All finds, overlapping ones too.
    pub hits: Vec<Hit>,
    /// Addresses of expanded AES-128 or AES-256 keys (encryption schedules), if asked for.
    pub schedules: Vec<u64>,
    /// Bytes that could be read.
    pub readable: u64,
    /// Bytes that could not.
    pub unreadable: u64,
    /// Mappings that had unreadable bytes, with their number.
    pub unreadable_in: Vec<(String, u64)>,
}

impl Report {
    /// Finds of one secret.
    #[must_use]
    pub fn count(&self, label: &str) -> usize {
        self.hits.iter().filter(|hit| hit.label == label).count()
    }

    /// Finds of one secret in one spelling.
    #[must_use]
    pub fn count_as(&self, label: &str, encoding: Encoding) -> usize {
        self.hits.iter().filter(|hit| hit.label == label && hit.encoding == encoding).count()
    }
}

/// What to look for. Add secrets, then scan as often as needed.
#[derive(Default)]
pub struct Scanner {
    needles: Vec<Needle>,
    schedules: bool,
}

impl Scanner {
    /// A scanner that looks for nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for `secret` (4 bytes or more) in every [`Encoding`]. To scan the own process without a copy to be found,
    /// call this inside [`Key::with`](crate::Key::with): only masked forms are kept.
    pub fn add(&mut self, label: &str, secret: &[u8]) {
        needle::spell(label, secret, &mut self.needles);
    }

    /// Looks for expanded AES keys too, whatever the key.
    pub fn find_aes_schedules(&mut self) {
        self.schedules = true;
    }

    /// Scans the own process.
    pub fn scan_self(&self) -> io::Result<Report> {
        self.scan(std::process::id())
    }

    /// Scans a process. Stop it first (`SIGSTOP`) if the counts must be consistent.
    pub fn scan(&self, pid: u32) -> io::Result<Report> {
        let matcher = Matcher::new(&self.needles);
        // Two scans of the same process at once would find what the other has just read.
        let _one = (pid == std::process::id()).then(|| SELF_SCAN.lock());
        let overlap = matcher.longest().max(schedule::LONGEST) - 1;
        let mut report = Report::default();
        let mut memory = Memory::open(pid, overlap)?;
        memory.read_all(&mut report, |report, piece| {
            matcher.search(piece.bytes, piece.seen, |needle, at| {
                report.hits.push(Hit {
                    label: needle.label.clone(),
                    encoding: needle.encoding,
                    address: piece.address + at as u64,
                    mapping: piece.mapping.to_owned(),
                });
            });
            if self.schedules {
                let found = schedule::search(piece.bytes, piece.address, piece.seen);
                report.schedules.extend(found.into_iter().map(|at| piece.address + at as u64));
            }
        })?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
