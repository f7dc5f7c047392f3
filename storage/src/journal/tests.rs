use super::base::{self, BaseWriter};
use super::clean::Clean;
use super::frame::{self, Builder, Entry};
use super::fs::{Dir, RealDir};
use super::log::{self, Journal};
use super::segment::{Header, SEGMENT_MAGIC, segment_name};
use super::sim::{Image, SimDisk};
use super::writer::{Spare, Writer};
use crate::physical::{Error, Seq};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const ID: frame::JournalId = *b"a journal's name";

/// A journal of `segments` segments with `frames` frames each, all synced.
fn journal(dir: Arc<dyn Dir>, segments: u64, frames: u64) -> Writer {
    let mut w = Writer::new(dir.clone(), ID, 0, Default::default(), 1);
    let mut f = Builder::new();
    for s in 0..segments {
        w.advance(Spare::create(&*dir, s, 4096).unwrap()).unwrap();
        for n in 0..frames {
            f.clear();
            f.push(Entry::Put { key: b"key", value: &(s * frames + n).to_be_bytes() });
            f.push(Entry::Rider(b"told"));
            w.append(&mut f, true).unwrap();
        }
    }
    w
}

fn replayed(dir: &dyn Dir, after: Seq) -> Result<Vec<Seq>, Error> {
    let j = Journal::read(dir)?.expect("a journal");
    let mut seen = Vec::new();
    j.replay(dir, after, |f| {
        seen.push(f.seq);
        Ok(())
    })?;
    Ok(seen)
}

#[test]
fn what_is_written_is_replayed_in_order() {
    let disk = SimDisk::new();
    assert!(Journal::read(&disk).unwrap().is_none());
    journal(Arc::new(disk.clone()), 3, 5);
    assert_eq!(replayed(&disk, 0).unwrap(), (1..=15).collect::<Vec<_>>());
    assert_eq!(replayed(&disk, 7).unwrap(), (8..=15).collect::<Vec<_>>());
    assert!(matches!(replayed(&disk, 16), Err(Error::Corrupt(_))), "the index is ahead of the journal");
    disk.remove(&segment_name(1)).unwrap();
    assert_eq!(replayed(&disk, 5).unwrap(), (6..=15).collect::<Vec<_>>());
    assert!(matches!(replayed(&disk, 4), Err(Error::Corrupt(_))), "sequence 5 is gone");
    let j = Journal::read(&disk).unwrap().unwrap();
    let riders = log::riders(&disk, &j.segments, 12).unwrap();
    assert_eq!(riders.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [13, 14, 15]);
}

#[test]
fn a_frame_takes_one_write_and_one_sync() {
    let disk = SimDisk::new();
    let mut w = journal(Arc::new(disk.clone()), 1, 1);
    let before = disk.calls().len();
    let mut f = Builder::new();
    f.push(Entry::Delete { key: b"key" });
    w.append(&mut f, false).unwrap();
    assert_eq!(disk.calls()[before..], [super::sim::Call::Write, super::sim::Call::Sync]);
}

/// Any flipped bit is either in the last frame, which then counts as never written, or in unused
/// zeros, or it is noticed. After an orderly close the last frame is no exception.
#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    for clean in [false, true] {
        let pristine = SimDisk::new();
        let w = journal(Arc::new(pristine.clone()), 3, 4);
        if clean {
            let mark = Clean { id: ID, seq: 12, link: w.link(), released: 0 };
            mark.write(&pristine).unwrap();
        }
        let used = w.active().unwrap().end as usize;
        let last_frame = used - (used - 128) / 4;
        for number in 1..=3 {
            let end = if number == 3 { 4096 } else { used };
            for byte in 0..end {
                let disk = pristine.image(Image::Killed);
                disk.edit(&segment_name(number), |b| b[byte] ^= 1 << (byte % 8));
                let got = replayed(&disk, 0);
                let padding = (80..128).contains(&byte);
                let harmless = padding || byte >= used;
                let torn = number == 3 && (last_frame..used).contains(&byte) && !clean;
                match got {
                    Ok(seqs) if seqs.len() == 12 => assert!(harmless || is_padding(&disk, number, byte)),
                    Ok(seqs) => assert!(torn && seqs.len() == 11, "segment {number}, byte {byte}: {seqs:?}"),
                    Err(e) => assert!(matches!(e, Error::Corrupt(_)) && !harmless, "{number} {byte} {e}"),
                }
            }
        }
    }
}

/// Whether a byte lies between the end of a payload and the next frame.
fn is_padding(disk: &SimDisk, number: u64, byte: usize) -> bool {
    let file = Dir::open(disk, &segment_name(number)).unwrap();
    let mut at = super::segment::HEADER;
    loop {
        let mut head = [0; frame::HEADER];
        file.read_at(at as u64, &mut head).unwrap();
        let len = u32::from_le_bytes(head[4..8].try_into().unwrap()) as usize;
        let end = at + frame::HEADER + len;
        let next = end.next_multiple_of(frame::ALIGN);
        if len == 0 || byte < next {
            return byte >= end && byte < next;
        }
        at = next;
    }
}

/// A frame that checks by itself, has the sequence that belongs there, and continues another history:
/// each frame names the one before it, within a segment too.
#[test]
fn a_frame_of_another_history_is_noticed_within_a_segment() {
    let pristine = SimDisk::new();
    let w = journal(Arc::new(pristine.clone()), 1, 4);
    let size = (w.active().unwrap().end as usize - super::segment::HEADER) / 4;
    let name = segment_name(1);
    for n in 0..4_usize {
        let at = super::segment::HEADER + n * size;
        let disk = pristine.image(Image::Killed);
        let mut other = Builder::new();
        other.push(Entry::Put { key: b"key", value: &(n as u64 + 100).to_be_bytes() });
        other.push(Entry::Rider(b"told"));
        let bytes = other.seal(&ID, n as Seq + 1, &[9; 16]).0.to_vec();
        assert_eq!(bytes.len(), size, "it fits the place of the one that it takes");
        disk.edit(&name, |b| b[at..at + size].copy_from_slice(&bytes));
        assert!(matches!(replayed(&disk, 0), Err(Error::Corrupt(_))), "frame {n}: {:?}", replayed(&disk, 0));
    }
}

#[test]
fn a_swapped_or_missing_segment_is_noticed() {
    let disk = SimDisk::new();
    journal(Arc::new(disk.clone()), 3, 4);
    let swapped = disk.image(Image::Killed);
    swapped.rename(&segment_name(2), "held").unwrap();
    swapped.rename(&segment_name(3), &segment_name(2)).unwrap();
    swapped.rename("held", &segment_name(3)).unwrap();
    assert!(matches!(replayed(&swapped, 0), Err(Error::Corrupt(_))));
    let missing = disk.image(Image::Killed);
    missing.remove(&segment_name(2)).unwrap();
    assert!(matches!(replayed(&missing, 0), Err(Error::Corrupt(_))));
    let foreign = disk.image(Image::Killed);
    let header =
        Header { magic: SEGMENT_MAGIC, id: *b"another journal ", number: 4, seq: 13, before: [0; 16] };
    foreign.create(&segment_name(4)).unwrap().write_at(0, &header.encode()).unwrap();
    assert!(matches!(replayed(&foreign, 0), Err(Error::Corrupt(_))));
}

/// A valid frame behind a broken one cannot come from a power cut.
#[test]
fn damage_before_the_last_frame_is_no_torn_tail() {
    let disk = SimDisk::new();
    let w = journal(Arc::new(disk.clone()), 1, 4);
    let size = (w.active().unwrap().end as usize - 128) / 4;
    disk.edit(&segment_name(1), |b| b[128 + 2 * size..128 + 3 * size].fill(0));
    assert!(matches!(replayed(&disk, 0), Err(Error::Corrupt(_))));
    let disk = disk.image(Image::Killed);
    disk.edit(&segment_name(1), |b| b[128 + 3 * size..].fill(0));
    assert_eq!(replayed(&disk, 0).unwrap(), [1, 2], "both gone is what a shorter journal looks like");
}

/// A process that was killed, or gave up after a failed sync, may leave a frame in the page cache
/// only: what is replayed must be on the disk before anyone acts on it.
#[test]
fn what_was_replayed_survives_a_later_power_cut() {
    for sync_failed in [false, true] {
        let disk = SimDisk::new();
        let mut w = journal(Arc::new(disk.clone()), 1, 2);
        let mut f = Builder::new();
        f.push(Entry::Delete { key: b"key" });
        if sync_failed {
            disk.fail_after(1, std::io::ErrorKind::Other);
        } else {
            disk.cut_after(1);
        }
        assert!(w.append(&mut f, false).is_err());
        let killed = disk.image(Image::Killed);
        let mut j = Journal::read(&killed).unwrap().unwrap();
        assert_eq!(j.last, 3);
        j.settle(&killed).unwrap();
        assert_eq!(replayed(&killed.image(Image::Synced), 0).unwrap(), [1, 2, 3]);
    }
}

#[test]
fn a_base_comes_back_whole_or_not_at_all() {
    let disk = SimDisk::new();
    let mut b = BaseWriter::create(Arc::new(disk.clone()), ID, 77).unwrap();
    let records: BTreeMap<Vec<u8>, (Seq, Vec<u8>)> =
        (0..900u64).map(|n| (n.to_be_bytes().to_vec(), (n % 70, vec![n as u8; 1 + n as usize]))).collect();
    for (key, (rev, value)) in &records {
        b.record(*rev, key, value).unwrap();
    }
    let bytes = b.finish(5).unwrap();
    let name = super::segment::base_name(77);
    let load = |disk: &SimDisk, id| {
        let mut seen = BTreeMap::new();
        let base = base::read(disk, &name, id, |rev, key, value| {
            seen.insert(key.to_vec(), (rev, value.to_vec()));
            Ok(())
        })?;
        Ok::<_, Error>((base, seen))
    };
    let durable = disk.image(Image::Synced);
    let (base, seen) = load(&durable, &ID).unwrap();
    assert_eq!(seen, records);
    assert_eq!((base.seq, base.count, base.released, base.bytes), (77, 900, 5, bytes));
    assert!(load(&durable, b"another journal ").is_err());
    for cut in (0..bytes as usize).step_by(997) {
        let disk = durable.image(Image::Killed);
        disk.edit(&name, |b| b.truncate(cut));
        assert!(load(&disk, &ID).is_err(), "cut at {cut}");
        let disk = durable.image(Image::Killed);
        disk.edit(&name, |b| b[cut.max(128)] ^= 4);
        assert!(load(&disk, &ID).is_err() || cut % 8 >= 1, "flipped at {cut}");
    }
}

#[test]
fn the_real_directory_does_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    let dir: Arc<dyn Dir> = Arc::new(RealDir::open(&tmp.path().join("journal")).unwrap());
    let w = journal(dir.clone(), 3, 4);
    Clean { id: ID, seq: 12, link: w.link(), released: 4 }.write(&*dir).unwrap();
    let mut j = Journal::read(&*dir).unwrap().unwrap();
    assert!((j.clean, j.released, j.last) == (true, 4, 12));
    j.settle(&*dir).unwrap();
    assert_eq!(dir.open(&segment_name(3)).unwrap().len().unwrap(), j.segments[2].end);
    Clean::remove(&*dir).unwrap();
    assert_eq!(replayed(&*dir, 0).unwrap().len(), 12);
    assert!(dir.available().unwrap() > 0);
    use std::os::unix::fs::PermissionsExt;
    let mode = |p: &str| std::fs::metadata(tmp.path().join(p)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("journal"), mode("journal/00000001.seg")), (0o700, 0o600));
}

fn entry() -> impl Strategy<Value = (u8, Vec<u8>, Vec<u8>, u64)> {
    (
        1u8..=6,
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(any::<u8>(), 0..300),
        any::<u64>(),
    )
}

fn as_entry((kind, key, value, n): &(u8, Vec<u8>, Vec<u8>, u64)) -> Entry<'_> {
    match kind {
        1 => Entry::Put { key, value },
        2 => Entry::Delete { key },
        3 => Entry::Rider(value),
        4 => Entry::Release(*n),
        5 => Entry::Record { rev: *n, key, value },
        _ => Entry::End { count: *n, released: n / 2 },
    }
}

proptest! {
    #[test]
    fn frames_come_back(entries in prop::collection::vec(entry(), 1..20), seq: u64, before: [u8; 16]) {
        let mut b = Builder::new();
        for e in &entries {
            b.push(as_entry(e));
        }
        let (bytes, link) = b.seal(&ID, seq, &before);
        let bytes = bytes.to_vec();
        let f = frame::read(&bytes, &ID).expect("a frame");
        prop_assert_eq!((f.seq, f.before, f.link, f.size), (seq, before, link, bytes.len()));
        let got: Vec<_> = f.entries().map(|e| e.expect("an entry")).collect();
        prop_assert_eq!(got, entries.iter().map(as_entry).collect::<Vec<_>>());
        prop_assert!(frame::read(&bytes, b"another journal ").is_none());
        for cut in 0..bytes.len().saturating_sub(frame::ALIGN) {
            prop_assert!(frame::read(&bytes[..cut], &ID).is_none());
        }
    }

    #[test]
    fn noise_is_no_frame(mut noise in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(frame::read(&noise, &ID).is_none());
        let n = noise.len().min(4);
        noise[..n].copy_from_slice(&frame::MAGIC[..n]);
        prop_assert!(frame::read(&noise, &ID).is_none());
    }
}
