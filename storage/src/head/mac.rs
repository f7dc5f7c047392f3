//! The uses of the index key: keyed hashes that never leave the barrier in clear, apart from partition ids.

use crate::{Error, Space};
use hmac::{Hmac, KeyInit, Mac};
use secmem::Key;
use sha2::Sha256;

/// Bytes of a keyed hash.
pub const MAC_BYTES: usize = 32;
/// Bytes of a partition's id in storage keys.
pub const PARTITION_ID_BYTES: usize = 16;

/// What a hash is for, so that none can stand for another.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Use {
    /// A record's term in its partition's sum.
    Term = 1,
    /// The first segment of a partition's storage keys.
    Partition = 2,
    /// Which fence record a folder takes.
    Fence = 3,
    /// The anchor file.
    Anchor = 4,
}

/// HMAC-SHA-256 of the use and the parts, which must be of fixed length or carry their length; call it on an arena stack.
pub fn mac(key: &[u8], what: Use, parts: &[&[u8]]) -> Result<[u8; MAC_BYTES], Error> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::NoKey("index key"))?;
    mac.update(&[what as u8]);
    for part in parts {
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().into())
}

/// The id of a partition: stable, and telling nothing about namespace or mount.
pub fn partition_id(index_key: &Key, space: Space) -> Result<[u8; PARTITION_ID_BYTES], Error> {
    let full = index_key.attempt(|key| mac(key, Use::Partition, &[&space.to_bytes()]))??;
    let mut id = [0; PARTITION_ID_BYTES];
    for (to, from) in id.iter_mut().zip(full) {
        *to = from;
    }
    Ok(id)
}

/// The stripe of a folder's fence, below `stripes`.
pub fn fence_stripe(index_key: &Key, space: Space, dir: &str, stripes: u32) -> Result<u32, Error> {
    let full = index_key.attempt(|key| mac(key, Use::Fence, &[&space.to_bytes(), dir.as_bytes()]))??;
    let head = full.first_chunk().map_or(0, |c| u32::from_be_bytes(*c));
    Ok(head % stripes.max(1))
}
