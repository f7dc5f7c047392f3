//! Removing what hung on a revoked token: descendants and cubbyhole, a bounded transaction at a
//! time. The job record is the only state, so a crash loses nothing but the step under way.

use super::TokenStore;
use super::id::TokenHash;
use super::record::{
    StoredId, StoredJob, child_path, children_dir, decode, delete, id_path, job_path, read, space, write,
};
use super::revoke::Children;
use super::sweep::{Budget, SweepReport};
use crate::fault;
use crate::limits::{JOB_DELAY, SWEEP_CUBBYHOLE, SWEEP_PAGE, SWEEP_TOKENS};
use storage::Transaction;
use vault_logical::{ErrorKind, Result, Timestamp};

impl TokenStore {
    /// Works on the job of `hash` until it is over or the budget is spent. One that meets a
    /// damaged record is logged and put off.
    pub(super) async fn run_job(
        &self,
        hash: TokenHash,
        now: Timestamp,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<()> {
        match self.try_job(hash, now, budget, report).await {
            Err(e) if e.kind() == ErrorKind::Internal => {
                report.failed += 1;
                tracing::error!("a revoked token cannot be cleaned up: a record of it is damaged");
                let mut txn = self.0.store.begin();
                if let Ok(Some(job)) = read::<StoredJob>(&mut txn, &job_path(hash)).await {
                    write(&mut txn, &job_path(hash), &job.later(now.plus(JOB_DELAY)))?;
                    self.commit_step(txn, budget).await?;
                }
                Ok(())
            }
            done => done,
        }
    }

    async fn try_job(
        &self,
        hash: TokenHash,
        now: Timestamp,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<()> {
        while budget.left() {
            let found = self.0.store.get(space(), &job_path(hash)).await.map_err(fault::storage)?;
            let Some(job) = found.map(|v| decode::<StoredJob>(&v.value)).transpose()? else { return Ok(()) };
            if job.not_before > now {
                return Ok(());
            }
            let mut txn = self.0.store.begin();
            let Some(cubbyhole) = job.cubbyhole else {
                let revoked = self.stage_revoke(&mut txn, hash, Children::End).await?;
                if !revoked {
                    delete(&mut txn, &job_path(hash))?;
                }
                if self.commit_step(txn, budget).await? {
                    report.removed += usize::from(revoked);
                }
                continue;
            };
            let released = read::<StoredId>(&mut txn, &id_path(hash)).await?.is_some_and(|r| r.released);
            let children_gone = released || self.remove_children(hash, budget, report).await?;
            if !children_gone || !self.empty_cubbyhole(&cubbyhole, budget).await? {
                return Ok(());
            }
            let free = released && self.has_any(&mut txn, &children_dir(hash)).await?;
            if free {
                write(&mut txn, &job_path(hash), &StoredJob::clean(cubbyhole).later(now.plus(JOB_DELAY)))?;
            } else {
                delete(&mut txn, &id_path(hash))?;
                delete(&mut txn, &job_path(hash))?;
            }
            if self.commit_step(txn, budget).await? {
                report.jobs += usize::from(!free);
            }
        }
        Ok(())
    }

    /// Removes the children of a dead token; false when the budget ran out. None can be added any
    /// more: that needs a living parent.
    async fn remove_children(
        &self,
        parent: TokenHash,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<bool> {
        let dir = children_dir(parent);
        loop {
            let page = self.0.store.list(space(), &dir, None, SWEEP_PAGE).await.map_err(fault::storage)?;
            if page.is_empty() {
                return Ok(true);
            }
            for names in page.chunks(SWEEP_TOKENS) {
                if !budget.left() {
                    return Ok(false);
                }
                let mut txn = self.0.store.begin();
                for name in names {
                    let Some(child) = TokenHash::from_hex(name) else {
                        delete(&mut txn, &format!("{dir}{name}"))?;
                        continue;
                    };
                    if !self.remove_leaving_job(&mut txn, child).await? {
                        delete(&mut txn, &child_path(parent, child))?;
                    }
                }
                if self.commit_step(txn, budget).await? {
                    report.removed += names.len();
                }
            }
        }
    }

    /// Stages the removal of a token that is dead already, and a job when it has children or a
    /// cubbyhole. False when there is no such token.
    pub(super) async fn remove_leaving_job(&self, txn: &mut Transaction, hash: TokenHash) -> Result<bool> {
        let Some(token) = self.remove(txn, hash).await? else { return Ok(false) };
        let mut more = self.has_any(txn, &children_dir(hash)).await?;
        if let (false, Some(&space)) = (more, self.0.cubbyhole.get()) {
            let dir = format!("{}/", token.cubbyhole);
            more = !txn.list(space, &dir, None, 1).await.map_err(fault::storage)?.is_empty();
        }
        if more {
            write(txn, &job_path(hash), &StoredJob::clean(token.cubbyhole))?;
        }
        Ok(true)
    }

    async fn has_any(&self, txn: &mut Transaction, dir: &str) -> Result<bool> {
        Ok(!txn.list(space(), dir, None, 1).await.map_err(fault::storage)?.is_empty())
    }

    /// Removes the records of a cubbyhole; false when the budget ran out.
    async fn empty_cubbyhole(&self, name: &str, budget: &mut Budget) -> Result<bool> {
        let Some(&space) = self.0.cubbyhole.get() else { return Ok(true) };
        let mut folders = vec![format!("{name}/")];
        while let Some(dir) = folders.last().cloned() {
            let page = self.0.store.list(space, &dir, None, SWEEP_PAGE).await.map_err(fault::storage)?;
            if page.is_empty() {
                folders.pop();
                continue;
            }
            // Depth first: a folder is there as long as something is in it.
            if let Some(folder) = page.iter().find(|n| n.ends_with('/')) {
                folders.push(format!("{dir}{folder}"));
                continue;
            }
            for names in page.chunks(SWEEP_CUBBYHOLE) {
                if !budget.left() {
                    return Ok(false);
                }
                let mut txn = self.0.store.begin();
                for name in names {
                    txn.delete(space, &format!("{dir}{name}")).map_err(fault::storage)?;
                }
                self.commit_step(txn, budget).await?;
            }
        }
        Ok(true)
    }
}
