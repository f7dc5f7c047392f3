//! Which directory below the configured path holds the store.
//!
//! At first it is the path itself. A restore builds a whole store of its own in `store-<n>` and makes it the one in
//! force by one atomic write of `CURRENT`; what it replaced stays until the restored store was opened and checked.

use super::{Error, Result};
use crate::journal::fs::{RealDir, replace};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const CURRENT: &str = "CURRENT";
const PREFIX: &str = "store-";
/// In `FORMAT` of a path whose store lies elsewhere: programs before this one refuse it.
const FORWARDED: &str = "vaultd-storage 2 see CURRENT\n";
/// Left in a restored store until it was opened and checked.
const RESTORED: &str = "RESTORED";

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Where the store of `root` is.
pub(crate) fn of(root: &Path) -> Result<PathBuf> {
    match fs::read_to_string(root.join(CURRENT)) {
        Ok(text) if number(text.trim_end()).is_some() => Ok(root.join(text.trim_end())),
        Ok(_) => Err(Error::Corrupt(format!("{}: CURRENT names no store", root.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(root.to_owned()),
        Err(e) => Err(e.into()),
    }
}

/// A place for a new store, after what an interrupted restore left is removed.
pub(crate) fn fresh(root: &Path) -> Result<PathBuf> {
    let current = of(root)?;
    let mut highest = 0;
    for (n, path) in stores(root)? {
        highest = highest.max(n);
        if path != current && !path.join(RESTORED).exists() {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(root.join(format!("{PREFIX}{}", highest + 1)))
}

fn stores(root: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if let Some(n) = entry.file_name().to_str().and_then(number) {
            found.push((n, entry.path()));
        }
    }
    Ok(found)
}

/// Makes the closed, whole store at `home` the one of `root`: afterwards it is, before it was not.
pub(crate) fn switch(root: &Path, home: &Path) -> Result<()> {
    let name = home.file_name().and_then(|n| n.to_str()).filter(|n| number(n).is_some());
    let name = name.ok_or_else(|| Error::Backend("a store cannot be moved there".into()))?;
    leave(home, RESTORED, "")?;
    leave(root, CURRENT, &format!("{name}\n"))?;
    leave(root, "FORMAT", FORWARDED)
}

/// Whether the store of `root` was restored and not opened and checked since.
pub(crate) fn is_unproven(root: &Path) -> Result<bool> {
    let home = of(root)?;
    Ok(home != root && home.join(RESTORED).exists())
}

/// The store in force was opened and checked: what it replaced goes.
pub(crate) fn proven(root: &Path) -> Result<()> {
    let home = of(root)?;
    if home == root {
        return Ok(());
    }
    remove(&home.join(RESTORED))?;
    File::open(&home)?.sync_all()?;
    for (_, path) in stores(root)?.into_iter().filter(|(_, path)| *path != home) {
        fs::remove_dir_all(path)?;
    }
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == "journal" || name.starts_with("index.") {
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(File::open(root)?.sync_all()?)
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn leave(dir: &Path, name: &str, text: &str) -> Result<()> {
    Ok(replace(&RealDir::existing(dir)?, name, &format!("{name}.new"), text.as_bytes())?)
}
