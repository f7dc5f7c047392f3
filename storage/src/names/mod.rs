//! Names: each segment of a path becomes an opaque segment of a storage key.
//!
//! A segment is its length (16 bits), its bytes and zeros up to a size class, under AES-256-SIV (RFC 5297) with the
//! space and the encrypted path above it as associated data: equal names in different folders look different, and a
//! name moved to another folder does not decrypt. Storage order carries no meaning.

mod cache;
mod segment;
#[cfg(test)]
mod tests;

use crate::head::mac;
use crate::limits::{FENCE_STRIPES, MAX_PATH_BYTES, MAX_PATH_SEGMENTS};
use crate::physical::{Child, Key as StorageKey};
use crate::{Error, Space};
use cache::Cache;
use secmem::Key;
use segment::{MAX_NAME_BYTES, Siv};

/// The clear segment below a partition that holds its fence records. Names are never this short.
const FENCES: &[u8] = b"f";

/// A child of a folder, by its plaintext name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub record: bool,
    pub folder: bool,
}

/// Turns paths into storage keys and back.
pub struct Names {
    name_key: Key,
    index_key: Key,
    cache: Cache,
}

impl Names {
    pub fn new(name_key: Key, index_key: Key) -> Names {
        Names { name_key, index_key, cache: Cache::new() }
    }

    /// The storage key of a record: one encryption when its folder is cached.
    pub fn record(&self, space: Space, path: &str) -> Result<StorageKey, Error> {
        check(path)?;
        let (dir, leaf) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.folder_key(space, dir)?;
        self.below(space, folder, [leaf].into_iter())
    }

    /// The storage key of a folder; `dir` with or without a trailing slash, empty for the partition's root.
    pub fn folder(&self, space: Space, dir: &str) -> Result<StorageKey, Error> {
        let dir = folder_path(dir)?;
        self.folder_key(space, dir)
    }

    /// The storage key and the authenticated path of a folder's fence record.
    pub fn fence(&self, space: Space, dir: &str) -> Result<(StorageKey, [u8; 4]), Error> {
        let dir = folder_path(dir)?;
        let stripe = mac::fence_stripe(&self.index_key, space, dir, FENCE_STRIPES)?.to_be_bytes();
        Ok((self.folder_key(space, "")?.join(FENCES).join(&stripe), stripe))
    }

    /// The names of a folder's children, in the order given. Fences are left out.
    pub fn open(&self, space: Space, folder: &StorageKey, children: &[Child]) -> Result<Vec<Named>, Error> {
        let opened: Option<Vec<Named>> = self.name_key.attempt(|key| {
            let mut siv = Siv::new(key)?;
            let mut names = Vec::with_capacity(children.len());
            for child in children.iter().filter(|c| c.segment != FENCES) {
                let name = siv.open(space, folder.as_bytes(), &child.segment)?;
                names.push(Named { name, record: child.record, folder: child.folder });
            }
            Some(names)
        })?;
        opened.ok_or_else(|| Error::Integrity(format!("a name in {space} is not what was written")))
    }

    /// Forgets every cached folder.
    pub fn clear(&self) {
        self.cache.clear();
    }

    /// `dir` without a trailing slash.
    fn folder_key(&self, space: Space, dir: &str) -> Result<StorageKey, Error> {
        if let Some(key) = self.cache.get(space, dir) {
            return Ok(key);
        }
        let key = if dir.is_empty() {
            crate::head::boot::partition(&mac::partition_id(&self.index_key, space)?)
        } else {
            // The nearest cached folder above, then one encryption for each segment below it.
            let (mut above, mut missing) = (dir, Vec::new());
            let start = loop {
                let (parent, leaf) = above.rsplit_once('/').unwrap_or(("", above));
                missing.push(leaf);
                if parent.is_empty() {
                    break self.folder_key(space, "")?;
                }
                if let Some(key) = self.cache.get(space, parent) {
                    break key;
                }
                above = parent;
            };
            self.below(space, start, missing.into_iter().rev())?
        };
        self.cache.put(space, dir, &key);
        Ok(key)
    }

    fn below<'a>(
        &self,
        space: Space,
        start: StorageKey,
        segments: impl Iterator<Item = &'a str>,
    ) -> Result<StorageKey, Error> {
        let sealed = self.name_key.attempt(|key| {
            let mut siv = Siv::new(key)?;
            let mut folder = start;
            for segment in segments {
                let sealed = siv.seal(space, folder.as_bytes(), segment.as_bytes())?;
                folder = folder.join(&sealed);
            }
            Some(folder)
        })?;
        sealed.ok_or(Error::Path("a segment is too long"))
    }
}

/// A record's path: segments of 1 to [`MAX_NAME_BYTES`] bytes between single slashes.
fn check(path: &str) -> Result<(), Error> {
    if path.is_empty() {
        return Err(Error::Path("it is empty"));
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(Error::Path("it is too long"));
    }
    let mut segments = 0;
    for segment in path.split('/') {
        segments += 1;
        if segment.is_empty() {
            return Err(Error::Path("it has an empty segment"));
        }
        if segment.len() > MAX_NAME_BYTES {
            return Err(Error::Path("a segment is too long"));
        }
    }
    if segments > MAX_PATH_SEGMENTS {
        return Err(Error::Path("it has too many segments"));
    }
    Ok(())
}

fn folder_path(dir: &str) -> Result<&str, Error> {
    let dir = dir.strip_suffix('/').unwrap_or(dir);
    if !dir.is_empty() {
        check(dir)?;
    }
    Ok(dir)
}
