//! `seal/config`: what must be known before there is a key.

use crate::Error;
use crate::anchor::{hex, unhex};
use crate::barrier::Cipher;
use secmem::{SecretBytes, ct};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const VERSION: u32 = 1;

/// Which shares open the vault, and under which cipher. Readable to anyone who holds the store; authenticated by the
/// head once that can be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealConfig {
    version: u32,
    store_id: String,
    pub cipher: Cipher,
    pub shares: u8,
    pub threshold: u8,
    /// SHA-256 of each share, hex. Shares are uniformly random, so it tells nothing about them.
    share_hashes: Vec<String>,
}

impl SealConfig {
    pub fn new(
        store_id: Uuid,
        cipher: Cipher,
        threshold: u8,
        shares: &[SecretBytes],
    ) -> Result<SealConfig, Error> {
        let count = u8::try_from(shares.len()).map_err(|_| Error::Shares("too many"))?;
        let share_hashes = shares.iter().map(|share| hex(&hash(share.as_slice()))).collect();
        Ok(SealConfig {
            version: VERSION,
            store_id: store_id.to_string(),
            cipher,
            shares: count,
            threshold,
            share_hashes,
        })
    }

    pub fn store_id(&self) -> Result<Uuid, Error> {
        Uuid::parse_str(&self.store_id).map_err(|_| damaged())
    }

    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|_| damaged())
    }

    pub fn decode(bytes: &[u8]) -> Result<SealConfig, Error> {
        let config: SealConfig = serde_json::from_slice(bytes).map_err(|_| damaged())?;
        let whole = config.version == VERSION
            && usize::from(config.shares) == config.share_hashes.len()
            && config.share_hashes.iter().all(|h| unhex::<32>(h).is_some())
            && crate::shamir::check_counts(config.shares, config.threshold).is_ok();
        config.store_id()?;
        if whole { Ok(config) } else { Err(damaged()) }
    }

    /// Whether `share` is one of this vault's, in the same time whichever it is.
    pub fn knows(&self, share: &[u8]) -> bool {
        let hash = hash(share);
        let hashes = self.share_hashes.iter().filter_map(|h| unhex::<32>(h));
        hashes.fold(false, |known, h| known | ct::eq(&h, &hash))
    }
}

fn hash(share: &[u8]) -> [u8; 32] {
    Sha256::digest(share).into()
}

fn damaged() -> Error {
    Error::Integrity("the seal configuration is damaged".into())
}
