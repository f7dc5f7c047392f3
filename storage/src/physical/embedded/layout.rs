//! The store's directory.
//!
//! ```text
//! <path>/LOCK                      locked while open
//! <path>/FORMAT                    "vaultd-storage 1 <backend>"
//! <path>/MOVED                     where a migration takes or took this store: it must not be
//!                                  written any more
//! <path>/INCOMPLETE                how far a migration into this store is
//! <path>/journal/                  see the journal's documentation
//! <path>/index.sled/ | index.redb  the index
//! ```

use crate::physical::{Error, Result};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const FORMAT_VERSION: &str = "1";
pub(crate) const MOVED: &str = "MOVED";
pub(crate) const INCOMPLETE: &str = "INCOMPLETE";

/// A store's directory, locked for this process.
pub(crate) struct Layout {
    root: PathBuf,
    /// Lets go of the lock when dropped.
    _lock: File,
}

impl Layout {
    /// Creates what is missing (directories with mode 0700) and takes the lock. Refuses a store
    /// that was moved away, or not wholly moved here.
    pub(crate) fn open(root: &Path, backend: &str) -> Result<Self> {
        let layout = Self::open_any(root, backend)?;
        if let Some(to) = layout.note(MOVED)? {
            return Err(Error::Backend(format!("{} was moved, or is being moved, to {to}", root.display())));
        }
        if layout.note(INCOMPLETE)?.is_some() {
            return Err(Error::Backend(format!(
                "{} is not complete: run the migration into it again",
                root.display()
            )));
        }
        Ok(layout)
    }

    /// As `open`, for the migration itself and for checks.
    pub(crate) fn open_any(root: &Path, backend: &str) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let lock = private().create(true).truncate(false).open(root.join("LOCK"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked),
            Err(TryLockError::Error(e)) => return Err(e.into()),
        }
        let layout = Layout { root: root.to_path_buf(), _lock: lock };
        layout.format(backend)?;
        Ok(layout)
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    pub(crate) fn index(&self, backend: &str) -> PathBuf {
        self.root.join(format!("index.{backend}"))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a note, if it is there.
    pub(crate) fn note(&self, name: &str) -> Result<Option<String>> {
        match fs::read_to_string(self.root.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Leaves a note, durably.
    pub(crate) fn leave(&self, name: &str, text: &str) -> Result<()> {
        let temporary = self.root.join(format!("{name}.tmp"));
        let mut file = private().create(true).truncate(true).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.root.join(name))?;
        Ok(File::open(&self.root)?.sync_all()?)
    }

    /// Takes a note away, durably.
    pub(crate) fn take(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.root.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(File::open(&self.root)?.sync_all()?),
        }
    }

    fn format(&self, backend: &str) -> Result<()> {
        let path = self.root.join("FORMAT");
        let want = format!("vaultd-storage {FORMAT_VERSION} {backend}\n");
        match fs::read_to_string(&path) {
            Ok(have) if have == want => Ok(()),
            Ok(have) => Err(Error::Backend(format!(
                "{} holds a store of another kind: FORMAT says {:?}, wanted {:?}",
                self.root.display(),
                have.trim_end(),
                want.trim_end()
            ))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.create(&want, backend),
            Err(e) => Err(e.into()),
        }
    }

    fn create(&self, format: &str, backend: &str) -> Result<()> {
        if self.journal().exists() || self.index(backend).exists() {
            return Err(Error::Corrupt(format!("{}: FORMAT is missing", self.root.display())));
        }
        self.leave("FORMAT", format)?;
        if let Some(parent) = self.root.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }
}

/// Files only the daemon's user may read.
pub(crate) fn private() -> OpenOptions {
    let mut o = OpenOptions::new();
    o.read(true).write(true).mode(0o600);
    o
}
