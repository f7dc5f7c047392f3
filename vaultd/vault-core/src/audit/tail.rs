//! Where a file's chain ends, found by reading it backwards.

use super::chain::{GENESIS, Line, Link};
use super::file::LogFile;
use super::limits::{MAX_LINE_BYTES, MAX_TAIL_SCAN_BYTES};
use std::io;

/// A place in a device's chain: number and value of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub seq: u64,
    pub chain: Link,
}

impl Point {
    pub const START: Point = Point { seq: 0, chain: GENESIS };
}

/// What stands at the end of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// No complete line, and nothing that could not be the beginning of our first one.
    Empty,
    Lines {
        last: Point,
        /// The last line is a checkpoint written at a regular end.
        clean: bool,
        /// Bytes of an unfinished line after the last one.
        torn: u64,
        /// Length of the file without them.
        keep: u64,
        /// How the expected head fits.
        head: HeadFit,
    },
    /// Not our chain: foreign lines, or lines changed since.
    Foreign,
}

/// How the head that the barrier holds fits what the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadFit {
    /// None was given, or the line is there, or it lies in an earlier file.
    Fits,
    /// The file ends before it.
    Missing,
    /// It lies further back than the scan goes.
    NotReached,
}

/// Reads the end of `device`'s file and checks it against `expected`.
pub(super) fn read(file: &dyn LogFile, device: &str, expected: Option<Point>) -> io::Result<Tail> {
    let len = file.len()?;
    let mut window = 64 * 1024u64;
    loop {
        let from = len.saturating_sub(window);
        let mut bytes = vec![0; usize::try_from(len - from).unwrap_or(usize::MAX)];
        file.read_at(from, &mut bytes)?;
        let last_chance = from == 0 || window >= MAX_TAIL_SCAN_BYTES;
        if let Some(tail) = judge(&bytes, Place { from, len, last_chance }, device, expected) {
            return Ok(tail);
        }
        window = (window * 4).min(MAX_TAIL_SCAN_BYTES);
    }
}

/// Which piece of the file is looked at.
struct Place {
    from: u64,
    len: u64,
    /// No larger piece will be.
    last_chance: bool,
}

/// Judges the last bytes of a file. `None`: a larger piece is needed.
fn judge(bytes: &[u8], place: Place, device: &str, expected: Option<Point>) -> Option<Tail> {
    let Place { from, len, last_chance } = place;
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let (mut complete, torn) = bytes.split_at_checked(end)?;
    if from > 0 {
        // The piece starts inside a line; the rest of that line says nothing.
        let skip = complete.iter().position(|b| *b == b'\n').map_or(complete.len(), |at| at + 1);
        complete = complete.get(skip..).unwrap_or_default();
    }
    let mut lines = complete.split_inclusive(|b| *b == b'\n').map(|l| l.strip_suffix(b"\n").unwrap_or(l));
    let Some(first) = lines.next() else {
        return match (from, last_chance) {
            (0, _) => Some(if begins_ours(torn, expected.is_some()) { Tail::Empty } else { Tail::Foreign }),
            (_, true) => Some(Tail::Foreign),
            (_, false) => None,
        };
    };
    let Some(first) = parse(first) else { return Some(Tail::Foreign) };
    // At the file's start the first line names what it is chained to; further in, its own value is
    // the base for the lines behind it.
    let before = if from == 0 { opening(&first) } else { None };
    if from == 0 && !before.is_some_and(|p| first.follows(p.seq, &p.chain)) {
        return Some(Tail::Foreign);
    }
    if from > 0 && !last_chance && expected.is_some_and(|e| e.seq < first.seq) {
        return None;
    }
    let mut walk = Walk { last: Point { seq: first.seq, chain: first.chain }, line: first, device, expected };
    if !walk.agrees() || !lines.all(|l| parse(l).is_some_and(|l| walk.step(l))) {
        return Some(Tail::Foreign);
    }
    let head = match expected {
        Some(e) if e.seq > walk.last.seq => HeadFit::Missing,
        Some(e) if before.is_some_and(|b| b.seq == e.seq && b.chain != e.chain) => {
            return Some(Tail::Foreign);
        }
        Some(e) if from > 0 && e.seq < first.seq => HeadFit::NotReached,
        _ => HeadFit::Fits,
    };
    let torn = torn.len() as u64;
    Some(Tail::Lines { last: walk.last, clean: is_close(&walk.line), torn, keep: len - torn, head })
}

struct Walk<'a> {
    last: Point,
    line: Line<'a>,
    device: &'a str,
    expected: Option<Point>,
}

impl<'a> Walk<'a> {
    fn step(&mut self, line: Line<'a>) -> bool {
        let follows = line.follows(self.last.seq, &self.last.chain);
        self.last = Point { seq: line.seq, chain: line.chain };
        self.line = line;
        follows && self.agrees()
    }

    /// The line at the expected number has the expected value, and lines that name a device name
    /// this one.
    fn agrees(&self) -> bool {
        let ours = !(self.line.is("checkpoint") || self.line.is("open")) || names(&self.line, self.device);
        ours && self.expected.is_none_or(|e| e.seq != self.last.seq || e.chain == self.last.chain)
    }
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    if line.len() >= MAX_LINE_BYTES { None } else { Line::parse(line) }
}

/// What an `open` line says it is chained to.
pub(super) fn opening(line: &Line<'_>) -> Option<Point> {
    #[derive(serde::Deserialize)]
    struct Open {
        previous: Previous,
    }
    #[derive(serde::Deserialize)]
    struct Previous {
        seq: u64,
        chain: String,
    }
    if !line.is("open") {
        return None;
    }
    let mut text = line.body.to_vec();
    text.push(b'}');
    let open: Open = serde_json::from_slice(&text).ok()?;
    Some(Point { seq: open.previous.seq, chain: super::json::unhex(open.previous.chain.as_bytes())? })
}

/// A file that holds only the torn beginning of an `open` line is ours; one of zeros (after a power
/// cut) only for a device that is `known`: it might be anybody's otherwise.
fn begins_ours(torn: &[u8], known: bool) -> bool {
    const OPEN: &[u8] = b"{\"type\":\"open\",";
    torn.is_empty()
        || known && torn.iter().all(|b| *b == 0)
        || torn.starts_with(OPEN)
        || OPEN.starts_with(torn)
}

fn is_close(line: &Line<'_>) -> bool {
    line.is("checkpoint") && holds(line.body, b",\"reason\":\"close\"")
}

/// Device names need no escaping (see `DeviceConfig::parse`).
fn names(line: &Line<'_>, device: &str) -> bool {
    holds(line.body, format!(",\"device\":\"{device}\"").as_bytes())
}

fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|w| w == part)
}
