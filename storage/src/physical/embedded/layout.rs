//! The store's directory.
//!
//! ```text
//! <path>/LOCK                      locked while open
//! <path>/FORMAT                    "vaultd-storage 1 <backend>"
//! <path>/before-format-N/          a copy from before the upgrade to format N
//! <path>/MOVED                     where a migration takes or took this store: it must not be
//!                                  written any more
//! <path>/INCOMPLETE                how far a migration into this store is
//! <path>/journal/                  see the journal's documentation
//! <path>/index.sled/ | index.redb  the index
//! ```

use crate::journal::fs::{RealDir, replace};
use crate::physical::{Error, Result};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const FORMAT_VERSION: u32 = 1;
/// Takes the files of a closed store from one version of the format to the next; may be cut and run again.
type Step = fn(&Path) -> Result<()>;
/// By the version that they start from. No version has changed the format yet.
const STEPS: &[(u32, Step)] = &[];
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
        let dir = RealDir::existing(&self.root)?;
        Ok(replace(&dir, name, &format!("{name}.tmp"), text.as_bytes())?)
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
        let want = line(FORMAT_VERSION, backend);
        match fs::read_to_string(&path) {
            Ok(have) if have == want => Ok(()),
            Ok(have) if (0..FORMAT_VERSION).any(|v| have == line(v, backend)) => {
                let older = (0..FORMAT_VERSION).find(|v| have == line(*v, backend)).unwrap_or_default();
                self.upgrade(backend, older..FORMAT_VERSION, STEPS)
            }
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

    /// Copies a store of an older format aside, whole, and then takes it step by step to this one. The copy is a store by
    /// itself, for the program that wrote it.
    fn upgrade(&self, backend: &str, versions: Range<u32>, steps: &[(u32, Step)]) -> Result<()> {
        let step = |v: u32| steps.iter().find(|(from, _)| *from == v).map(|(_, step)| (v, *step)).ok_or(v);
        let way: Vec<(u32, Step)> = versions.clone().map(step).collect::<Result<_, u32>>().map_err(|v| {
            Error::Backend(format!("{}: format {v} is older than this program upgrades", self.root.display()))
        })?;
        let aside = self.root.join(format!("before-format-{}", versions.end));
        if !aside.exists() {
            let part = self.root.join("before-format.tmp");
            super::check::remove_all(&part)?;
            copy_store(&self.root, &part, &self.index(backend))?;
            fs::rename(&part, &aside)?;
            File::open(&self.root)?.sync_all()?;
        }
        tracing::warn!(copy = %aside.display(), to = versions.end, "upgrading the store's format");
        for (v, step) in way {
            step(&self.root)?;
            self.leave("FORMAT", &line(v + 1, backend))?;
        }
        Ok(())
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

fn line(version: u32, backend: &str) -> String {
    format!("vaultd-storage {version} {backend}\n")
}

/// Copies FORMAT, journal and index, durably.
fn copy_store(from: &Path, to: &Path, index: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for path in [&from.join("FORMAT"), &from.join("journal"), index] {
        if let Some(name) = path.file_name().filter(|_| path.exists()) {
            copy_all(path, &to.join(name))?;
        }
    }
    Ok(File::open(to)?.sync_all()?)
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        fs::copy(from, to)?;
        return File::open(to)?.sync_all();
    }
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    File::open(to)?.sync_all()
}

/// Files only the daemon's user may read.
pub(crate) fn private() -> OpenOptions {
    let mut o = OpenOptions::new();
    o.read(true).write(true).mode(0o600);
    o
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds the name of the step to the journal's only file.
    fn mark(root: &Path, mark: &str) -> Result<()> {
        let file = root.join("journal/a");
        let mut text = fs::read_to_string(&file)?;
        if !text.ends_with(mark) {
            text.push_str(mark);
        }
        Ok(fs::write(file, text)?)
    }

    #[test]
    fn an_upgrade_copies_the_store_aside_first_and_can_be_cut() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open_any(dir.path(), "redb").unwrap();
        fs::create_dir(layout.journal()).unwrap();
        fs::write(dir.path().join("journal/a"), "old").unwrap();
        fs::write(layout.index("redb"), "index").unwrap();
        let text = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let cut: &[(u32, Step)] = &[(1, |root| mark(root, "+1")), (2, |_| Err(Error::Full))];
        let whole: &[(u32, Step)] = &[(1, |root| mark(root, "+1")), (2, |root| mark(root, "+2"))];
        assert!(layout.upgrade("redb", 1..3, &whole[..1]).is_err());
        assert_eq!((text("journal/a"), text("FORMAT")), ("old".into(), line(1, "redb")), "no way, no step");
        assert!(matches!(layout.upgrade("redb", 1..3, cut), Err(Error::Full)));
        assert_eq!((text("journal/a"), text("FORMAT")), ("old+1".into(), line(2, "redb")));
        layout.upgrade("redb", 2..3, whole).unwrap();
        assert_eq!((text("journal/a"), text("FORMAT")), ("old+1+2".into(), line(3, "redb")));
        // The copy is the store of before, which the program of then opens.
        for (name, content) in [("journal/a", "old"), ("index.redb", "index"), ("FORMAT", &line(1, "redb"))] {
            assert_eq!(text(&format!("before-format-3/{name}")), content);
        }
    }

    #[test]
    fn a_format_without_an_upgrade_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Layout::open_any(dir.path(), "redb").unwrap());
        for other in ["vaultd-storage 0 redb\n", "vaultd-storage 2 redb\n", "vaultd-storage 1 sled\n", ""] {
            fs::write(dir.path().join("FORMAT"), other).unwrap();
            assert!(matches!(Layout::open_any(dir.path(), "redb"), Err(Error::Backend(_))), "{other:?}");
        }
    }
}
