//! The file itself: written once, read from start to end.

use crate::Error;
use crate::head::verify::Scan;
use crate::limits::{MAX_KEY_BYTES, MAX_SNAPSHOT_MANIFEST, SNAPSHOT_BUFFER};
use crate::physical::{Key, MAX_TXN_BYTES, Record};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"VLTDSNAP";
/// Of snapshot files; a reader refuses what is newer.
const FORMAT: u32 = 1;
/// In place of a key's length: there is no further record.
const END: u32 = u32::MAX;

/// What a snapshot says of itself in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The vault it is of.
    pub store_id: String,
    /// The store's sequence and epoch at that moment.
    pub sequence: u64,
    /// See `sequence`.
    pub epoch: u64,
    /// Unix seconds.
    pub created: i64,
    /// How many shares there were, and how many restore it.
    pub shares: u8,
    /// See `shares`.
    pub threshold: u8,
    /// `sled`, `redb`, `memory`: where it was taken; it is restored on any of them.
    pub backend: String,
    /// Of the program that wrote it.
    pub version: String,
}

/// A whole file, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Records in it, the store's own bookkeeping included.
    pub records: u64,
    /// Of the file.
    pub bytes: u64,
    /// SHA-256 over all of it but the hash itself.
    pub sha256: [u8; 32],
}

pub fn damaged(path: &Path, why: &str) -> Error {
    Error::Integrity(format!("{}: {why}", path.display()))
}

pub fn io_error(path: &Path, source: io::Error) -> Error {
    Error::SnapshotFile { path: path.display().to_string(), source }
}

/// Writes a snapshot beside its place and moves it there when it is whole. Dropped before, it leaves nothing.
pub struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    hash: Sha256,
    manifest: Manifest,
    records: u64,
    bytes: u64,
    done: bool,
}

impl Writer {
    pub fn create(path: &Path, manifest: Manifest) -> Result<Writer, Error> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".part");
        let temporary = PathBuf::from(temporary);
        let make = || {
            match fs::remove_file(&temporary) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)
        };
        let file = make().map_err(|e| io_error(&temporary, e))?;
        let text = serde_json::to_vec(&manifest).map_err(|e| Error::Worker(e.to_string()))?;
        let mut writer = Writer {
            path: path.to_owned(),
            temporary,
            out: BufWriter::with_capacity(SNAPSHOT_BUFFER, file),
            hash: Sha256::new(),
            manifest,
            records: 0,
            bytes: 0,
            done: false,
        };
        writer.put(&[&MAGIC, &FORMAT.to_be_bytes(), &(text.len() as u32).to_be_bytes(), &text])?;
        Ok(writer)
    }

    pub fn record(&mut self, key: &Key, value: &[u8]) -> Result<(), Error> {
        let key = key.as_bytes();
        self.records += 1;
        self.put(&[&(key.len() as u32).to_be_bytes(), &(value.len() as u32).to_be_bytes(), key, value])
    }

    /// Makes the file durable under its name.
    pub fn finish(mut self) -> Result<Summary, Error> {
        self.put(&[&END.to_be_bytes(), &self.records.to_be_bytes()])?;
        let sha256: [u8; 32] = self.hash.clone().finalize().into();
        let end = |writer: &mut Writer| {
            writer.out.write_all(&sha256)?;
            writer.out.flush()?;
            writer.out.get_ref().sync_all()?;
            fs::rename(&writer.temporary, &writer.path)?;
            sync_parent(&writer.path)
        };
        end(&mut self).map_err(|e| io_error(&self.path, e))?;
        self.done = true;
        Ok(Summary {
            manifest: self.manifest.clone(),
            records: self.records,
            bytes: self.bytes + sha256.len() as u64,
            sha256,
        })
    }

    fn put(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        for part in parts {
            self.hash.update(part);
            self.bytes += part.len() as u64;
            self.out.write_all(part).map_err(|e| io_error(&self.temporary, e))?;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.done {
            let _gone = fs::remove_file(&self.temporary);
        }
    }
}

pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Reads records in order; the end is reached only if the file is whole.
pub struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    hash: Sha256,
    pub manifest: Manifest,
    last: Option<Key>,
    records: u64,
    bytes: u64,
    end: Option<Summary>,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Reader, Error> {
        // A FIFO or a device would hang or never end.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open(path)
            .and_then(
                |f| if f.metadata()?.is_file() { Ok(f) } else { Err(io::ErrorKind::InvalidInput.into()) },
            )
            .map_err(|e| io_error(path, e))?;
        let nothing = Manifest {
            store_id: String::new(),
            sequence: 0,
            epoch: 0,
            created: 0,
            shares: 0,
            threshold: 0,
            backend: String::new(),
            version: String::new(),
        };
        let mut reader = Reader {
            path: path.to_owned(),
            input: BufReader::with_capacity(SNAPSHOT_BUFFER, file),
            hash: Sha256::new(),
            manifest: nothing,
            last: None,
            records: 0,
            bytes: 0,
            end: None,
        };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(reader.damaged("this is no snapshot of a vault"));
        }
        let format = reader.u32()?;
        if format != FORMAT {
            return Err(
                reader.damaged(&format!("format {format} is newer than this program reads ({FORMAT})"))
            );
        }
        let length = reader.u32()? as usize;
        if length > MAX_SNAPSHOT_MANIFEST {
            return Err(reader.damaged("its manifest is damaged"));
        }
        let text = reader.take(length)?;
        reader.manifest =
            serde_json::from_slice(&text).map_err(|_| reader.damaged("its manifest is damaged"))?;
        Ok(reader)
    }

    /// The next record, `None` after the last one of a whole file.
    pub fn next(&mut self) -> Result<Option<(Key, Vec<u8>)>, Error> {
        if self.end.is_some() {
            return Ok(None);
        }
        let length = self.u32()?;
        if length == END {
            return self.finish().map(|()| None);
        }
        let value = self.u32()? as usize;
        if length as usize > MAX_KEY_BYTES || value > MAX_TXN_BYTES {
            return Err(self.damaged("a record has an impossible size"));
        }
        let key = Key::from_bytes(self.take(length as usize)?);
        let key = key.ok_or_else(|| self.damaged("a key is not made of whole segments"))?;
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(self.damaged("its records are not in order"));
        }
        let value = self.take(value)?;
        self.last = Some(key.clone());
        self.records += 1;
        Ok(Some((key, value)))
    }

    /// What was read, once the end was reached.
    pub fn summary(&self) -> Option<&Summary> {
        self.end.as_ref()
    }

    fn finish(&mut self) -> Result<(), Error> {
        let count = self.take(8)?;
        if count != self.records.to_be_bytes() {
            return Err(self.damaged("records are missing"));
        }
        let want: [u8; 32] = self.hash.clone().finalize().into();
        let said = self.take(want.len())?;
        let mut more = [0; 1];
        let rest = self.input.read(&mut more).map_err(|e| io_error(&self.path, e))?;
        if said != want || rest != 0 {
            return Err(self.damaged("it is not as it was written"));
        }
        self.end = Some(Summary {
            manifest: self.manifest.clone(),
            records: self.records,
            bytes: self.bytes,
            sha256: want,
        });
        Ok(())
    }

    fn take(&mut self, n: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; n];
        self.input.read_exact(&mut bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it is cut short"),
            _ => io_error(&self.path, e),
        })?;
        self.hash.update(&bytes);
        self.bytes += n as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    }

    fn damaged(&self, why: &str) -> Error {
        damaged(&self.path, why)
    }
}

/// Reads a snapshot to its end and says what it is. Without keys nothing is known of what its records say.
pub fn inspect(path: &Path) -> Result<Summary, Error> {
    let mut reader = Reader::open(path)?;
    while reader.next()?.is_some() {}
    reader.summary().cloned().ok_or_else(|| damaged(path, "it has no end"))
}

/// Copies a snapshot to where nothing stands, durably, if it is whole; in place only when it is.
pub fn copy_whole(from: &Path, to: &Path) -> Result<Summary, Error> {
    let mut reader = Reader::open(from)?;
    let mut writer = Writer::create(to, reader.manifest.clone())?;
    while let Some((key, value)) = reader.next()? {
        writer.record(&key, &value)?;
    }
    writer.finish()
}

/// The records of a file, as [`Scan`]: meant to be read in order.
pub struct FileScan {
    path: PathBuf,
    at: Mutex<Option<(Vec<u8>, Reader)>>,
}

impl FileScan {
    pub fn new(path: &Path) -> FileScan {
        FileScan { path: path.to_owned(), at: Mutex::new(None) }
    }
}

#[async_trait]
impl Scan for FileScan {
    /// Blocks: to be called on a thread of its own.
    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Key, Record)>, Error> {
        let mut slot = self.at.lock();
        let go_on = slot.take().filter(|(last, _)| after == Some(last.as_slice()));
        let mut reader = match go_on {
            Some((_, reader)) => reader,
            None => Reader::open(&self.path)?,
        };
        let mut found: Vec<(Key, Record)> = Vec::new();
        while found.len() < limit {
            let Some((key, value)) = reader.next()? else { return Ok(found) };
            if after.is_some_and(|after| key.as_bytes() <= after) {
                continue;
            }
            if key.as_bytes().starts_with(prefix) {
                found.push((key, Record { rev: 0, value }));
            } else if key.as_bytes() > prefix {
                return Ok(found);
            }
        }
        if let Some((last, _)) = found.last() {
            *slot = Some((last.as_bytes().to_vec(), reader));
        }
        Ok(found)
    }
}
