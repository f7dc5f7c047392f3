//! Audit files: where they may lie, and the few calls made on them.

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

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

/// Files below the configured audit directories.
pub(super) struct AuditDirs(pub Vec<PathBuf>);

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
        for dir in &self.0 {
            let Ok(dir) = dir.canonicalize() else { continue };
            if let Ok(below) = parent.strip_prefix(&dir) {
                return Ok((dir.clone(), below.join(name)));
            }
        }
        Err(refused("the file is not in one of the configured audit_dirs"))
    }
}

impl Files for AuditDirs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let (dir, below) = self.place(path)?;
        let mut at = File::open(&dir)?;
        let mut names: Vec<&OsStr> = below.iter().collect();
        let name = names.pop().ok_or_else(|| refused("the path does not name a file"))?;
        // Each step without following links: what was canonical above may have changed since.
        let walk = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        for step in names {
            at = File::from(openat(&at, step, walk, Mode::empty())?);
        }
        // O_NONBLOCK so that a FIFO in the file's place is refused instead of waited for.
        let create = OFlag::O_RDWR
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_CLOEXEC;
        let file = File::from(openat(&at, name, create, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(refused("not a regular file"));
        }
        if about.nlink() != 1 {
            return Err(refused("the file has more than one name"));
        }
        if about.mode() & 0o7777 != 0o600 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        file.try_lock().map_err(|_| io::Error::new(ErrorKind::ResourceBusy, "the file is in use"))?;
        at.sync_all()?;
        Ok(Arc::new(Log { id: (about.dev(), about.ino()), file }))
    }

    fn id(&self, path: &Path) -> Option<FileId> {
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
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn id(&self) -> FileId {
        self.id
    }
}

fn refused(text: &'static str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, text)
}
