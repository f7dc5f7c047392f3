//! Reading a process's memory through proc_pid_mem(5), mapping by mapping.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Report;
use crate::error::Protection;
use crate::limits::{MAX_PATTERN_BYTES, SCAN_CHUNK_BYTES};
use crate::region::{self, Pages};

const PAGE: u64 = 4096;

/// Some consecutive bytes of the process.
pub(super) struct Piece<'a> {
    /// The bytes. The first `seen` of them were the end of the piece before.
    pub(super) bytes: &'a [u8],
    pub(super) seen: usize,
    /// Address of the first byte.
    pub(super) address: u64,
    /// The mapping's line without its addresses.
    pub(super) mapping: &'a str,
}

/// An open process.
pub(super) struct Memory {
    file: File,
    mappings: Vec<(u64, u64, String)>,
    /// The read buffer: mapped by itself, so that it can be left out when the process is our own.
    buffer: Pages,
    skip: Option<(u64, u64)>,
    overlap: usize,
}

impl Memory {
    pub(super) fn open(pid: u32, overlap: usize) -> io::Result<Self> {
        let lengths = [SCAN_CHUNK_BYTES + MAX_PATTERN_BYTES];
        let buffer = region::map(Protection::Unlocked, &lengths)
            .map_err(io::Error::other)?
            .pop()
            .ok_or_else(|| io::Error::other("no buffer"))?;
        let (start, len) = buffer.range();
        let skip = (pid == std::process::id()).then_some((start as u64, (start + len) as u64));
        let file = File::open(format!("/proc/{pid}/mem"))?;
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mappings = maps.lines().filter_map(parse).collect();
        Ok(Self { file, mappings, buffer, skip, overlap: overlap.min(MAX_PATTERN_BYTES) })
    }

    /// Hands every readable byte to `see`, in order, pieces of adjacent memory overlapping by the longest pattern.
    pub(super) fn read_all(
        &mut self,
        report: &mut Report,
        mut see: impl FnMut(&mut Report, Piece<'_>),
    ) -> io::Result<()> {
        let ranges = self.ranges();
        let (mut carried, mut last_end) = (0, 0);
        for (start, end, mapping) in ranges {
            if start != last_end {
                carried = 0;
            }
            let mut at = start;
            let mut unreadable = 0;
            while at < end {
                let got = self.read(at, end, carried);
                if got == 0 {
                    let next = ((at / PAGE + 1) * PAGE).min(end);
                    unreadable += next - at;
                    at = next;
                    carried = 0;
                    continue;
                }
                report.readable += got as u64;
                let bytes = self.buffer.as_slice().get(..carried + got).unwrap_or_default();
                let address = at - carried as u64;
                see(report, Piece { bytes, seen: carried, address, mapping: &mapping });
                at += got as u64;
                let keep = self.overlap.min(carried + got);
                self.buffer.as_mut_slice().copy_within(carried + got - keep..carried + got, 0);
                carried = keep;
            }
            last_end = end;
            if unreadable > 0 {
                report.unreadable += unreadable;
                report.unreadable_in.push((mapping, unreadable));
            }
        }
        self.buffer.fill(0);
        Ok(())
    }

    /// Reads from `at` behind `carried` bytes of the buffer: the number of bytes read, 0 if the page cannot be.
    fn read(&mut self, at: u64, end: u64, carried: usize) -> usize {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(SCAN_CHUNK_BYTES);
        let Some(to) = self.buffer.as_mut_slice().get_mut(carried..carried + want) else { return 0 };
        // A short count ends at a page that cannot be read; the next call starts there and gets the error.
        self.file.read_at(to, at).unwrap_or(0)
    }

    /// What to read: all mappings, less our own buffer.
    fn ranges(&self) -> Vec<(u64, u64, String)> {
        let (from, to) = self.skip.unwrap_or((0, 0));
        let mut ranges = Vec::new();
        for (start, end, mapping) in &self.mappings {
            if to <= *start || *end <= from {
                ranges.push((*start, *end, mapping.clone()));
                continue;
            }
            for (a, b) in [(*start, from), (to, *end)] {
                if a < b {
                    ranges.push((a, b, mapping.clone()));
                }
            }
        }
        ranges
    }
}

/// One line of proc_pid_maps(5). The kernel's own pages (vvar, vsyscall) hold nothing of the process.
fn parse(line: &str) -> Option<(u64, u64, String)> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    if rest.contains("[vvar") || rest.ends_with("[vsyscall]") {
        return None;
    }
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?, rest.to_owned()))
}
