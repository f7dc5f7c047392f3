//! Ending every token at once: each token belongs to a generation, and only the newest lives.

use super::TokenStore;
use super::id::TokenHash;
use super::record::{
    GENERATION, IDS, PURGE, StoredGeneration, StoredId, StoredPurge, decode, delete, id_path, read, space,
    write,
};
use super::sweep::{Budget, SweepReport};
use crate::fault;
use crate::limits::{MAX_TXN_ATTEMPTS, SWEEP_PAGE, SWEEP_TOKENS};
use arc_swap::ArcSwap;
use std::sync::Arc;
use storage::{CommitError, Transaction};
use vault_logical::Result;

/// The generation that lives, as far as it is known; a new value in memory after each change,
/// so that a slow reader cannot put an old one back.
#[derive(Default)]
pub(super) struct Current(ArcSwap<Option<u64>>);

impl Current {
    pub(super) fn forget(&self) {
        self.0.store(Arc::new(None));
    }
}

impl TokenStore {
    /// Ends every token there is, the root tokens too, with one commit; the sweeper then removes
    /// them. For a store that was set back to an earlier state.
    pub async fn revoke_all(&self) -> Result<()> {
        for _ in 0..MAX_TXN_ATTEMPTS {
            let mut txn = self.0.store.begin();
            let next = self.staged_generation(&mut txn).await? + 1;
            write(&mut txn, GENERATION, &StoredGeneration::new(next))?;
            write(&mut txn, PURGE, &StoredPurge::new(next, None))?;
            let outcome = txn.commit().await;
            // Not left to the change feed alone: whoever called must not see an old token live.
            self.clear();
            match outcome {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(e) => return Err(fault::commit(e)),
            }
        }
        Err(fault::commit(CommitError::Conflict))
    }

    /// Drops what is held in memory; the next look-ups read storage.
    pub fn clear(&self) {
        self.0.generation.forget();
        self.0.cache.clear();
    }

    /// The living generation, from memory when it is known.
    pub(super) async fn generation(&self) -> Result<u64> {
        if let Some(n) = **self.0.generation.0.load() {
            return Ok(n);
        }
        let known = self.0.generation.0.load_full();
        let found = self.0.store.get(space(), GENERATION).await.map_err(fault::storage)?;
        let n = match found {
            Some(v) => decode::<StoredGeneration>(&v.value)?.generation,
            None => 0,
        };
        // Only if nothing was forgotten since the read began.
        self.0.generation.0.compare_and_swap(&known, Arc::new(Some(n)));
        Ok(n)
    }

    /// The living generation, as a fact of this transaction.
    pub(super) async fn staged_generation(&self, txn: &mut Transaction) -> Result<u64> {
        Ok(read::<StoredGeneration>(txn, GENERATION).await?.map_or(0, |g| g.generation))
    }

    /// Removes tokens of earlier generations until there are none or the budget is spent.
    pub(super) async fn sweep_generations(
        &self,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<()> {
        let Some(found) = self.0.store.get(space(), PURGE).await.map_err(fault::storage)? else {
            return Ok(());
        };
        let purge = decode::<StoredPurge>(&found.value)?;
        let mut after = purge.after;
        while budget.left() {
            let page = self
                .0
                .store
                .list(space(), IDS, after.as_deref(), SWEEP_PAGE)
                .await
                .map_err(fault::storage)?;
            if page.is_empty() {
                let mut txn = self.0.store.begin();
                delete(&mut txn, PURGE)?;
                self.commit_step(txn, budget).await?;
                return Ok(());
            }
            for names in page.chunks(SWEEP_TOKENS) {
                while budget.left() {
                    let mut txn = self.0.store.begin();
                    let removed = self.purge(&mut txn, names, purge.generation).await?;
                    write(&mut txn, PURGE, &StoredPurge::new(purge.generation, names.last().cloned()))?;
                    if self.commit_step(txn, budget).await? {
                        report.removed += removed;
                        break;
                    }
                }
            }
            after = page.last().cloned();
        }
        Ok(())
    }

    async fn purge(&self, txn: &mut Transaction, names: &[String], generation: u64) -> Result<usize> {
        let mut removed = 0;
        for hash in names.iter().filter_map(|n| TokenHash::from_hex(n)) {
            let record = read::<StoredId>(txn, &id_path(hash)).await?;
            if record.and_then(|r| r.token).is_some_and(|t| t.generation < generation) {
                self.remove_leaving_job(txn, hash).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
