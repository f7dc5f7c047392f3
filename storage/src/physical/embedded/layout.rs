//! The store's directory.
//!
//! ```text
//! <path>/LOCK                      locked while open
//! <path>/FORMAT                    "vaultd-storage 1 <backend>"
//! <path>/journal/                  see the journal's documentation
//! <path>/index.sled/ | index.redb  the index
//! ```

use crate::physical::{Error, Result};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const FORMAT_VERSION: &str = "1";

/// A store's directory, locked for this process.
pub(crate) struct Layout {
    root: PathBuf,
    /// Lets go of the lock when dropped.
    _lock: File,
}

impl Layout {
    /// Creates what is missing (directories with mode 0700) and takes the lock.
    pub(crate) fn open(root: &Path, backend: &str) -> Result<Self> {
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
        let temporary = self.root.join("FORMAT.tmp");
        let mut file = private().create(true).truncate(true).open(&temporary)?;
        file.write_all(format.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.root.join("FORMAT"))?;
        File::open(&self.root)?.sync_all()?;
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
