//! Ending tokens: at once for the token and everything below it, the cleaning up by a job.

use super::TokenStore;
use super::id::TokenHash;
use super::record::{
    StoredId, StoredJob, StoredLease, StoredToken, accessor_path, child_path, delete, expiry_path, id_path,
    job_path, lease_path, read, uses_path, write,
};
use crate::fault;
use crate::limits::MAX_TXN_ATTEMPTS;
use storage::{CommitError, Transaction};
use vault_logical::{Error, Result};

/// What becomes of a revoked token's children.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Children {
    /// They end with it.
    End,
    /// They live on as orphans.
    Release,
}

impl TokenStore {
    /// Revokes a token and all its descendants in a transaction of its own. Nothing happens
    /// when it does not exist.
    pub async fn revoke(&self, token: TokenHash) -> Result<()> {
        for _ in 0..MAX_TXN_ATTEMPTS {
            let mut txn = self.0.store.begin();
            if !self.stage_revoke(&mut txn, token, Children::End).await? {
                return Ok(());
            }
            match txn.commit().await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(e) => return Err(fault::commit(e)),
            }
        }
        Err(fault::commit(CommitError::Conflict))
    }

    /// Revokes what a request made although its answer could not be given.
    pub async fn revoke_accessor(&self, accessor: &str) -> Result<()> {
        let mut txn = self.0.store.begin();
        match self.by_accessor(&mut txn, accessor).await? {
            Some(token) => self.revoke(token).await,
            None => Ok(()),
        }
    }

    /// Stages the end of a token, which takes effect for all its descendants with the commit,
    /// and the job that removes them. False, and nothing is staged, when there is no such token.
    pub(super) async fn stage_revoke(
        &self,
        txn: &mut Transaction,
        hash: TokenHash,
        children: Children,
    ) -> Result<bool> {
        let Some(token) = self.remove(txn, hash).await? else { return Ok(false) };
        if children == Children::Release {
            // Also when there are none now: one may be about to commit. The job drops the mark.
            write(txn, &id_path(hash), &StoredId::released())?;
        }
        write(txn, &job_path(hash), &StoredJob::clean(token.cubbyhole))?;
        Ok(true)
    }

    /// Stages the removal of a token's own records, and of its link below its parent.
    pub(super) async fn remove(&self, txn: &mut Transaction, hash: TokenHash) -> Result<Option<StoredToken>> {
        let Some(record) = read::<StoredId>(txn, &id_path(hash)).await? else { return Ok(None) };
        let Some(token) = record.token else { return Ok(None) };
        delete(txn, &id_path(hash))?;
        delete(txn, &accessor_path(&self.0.hasher.accessor(&token.accessor)?))?;
        if token.expires {
            if let Some(lease) = read::<StoredLease>(txn, &lease_path(hash)).await? {
                delete(txn, &expiry_path(lease.minute, hash))?;
            }
            delete(txn, &lease_path(hash))?;
        }
        if token.num_uses > 0 {
            delete(txn, &uses_path(hash))?;
        }
        if let Some(parent) = &token.parent {
            let parent =
                TokenHash::from_hex(parent).ok_or_else(|| Error::internal("token record names no parent"))?;
            delete(txn, &child_path(parent, hash))?;
        }
        Ok(Some(token))
    }
}
