//! Removing what hung on a revoked token: descendants and cubbyhole, a bounded transaction at a
//! time. The job record is the only state, so a crash loses nothing but the step under way.

use super::TokenStore;
use super::id::TokenHash;
use super::record::{
    StoredId, StoredJob, child_path, children_dir, delete, id_path, job_path, read, space, write,
};
use super::revoke::Children;
use crate::fault;
use crate::limits::{SWEEP_CUBBYHOLE, SWEEP_TOKENS};
use storage::Transaction;
use vault_logical::{Result, Timestamp};

/// How far one step brought a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do; so many tokens were removed.
    More(usize),
    /// The job is over and its record gone.
    Done,
    /// Its time has not come.
    Later,
}

impl TokenStore {
    /// Stages the next step of the job of `hash`.
    pub(super) async fn job_step(
        &self,
        txn: &mut Transaction,
        hash: TokenHash,
        now: Timestamp,
    ) -> Result<Step> {
        let path = job_path(hash);
        let Some(job) = read::<StoredJob>(txn, &path).await? else { return Ok(Step::Done) };
        if job.not_before > now {
            return Ok(Step::Later);
        }
        let Some(cubbyhole) = job.cubbyhole else {
            if self.stage_revoke(txn, hash, Children::End).await? {
                return Ok(Step::More(1));
            }
            delete(txn, &path)?;
            return Ok(Step::Done);
        };
        let released = read::<StoredId>(txn, &id_path(hash)).await?.is_some_and(|r| r.released);
        if !released {
            let removed = self.remove_children(txn, hash).await?;
            if removed > 0 {
                return Ok(Step::More(removed));
            }
        }
        if self.empty_cubbyhole(txn, &cubbyhole).await? {
            return Ok(Step::More(0));
        }
        if released {
            self.drop_released(txn, hash).await?;
        }
        delete(txn, &path)?;
        Ok(Step::Done)
    }

    /// Removes some children of a dead token; those that had children or a cubbyhole of their
    /// own leave a job. No child can be added any more: that needs a living parent.
    async fn remove_children(&self, txn: &mut Transaction, parent: TokenHash) -> Result<usize> {
        let dir = children_dir(parent);
        let names = txn.list(space(), &dir, None, SWEEP_TOKENS).await.map_err(fault::storage)?;
        for name in &names {
            let Some(child) = TokenHash::from_hex(name) else {
                delete(txn, &format!("{dir}{name}"))?;
                continue;
            };
            if !self.remove_leaving_job(txn, child).await? {
                delete(txn, &child_path(parent, child))?;
            }
        }
        Ok(names.len())
    }

    /// Stages the removal of a token that is dead already, and a job when it has children or a
    /// cubbyhole. False when there is no such token.
    pub(super) async fn remove_leaving_job(&self, txn: &mut Transaction, hash: TokenHash) -> Result<bool> {
        let Some(token) = self.remove(txn, hash).await? else { return Ok(false) };
        let below = txn.list(space(), &children_dir(hash), None, 1).await.map_err(fault::storage)?;
        if !below.is_empty() || self.has_cubbyhole(txn, &token.cubbyhole).await? {
            write(txn, &job_path(hash), &StoredJob::clean(token.cubbyhole))?;
        }
        Ok(true)
    }

    async fn has_cubbyhole(&self, txn: &mut Transaction, name: &str) -> Result<bool> {
        let Some(space) = self.0.cubbyhole.get() else { return Ok(false) };
        Ok(!txn.list(*space, &format!("{name}/"), None, 1).await.map_err(fault::storage)?.is_empty())
    }

    /// Removes some records of a cubbyhole; false when it was empty.
    async fn empty_cubbyhole(&self, txn: &mut Transaction, name: &str) -> Result<bool> {
        let Some(&space) = self.0.cubbyhole.get() else { return Ok(false) };
        let mut folders = vec![format!("{name}/")];
        let mut records = Vec::new();
        while let Some(dir) = folders.pop() {
            let room = SWEEP_CUBBYHOLE - records.len();
            if room == 0 {
                break;
            }
            for name in txn.list(space, &dir, None, room).await.map_err(fault::storage)? {
                let path = format!("{dir}{name}");
                if name.ends_with('/') { folders.push(path) } else { records.push(path) }
            }
        }
        for path in &records {
            txn.delete(space, path).map_err(fault::storage)?;
        }
        Ok(!records.is_empty())
    }
}
