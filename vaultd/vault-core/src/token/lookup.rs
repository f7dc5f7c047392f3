//! From a presented token to its entry.

use super::TokenStore;
use super::entry::{Cached, TokenEntry};
use super::id::{self, TokenHash};
use super::record::{
    StoredAccessor, StoredId, StoredLease, accessor_path, decode, id_path, lease_path, read, space,
};
use crate::fault;
use crate::limits::MAX_TOKEN_DEPTH;
use std::sync::Arc;
use storage::Transaction;
use vault_logical::{Result, Timestamp};

impl TokenStore {
    /// The entry of a token that is valid now, and whose parents all are. `None` for anything
    /// else, whatever is wrong with it. Answered from memory when it was used lately.
    ///
    /// # Errors
    /// Only storage's own.
    pub async fn lookup(&self, presented: &str) -> Result<Option<Arc<TokenEntry>>> {
        if !id::well_formed(presented) {
            return Ok(None);
        }
        let hash = self.0.hasher.token(presented)?;
        self.living(hash).await
    }

    /// As [`TokenStore::lookup`], by accessor.
    pub async fn entry_of_accessor(&self, accessor: &str) -> Result<Option<Arc<TokenEntry>>> {
        if !id::well_formed_accessor(accessor) {
            return Ok(None);
        }
        let path = accessor_path(&self.0.hasher.accessor(accessor)?);
        let Some(found) = self.0.store.get(space(), &path).await.map_err(fault::storage)? else {
            return Ok(None);
        };
        self.living(decode::<StoredAccessor>(&found.value)?.hash()?).await
    }

    /// True while the token of an earlier lookup, and all its parents, are still valid; for a
    /// request that runs again after a conflict. Also renews what [`TokenStore::pin`] relies on.
    pub async fn still_valid(&self, entry: &TokenEntry) -> Result<bool> {
        match self.cached(entry.hash).await? {
            Some(Cached::Token(now)) if now.rev == entry.rev => {
                Ok(!now.expired(self.0.clock.now()) && self.alive(entry, self.0.clock.now()).await?)
            }
            _ => Ok(false),
        }
    }

    /// As [`TokenStore::still_valid`], for what goes on after the request; a token `spent` by it is
    /// gone already and counts until its own time is up or a parent's.
    pub async fn outlives(&self, entry: &TokenEntry, spent: bool) -> Result<bool> {
        if spent { self.alive(entry, self.0.clock.now()).await } else { self.still_valid(entry).await }
    }

    /// The parents of a token, nearest first.
    pub async fn parents(&self, entry: &TokenEntry) -> Result<Vec<Arc<TokenEntry>>> {
        let mut found = Vec::new();
        let mut next = entry.parent;
        while let Some(hash) = next {
            let Some(Cached::Token(parent)) = self.cached(hash).await? else { break };
            next = parent.parent;
            found.push(parent);
            if found.len() == MAX_TOKEN_DEPTH {
                break;
            }
        }
        Ok(found)
    }

    async fn living(&self, hash: TokenHash) -> Result<Option<Arc<TokenEntry>>> {
        match self.cached(hash).await? {
            Some(Cached::Token(entry)) if self.alive(&entry, self.0.clock.now()).await? => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    /// True when neither the token nor one of its parents has expired or been revoked. Notes
    /// the parents in the entry, for [`TokenStore::pin`].
    async fn alive(&self, entry: &TokenEntry, now: Timestamp) -> Result<bool> {
        if entry.generation != self.generation().await? {
            return Ok(false);
        }
        if entry.expired(now) {
            self.0.cache.forget(entry.hash);
            return Ok(false);
        }
        if !self.issuer_lives(entry) {
            return Ok(false);
        }
        let mut next = entry.parent;
        let mut chain = Vec::with_capacity(entry.depth);
        while let Some(hash) = next {
            if chain.len() == MAX_TOKEN_DEPTH {
                return Ok(false);
            }
            next = match self.cached(hash).await? {
                Some(Cached::Token(parent)) if !parent.expired(now) && self.issuer_lives(&parent) => {
                    chain.push((parent.hash, parent.rev));
                    parent.parent
                }
                Some(Cached::Released) => None,
                _ => return Ok(false),
            };
        }
        if **entry.chain.load() != chain {
            entry.chain.store(Arc::new(chain));
        }
        Ok(true)
    }

    /// What stands at `hash`, from the cache or from storage.
    async fn cached(&self, hash: TokenHash) -> Result<Option<Cached>> {
        if let Some(found) = self.0.cache.get(hash) {
            return Ok(Some(found));
        }
        let ticket = self.0.cache.ticket(hash);
        let store = &self.0.store;
        let Some(found) = store.get(space(), &id_path(hash)).await.map_err(fault::storage)? else {
            return Ok(None);
        };
        let record: StoredId = decode(&found.value)?;
        let lease = match &record.token {
            Some(t) if t.expires => {
                match store.get(space(), &lease_path(hash)).await.map_err(fault::storage)? {
                    Some(l) => Some(decode::<StoredLease>(&l.value)?),
                    // Revoked between the two reads.
                    None => return Ok(None),
                }
            }
            _ => None,
        };
        let Some(value) = standing(hash, found.rev, record, lease)? else { return Ok(None) };
        self.0.cache.fill(hash, ticket, value.clone());
        Ok(Some(value))
    }

    /// The same answer as [`TokenStore::lookup`], read within a transaction, so that what was
    /// read joins it. The bool is true when the token has no live parent.
    pub(super) async fn find(
        &self,
        txn: &mut Transaction,
        hash: TokenHash,
    ) -> Result<Option<(TokenEntry, bool)>> {
        let now = self.0.clock.now();
        let Some(Cached::Token(entry)) = load(txn, hash).await? else { return Ok(None) };
        let mut next = entry.parent;
        let mut depth = 0;
        let mut orphan = next.is_none();
        while let Some(parent) = next {
            next = match load(txn, parent).await? {
                Some(Cached::Token(p)) if !p.expired(now) && depth < MAX_TOKEN_DEPTH => p.parent,
                Some(Cached::Released) => {
                    orphan |= depth == 0;
                    None
                }
                _ => return Ok(None),
            };
            depth += 1;
        }
        if entry.expired(now) || entry.generation != self.staged_generation(txn).await? {
            return Ok(None);
        }
        Ok(Arc::into_inner(entry).map(|e| (e, orphan)))
    }

    /// The token that an accessor stands for, which may be dead.
    pub(super) async fn by_accessor(
        &self,
        txn: &mut Transaction,
        accessor: &str,
    ) -> Result<Option<TokenHash>> {
        if !id::well_formed_accessor(accessor) {
            return Ok(None);
        }
        let path = accessor_path(&self.0.hasher.accessor(accessor)?);
        match read::<StoredAccessor>(txn, &path).await? {
            Some(record) => record.hash().map(Some),
            None => Ok(None),
        }
    }

    /// Makes a writing request depend on its token and the token's parents: when one of them
    /// has been revoked by the time of the commit, the commit is refused.
    pub fn pin(&self, txn: &mut Transaction, entry: &TokenEntry) {
        txn.expect(space(), &id_path(entry.hash), Some(entry.rev));
        for (hash, rev) in entry.chain.load().iter() {
            txn.expect(space(), &id_path(*hash), Some(*rev));
        }
    }

    /// A record changed; called with the paths below `token/` of [`storage::Space::core`],
    /// before the commit is acknowledged.
    pub fn invalidate(&self, path: &str, _seq: u64) {
        if let Some(hash) = super::record::cached_token(path) {
            self.0.cache.invalidate(hash);
        } else if path == super::record::GENERATION {
            self.0.generation.forget();
        }
    }
}

/// What stands at `hash`, read within a transaction. Revisions are not known there.
async fn load(txn: &mut Transaction, hash: TokenHash) -> Result<Option<Cached>> {
    let Some(record) = read::<StoredId>(txn, &id_path(hash)).await? else { return Ok(None) };
    let lease = match &record.token {
        Some(t) if t.expires => match read::<StoredLease>(txn, &lease_path(hash)).await? {
            Some(l) => Some(l),
            None => return Ok(None),
        },
        _ => None,
    };
    standing(hash, 0, record, lease)
}

fn standing(
    hash: TokenHash,
    rev: u64,
    record: StoredId,
    lease: Option<StoredLease>,
) -> Result<Option<Cached>> {
    match record.token {
        Some(t) => Ok(Some(Cached::Token(Arc::new(TokenEntry::from_stored(hash, rev, t, lease)?)))),
        None if record.released => Ok(Some(Cached::Released)),
        None => Ok(None),
    }
}
