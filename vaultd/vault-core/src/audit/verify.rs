//! Offline verification of an audit file: nothing secret needed, only the vault's public key and
//! the head it was last known to have.
//!
//! Found without either: any line changed, deleted, swapped, repeated or inserted by somebody who
//! did not compute the chain anew. Whoever can write the file can do that, or invent all of it: so
//! such a file is not called proved. Found with the public key: lines before a checkpoint that the
//! vault did not write. Found with the head: a file cut off at its end, checkpoints and all, and
//! whatever was changed before the head. What was not proved is in [`Report::unproved`].

use super::chain::Line;
use super::limits::{MAX_LINE_BYTES, MAX_RECORDS_PER_CHECKPOINT};
use super::tail::{Point, opening};
use super::{Head, PublicKey, checkpoint};
use ed25519_dalek::VerifyingKey;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read as _};

/// Lines that may stand between two checkpoints beyond the regular bound: what a device says about
/// itself when it comes back, before it signs.
const CHECKPOINT_SLACK: u64 = 8;
const READ_BUFFER: usize = 256 * 1024;
/// Most notes kept; later ones are only counted.
const MAX_NOTES: usize = 1_000;

/// What to check against.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keys that checkpoints may be signed by. Empty: signatures are not checked.
    pub keys: Vec<PublicKey>,
    /// The head from the vault (`sys/audit` or the barrier).
    pub head: Option<Head>,
    /// The end of the file before this one, from its own report.
    pub previous: Option<Head>,
    /// Stop at the head: lines that the vault wrote after it was asked are not looked at.
    pub through_head: bool,
}

/// What a report without a fault leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unproved {
    /// No public key was given.
    Author,
    /// No head was given, or it lies before this file.
    Whole,
    /// The file goes on from a line of an earlier one that was not given.
    Beginning(Head),
    /// That many lines at the end are covered by no checkpoint and no head.
    Tail(u64),
}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unproved::Author => f.write_str(
                "that this vault wrote it: without its public key (-key) the log may be invented, rewritten or \
                 thinned out",
            ),
            Unproved::Whole => f.write_str(
                "that it is whole: without a head from after its last line (-head) its end may have been cut off",
            ),
            Unproved::Beginning(head) => write!(
                f,
                "what came before: it follows line {} of an earlier file, which was not given",
                head.seq
            ),
            Unproved::Tail(lines) => {
                write!(f, "its last {lines} lines: they are after the last checkpoint and after the head")
            }
        }
    }
}

/// What is wrong, and where. Checking stops there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1; after the last line for a missing tail.
    pub line: u64,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Not a line of this format.
    Malformed,
    /// No newline at the end of the file: cut inside a line, or still being written.
    Torn,
    /// The file does not begin with an `open` line.
    NoOpening,
    /// The line number does not follow.
    Sequence,
    /// The line, or the one before it, was changed.
    Chain,
    /// A checkpoint's signature is wrong.
    Signature,
    /// A checkpoint names a key that was not given.
    UnknownKey,
    /// A checkpoint is missing where one must stand.
    NoCheckpoint,
    /// The file ends before the given head.
    Truncated,
    /// The line with the head's number has another chain value.
    HeadMismatch,
    /// The file does not follow the given previous one.
    PreviousMismatch,
    /// The head or the lines belong to another device.
    Device,
}

/// Something the vault itself noted in the log: not a fault of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub line: u64,
    /// `gap`, or a `repair` line's reason.
    pub what: String,
}

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines found good.
    pub lines: u64,
    pub checkpoints: u64,
    pub device: String,
    /// What the first line is chained to.
    pub follows: Option<Head>,
    /// The last good line.
    pub last: Option<Head>,
    /// Lines after the last checkpoint, covered by no signature.
    pub unsigned: u64,
    /// Lines after the last checkpoint and after the head.
    pub uncovered: u64,
    /// Nothing was found wrong with these questions because they could not be asked. Empty: the
    /// log is what this vault wrote, from its first line to the head.
    pub unproved: Vec<Unproved>,
    /// A head was given and the file holds it. `None`: none given, or it lies in an earlier file.
    pub head_found: Option<bool>,
    pub notes: Vec<Note>,
    pub notes_dropped: u64,
    pub fault: Option<Fault>,
}

impl Report {
    /// No fault was found.
    pub fn intact(&self) -> bool {
        self.fault.is_none()
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Malformed => "not a line of the audit format",
            FaultKind::Torn => "the last line is not finished",
            FaultKind::NoOpening => "the file does not begin with an open line",
            FaultKind::Sequence => "line numbers do not follow each other",
            FaultKind::Chain => "a line was changed, removed or inserted",
            FaultKind::Signature => "the checkpoint's signature is wrong",
            FaultKind::UnknownKey => "the checkpoint is signed by an unknown key",
            FaultKind::NoCheckpoint => "a checkpoint is missing",
            FaultKind::Truncated => "the file ends before the stored head",
            FaultKind::HeadMismatch => "the line of the stored head was replaced",
            FaultKind::PreviousMismatch => "the file does not follow the previous one",
            FaultKind::Device => "the line belongs to another device",
        })
    }
}

/// Reads a whole file (or several of one device, in order, put together).
pub fn verify(reader: impl io::Read, options: &Options) -> io::Result<Report> {
    let mut reader = BufReader::with_capacity(READ_BUFFER, reader);
    let mut state = State::new(options);
    let mut buffer = Vec::with_capacity(4096);
    loop {
        buffer.clear();
        reader.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut buffer)?;
        if buffer.is_empty() {
            break;
        }
        let checked = match buffer.strip_suffix(b"\n") {
            Some(line) => state.line(line),
            None if buffer.len() > MAX_LINE_BYTES => Err(FaultKind::Malformed),
            None => Err(FaultKind::Torn),
        };
        if let Err(kind) = checked {
            return Ok(state.fault(kind));
        }
        if options.through_head && state.report.head_found == Some(true) {
            break;
        }
    }
    Ok(state.end())
}

struct State<'o> {
    options: &'o Options,
    keys: Vec<(String, VerifyingKey)>,
    head: Option<Point>,
    at: Point,
    report: Report,
    /// A checkpoint must come next: the line before was an `open`.
    sign_next: bool,
}

impl<'o> State<'o> {
    fn new(options: &'o Options) -> Self {
        State {
            options,
            keys: options.keys.iter().filter_map(|k| Some((k.id(), k.verifying()?))).collect(),
            head: options.head.as_ref().and_then(Head::point),
            at: Point::START,
            report: Report::default(),
            sign_next: false,
        }
    }

    fn line(&mut self, bytes: &[u8]) -> Result<(), FaultKind> {
        let line = Line::parse(bytes).ok_or(FaultKind::Malformed)?;
        if self.report.lines == 0 {
            self.first(&line)?;
        }
        if self.at.seq.checked_add(1) != Some(line.seq) {
            return Err(FaultKind::Sequence);
        }
        if !line.follows(self.at.seq, &self.at.chain) {
            return Err(FaultKind::Chain);
        }
        if line.is("checkpoint") {
            self.checkpoint(&line)?;
        } else {
            self.record(&line)?;
        }
        self.at = Point { seq: line.seq, chain: line.chain };
        self.report.lines += 1;
        if self.head.is_some_and(|h| h.seq == line.seq) {
            if self.head.is_some_and(|h| h.chain != line.chain) {
                return Err(FaultKind::HeadMismatch);
            }
            self.report.head_found = Some(true);
            self.report.uncovered = 0;
        }
        Ok(())
    }

    /// The first line says what the file follows.
    fn first(&mut self, line: &Line<'_>) -> Result<(), FaultKind> {
        self.at = opening(line).ok_or(FaultKind::NoOpening)?;
        let follows = self.as_head(self.at);
        if let Some(previous) = &self.options.previous
            && previous.point() != Some(self.at)
        {
            return Err(FaultKind::PreviousMismatch);
        }
        if let Some(head) = self.head.filter(|h| h.seq == self.at.seq) {
            if head.chain != self.at.chain {
                return Err(FaultKind::HeadMismatch);
            }
            self.report.head_found = Some(true);
        }
        self.report.follows = Some(follows);
        Ok(())
    }

    fn checkpoint(&mut self, line: &Line<'_>) -> Result<(), FaultKind> {
        if !self.options.keys.is_empty() {
            let members = Members::read(line)?;
            let key = self.keys.iter().find(|(id, _)| *id == members.key).ok_or(FaultKind::UnknownKey)?;
            if !checkpoint::verify(&key.1, line.body, &self.at.chain, line.seq) {
                return Err(FaultKind::Signature);
            }
            self.device(&members.device)?;
        }
        self.report.uncovered = 0;
        self.report.checkpoints += 1;
        self.report.unsigned = 0;
        self.sign_next = false;
        Ok(())
    }

    fn record(&mut self, line: &Line<'_>) -> Result<(), FaultKind> {
        self.report.unsigned += 1;
        self.report.uncovered += 1;
        let bound = MAX_RECORDS_PER_CHECKPOINT + CHECKPOINT_SLACK;
        // What a device says about itself may stand between its opening line and the checkpoint.
        let own = line.is("gap") || line.is("repair");
        if !self.options.keys.is_empty() && (self.report.unsigned > bound || self.sign_next && !own) {
            return Err(FaultKind::NoCheckpoint);
        }
        if line.is("open") {
            self.sign_next = true;
            self.device(&Members::read(line)?.device)?;
        } else if own {
            let members = Members::read(line)?;
            if self.report.notes.len() < MAX_NOTES {
                let what = members.reason.unwrap_or_else(|| "gap".into());
                self.report.notes.push(Note { line: self.report.lines + 1, what });
            } else {
                self.report.notes_dropped += 1;
            }
        }
        Ok(())
    }

    /// All lines and the given heads belong to one device.
    fn device(&mut self, name: &str) -> Result<(), FaultKind> {
        if self.report.device.is_empty() {
            self.report.device = name.to_owned();
        }
        let heads = [&self.options.head, &self.options.previous];
        let same =
            self.report.device == name && heads.iter().all(|h| h.as_ref().is_none_or(|h| h.device == name));
        if same { Ok(()) } else { Err(FaultKind::Device) }
    }

    fn as_head(&self, point: Point) -> Head {
        Head { device: self.report.device.clone(), seq: point.seq, chain: hex::encode(point.chain) }
    }

    fn fault(mut self, kind: FaultKind) -> Report {
        self.report.fault = Some(Fault { line: self.report.lines + 1, kind });
        self.finish()
    }

    fn end(mut self) -> Report {
        if let Some(head) = self.head
            && self.report.head_found.is_none()
            && (self.report.lines == 0 || head.seq > self.at.seq)
        {
            self.report.head_found = Some(false);
            return self.fault(FaultKind::Truncated);
        }
        if self.report.lines == 0 {
            return self.fault(FaultKind::NoOpening);
        }
        if self.sign_next && !self.options.keys.is_empty() {
            return self.fault(FaultKind::NoCheckpoint);
        }
        self.finish()
    }

    fn finish(mut self) -> Report {
        if self.report.lines > 0 {
            self.report.last = Some(self.as_head(self.at));
        }
        let device = self.report.device.clone();
        if let Some(follows) = &mut self.report.follows {
            follows.device = device;
        }
        self.report.unproved = self.unproved();
        self.report
    }

    fn unproved(&self) -> Vec<Unproved> {
        let author = self.options.keys.is_empty().then_some(Unproved::Author);
        let whole = (self.report.head_found != Some(true)).then_some(Unproved::Whole);
        let follows = self.report.follows.clone().filter(|f| f.seq > 0 && self.options.previous.is_none());
        let tail = self.report.uncovered;
        [author, whole, follows.map(Unproved::Beginning), (tail > 0).then_some(Unproved::Tail(tail))]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Members of our own line types.
#[derive(serde::Deserialize)]
struct Members {
    device: String,
    #[serde(default)]
    key: String,
    reason: Option<String>,
}

impl Members {
    fn read(line: &Line<'_>) -> Result<Members, FaultKind> {
        let mut text = line.body.to_vec();
        text.push(b'}');
        serde_json::from_slice(&text).map_err(|_| FaultKind::Malformed)
    }
}
