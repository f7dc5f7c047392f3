//! Where a device starts to write in a file, and what it has to say about what it found there.

use super::checkpoint::Signer;
use super::encode::Encoder;
use super::file::LogFile;
use super::tail::{self, HeadFit, Point, Tail};
use super::writer::file_error;
use super::{AuditError, DeviceConfig};
use vault_logical::Timestamp;

/// The flag of a file that is empty though the device has written before.
pub(super) const NEW_FILE: &str = "new_file";

/// A place to go on from.
pub(super) struct Start {
    pub at: Point,
    /// Length of the file.
    pub len: u64,
    /// The file ended with a regular last checkpoint.
    pub clean: bool,
    /// Bodies to write before anything else.
    pub lines: Vec<Vec<u8>>,
    pub flags: Vec<&'static str>,
}

/// Judges the file's end against `expected` (the stored head, or the writer's own after a failure)
/// and cuts off a torn line. A file that is not ours is refused, unless the device is known: then
/// it stays as evidence and the chain goes on behind it.
pub(super) fn find(
    file: &dyn LogFile,
    config: &DeviceConfig,
    signer: &Signer,
    expected: Option<Point>,
    now: Timestamp,
) -> Result<Start, AuditError> {
    let failed = |e| file_error(config, e);
    let expected = expected.filter(|e| e.seq > 0);
    let found = tail::read(file, &config.name, expected).map_err(failed)?;
    let at = expected.unwrap_or(Point::START);
    let mut start = Start { at, len: 0, clean: false, lines: Vec::new(), flags: Vec::new() };
    let repair = |reason: &'static str, torn: u64, start: &mut Start| {
        let mut e = Encoder::new(config, "repair", now);
        e.text("device", &config.name);
        e.text("reason", reason);
        e.number_if("bytes", torn);
        if let Some(point) = expected {
            e.object("expected", |e| point_members(e, point));
        }
        start.lines.push(e.plain());
        start.flags.push(reason);
    };
    match found {
        Tail::Empty => {
            file.adopt().map_err(failed)?;
            file.truncate(0).map_err(failed)?;
            start.lines.push(open_line(config, signer, at, now));
            // A stream starts anew with every process.
            start.flags.extend(expected.filter(|_| config.file_path.is_absolute()).map(|_| NEW_FILE));
        }
        Tail::Lines { last, clean, torn, keep, head } => {
            file.adopt().map_err(failed)?;
            start.at = last;
            start.len = keep;
            start.clean = clean && torn == 0;
            if torn > 0 {
                file.truncate(keep).map_err(failed)?;
                repair("torn_line", torn, &mut start);
            }
            match head {
                HeadFit::Fits => {}
                HeadFit::Missing => repair("tail_missing", 0, &mut start),
                HeadFit::NotReached => start.flags.push("head_not_checked"),
            }
        }
        Tail::Foreign if expected.is_none() => {
            return Err(AuditError::Config(format!(
                "audit device {}: the file exists and is not an audit log of this device",
                config.name
            )));
        }
        Tail::Foreign => {
            file.adopt().map_err(failed)?;
            end_line(file).map_err(failed)?;
            start.len = file.len().map_err(failed)?;
            repair("foreign_tail", 0, &mut start);
        }
    }
    Ok(start)
}

/// The first line of every file: who writes, and which line it follows.
fn open_line(config: &DeviceConfig, signer: &Signer, previous: Point, now: Timestamp) -> Vec<u8> {
    let mut e = Encoder::new(config, "open", now);
    e.text("device", &config.name);
    e.text("public_key", &signer.public.to_string());
    e.object("previous", |e| point_members(e, previous));
    e.plain()
}

fn point_members(e: &mut Encoder<'_>, point: Point) {
    e.number("seq", point.seq);
    e.text("chain", &hex::encode(point.chain));
}

/// Ends an unfinished foreign line, so that ours begin on lines of their own.
fn end_line(file: &dyn LogFile) -> std::io::Result<()> {
    let len = file.len()?;
    let mut last = [b'\n'];
    if len > 0 {
        file.read_at(len - 1, &mut last)?;
    }
    if last != [b'\n'] {
        file.append(b"\n")?;
    }
    Ok(())
}
