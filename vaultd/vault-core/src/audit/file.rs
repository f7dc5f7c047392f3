//! Audit files: where they may lie, and the few calls made on them.

use super::config::{DISCARD, STDOUT};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use storage::descriptors::reserved;

/// Device and inode.
pub(super) type FileId = (u64, u64);

/// An open log. Appends are made under the device's lock only.
pub(super) trait LogFile: Send + Sync {
    /// One `write(2)` at the end of the file; may be short.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Length in bytes; an error once the file has no name any more.
    fn len(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Makes a file that was found to be ours private: 0600. Nothing before this changes a file.
    fn adopt(&self) -> io::Result<()> {
        Ok(())
    }
    /// `fdatasync(2)`.
    fn sync(&self) -> io::Result<()>;
    fn id(&self) -> FileId;
}

/// What opens logs.
pub(super) trait Files: Send + Sync {
    fn open(&self, path: &Path) -> Result<Arc<dyn LogFile>, io::Error>;
    /// What `path` names now, without following a link.
    fn id(&self, path: &Path) -> Option<FileId>;
}

/// Files below the configured audit directories, but none where the vault's own files lie.
pub(super) struct AuditDirs {
    pub dirs: Vec<PathBuf>,
    pub own: Vec<PathBuf>,
}

impl AuditDirs {
    /// The audit directory that `path` lies in and the names from there to the file.
    fn place(&self, path: &Path) -> io::Result<(PathBuf, PathBuf)> {
        if path.components().any(|c| !matches!(c, Component::RootDir | Component::Normal(_))) {
            return Err(refused("the path has relative components"));
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(refused("the path does not name a file"));
        };
        let parent = parent.canonicalize()?;
        self.not_ours(&parent.join(name))?;
        for dir in &self.dirs {
            let Ok(dir) = dir.canonicalize() else { continue };
            if let Ok(below) = parent.strip_prefix(&dir) {
                return Ok((dir.clone(), below.join(name)));
            }
        }
        Err(refused("the file is not in one of the configured audit_dirs"))
    }

    /// Refuses what is one of the vault's own places or below one. Compared by name, as a place
    /// may not be there at the moment, and by what the names lead to, as one place may have two.
    fn not_ours(&self, file: &Path) -> io::Result<()> {
        let steps: Vec<FileId> = file.ancestors().filter_map(named).collect();
        for own in &self.own {
            let resolved = own.canonicalize().or_else(|_| match (own.parent(), own.file_name()) {
                (Some(parent), Some(name)) => parent.canonicalize().map(|p| p.join(name)),
                _ => Ok(own.clone()),
            });
            let below = file.starts_with(own) || resolved.is_ok_and(|own| file.starts_with(own));
            if below || named(own).is_some_and(|id| steps.contains(&id)) {
                return Err(refused(
                    "that is where the vault's own files lie (store, anchor, config or keys)",
                ));
            }
        }
        Ok(())
    }
}

/// What a name leads to, links followed.
fn named(path: &Path) -> Option<FileId> {
    path.metadata().ok().map(|m| (m.dev(), m.ino()))
}

impl Files for AuditDirs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        if path == Path::new(DISCARD) {
            return Ok(Arc::new(Discard(AtomicU64::new(0))));
        }
        if path == Path::new(STDOUT) {
            return Stdout::open();
        }
        let (dir, below) = self.place(path)?;
        let mut at = reserved(|| File::open(&dir))?;
        let mut names: Vec<&OsStr> = below.iter().collect();
        let name = names.pop().ok_or_else(|| refused("the path does not name a file"))?;
        // Each step without following links: what was canonical above may have changed since.
        let walk = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        for step in names {
            at = reserved(|| Ok(File::from(openat(&at, step, walk, Mode::empty())?)))?;
        }
        // O_NONBLOCK so that a FIFO in the file's place is refused instead of waited for.
        let create = OFlag::O_RDWR
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_CLOEXEC;
        let file = reserved(|| Ok(File::from(openat(&at, name, create, Mode::S_IRUSR | Mode::S_IWUSR)?)))?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(refused("not a regular file"));
        }
        if about.nlink() != 1 {
            return Err(refused("the file has more than one name"));
        }
        file.try_lock().map_err(|_| io::Error::new(ErrorKind::ResourceBusy, "the file is in use"))?;
        at.sync_all()?;
        Ok(Arc::new(Log { id: (about.dev(), about.ino()), file }))
    }

    fn id(&self, path: &Path) -> Option<FileId> {
        if [STDOUT, DISCARD].iter().any(|word| path == Path::new(word)) {
            return Some(NO_FILE);
        }
        path.symlink_metadata().ok().map(|m| (m.dev(), m.ino()))
    }
}

struct Log {
    file: File,
    id: FileId,
}

impl LogFile for Log {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.file).write(bytes)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        let about = self.file.metadata()?;
        if about.nlink() == 0 { Err(refused("the file was removed")) } else { Ok(about.len()) }
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
    fn adopt(&self) -> io::Result<()> {
        if self.file.metadata()?.mode() & 0o7777 != 0o600 {
            self.file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn id(&self) -> FileId {
        self.id
    }
}

/// The identity of what is no file.
const NO_FILE: FileId = (0, 0);

/// The daemon's standard output: whoever collects it keeps the log.
struct Stdout {
    out: File,
    written: AtomicU64,
}

/// One device at a time: two chains in one stream could not be told apart.
static STDOUT_TAKEN: AtomicBool = AtomicBool::new(false);

impl Stdout {
    fn open() -> io::Result<Arc<dyn LogFile>> {
        // A handle of its own: unbuffered, so that a write returns when the reader's pipe has it.
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        if STDOUT_TAKEN.swap(true, Ordering::AcqRel) {
            return Err(io::Error::new(ErrorKind::ResourceBusy, "another device writes to stdout"));
        }
        Ok(Arc::new(Stdout { out, written: AtomicU64::new(0) }))
    }
}

impl Drop for Stdout {
    fn drop(&mut self) {
        STDOUT_TAKEN.store(false, Ordering::Release);
    }
}

impl LogFile for Stdout {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let n = (&self.out).write(bytes)?;
        self.written.fetch_add(n as u64, Ordering::AcqRel);
        Ok(n)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        if self.len()? == len {
            return Ok(());
        }
        // What is out stays out; at least the next line begins on its own.
        let _ = (&self.out).write(b"\n");
        Err(ErrorKind::Unsupported.into())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.load(Ordering::Acquire))
    }
    fn read_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() { Ok(()) } else { Err(ErrorKind::Unsupported.into()) }
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn id(&self) -> FileId {
        NO_FILE
    }
}

/// Keeps nothing but the length.
struct Discard(AtomicU64);

impl LogFile for Discard {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        Ok(bytes.len())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.store(len, Ordering::Release);
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Acquire))
    }
    fn read_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() { Ok(()) } else { Err(ErrorKind::Unsupported.into()) }
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn id(&self) -> FileId {
        NO_FILE
    }
}

fn refused(text: &'static str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, text)
}
