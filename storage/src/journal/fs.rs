//! The few file system calls durability rests on, as traits, so that tests can cut the power
//! at each of them.

use crate::descriptors::reserved;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes zeroed in one write.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// One open file.
pub(crate) trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    fn len(&self) -> io::Result<u64>;
    /// Makes the file `len` bytes of zeros on disk, so that writing there needs no more space.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// `fdatasync`: contents, and the length if it changed.
    fn sync(&self) -> io::Result<()>;
}

/// One directory. Names only; nothing below or above it is reachable.
pub(crate) trait Dir: Send + Sync {
    /// A new file; an error when it exists.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    fn list(&self) -> io::Result<Vec<String>>;
    /// Replaces `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// `fsync` of the directory: creations, renames and removals.
    fn sync(&self) -> io::Result<()>;
    /// Free bytes of the file system for this process.
    fn available(&self) -> io::Result<u64>;
}

/// Puts a new file in the place of the one called `name`: whole, and on the disk when this returns. After
/// a power cut there is the old one or the new one. `temporary` is its name until then; what is left of
/// an earlier attempt goes, and a link there is not followed.
pub(crate) fn replace(dir: &dyn Dir, name: &str, temporary: &str, bytes: &[u8]) -> io::Result<()> {
    match dir.remove(temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = dir.create(temporary)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    drop(file);
    dir.rename(temporary, name)?;
    dir.sync()
}

/// A directory of the real file system.
pub(crate) struct RealDir {
    path: PathBuf,
    handle: fs::File,
}

impl RealDir {
    /// Opens the directory, created with mode 0700 (and synced into its parent) if missing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {
                if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                    reserved(|| fs::File::open(parent))?.sync_all()?;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        Self::existing(path)
    }

    /// Opens a directory that is there.
    pub(crate) fn existing(path: &Path) -> io::Result<Self> {
        Ok(RealDir { path: path.to_path_buf(), handle: reserved(|| fs::File::open(path))? })
    }
}

fn options() -> fs::OpenOptions {
    let mut o = fs::OpenOptions::new();
    o.read(true).write(true).mode(0o600).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    o
}

impl Dir for RealDir {
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = self.path.join(name);
        Ok(Box::new(RealFile(reserved(|| options().create_new(true).open(&path))?)))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = self.path.join(name);
        Ok(Box::new(RealFile(reserved(|| options().open(&path))?)))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in reserved(|| fs::read_dir(&self.path))? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
    fn available(&self) -> io::Result<u64> {
        let s = nix::sys::statvfs::fstatvfs(&self.handle)?;
        Ok((s.blocks_available() as u64).saturating_mul(s.fragment_size() as u64))
    }
}

struct RealFile(fs::File);

impl File for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|r| !r.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        let size = i64::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match nix::fcntl::fallocate(&self.0, nix::fcntl::FallocateFlags::empty(), 0, size) {
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
        // Written out, not only reserved: a later sync then has no block mapping to store, and
        // file systems that cannot reserve still say now when there is no space.
        let mut at = 0;
        while at < len {
            let n = ZEROS.len().min(usize::try_from(len - at).unwrap_or(ZEROS.len()));
            self.0.write_all_at(ZEROS.get(..n).unwrap_or_default(), at)?;
            at += n as u64;
        }
        Ok(())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
