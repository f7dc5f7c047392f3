//! Riders: bytes made durable with a transaction, until they are somewhere else.

use super::Store;
use crate::barrier::{Label, Subject};
use crate::{Error, Space};
use secmem::Zeroizing;

impl Store {
    /// The riders not released yet, oldest first, each with the sequence of its transaction.
    pub async fn riders(&self) -> Result<Vec<(u64, Zeroizing<Vec<u8>>)>, Error> {
        let shared = self.shared();
        shared.check_open()?;
        let subject =
            Subject { store: shared.store_id, label: Label::Rider, space: Space::core(), path: &[] };
        let mut out = Vec::new();
        for (_, stored) in shared.physical.riders().await? {
            let mut rest = stored.as_slice();
            while !rest.is_empty() {
                let (one, others) = split(rest).ok_or_else(damaged)?;
                let (plain, seq) = shared.open(&subject, one.to_vec()).map_err(|e| match e {
                    Error::Integrity(_) => damaged(),
                    e => e,
                })?;
                out.push((seq, plain));
                rest = others;
            }
        }
        Ok(out)
    }

    /// The riders up to and including sequence `through` are no longer needed.
    pub async fn release_riders(&self, through: u64) -> Result<(), Error> {
        let shared = self.shared();
        Ok(shared.physical.release_riders(through.wrapping_sub(shared.offset)).await?)
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn damaged() -> Error {
    Error::Integrity("a rider is not what was written".into())
}
