//! Use counts: a small transaction of its own, durable before the request runs and never
//! rolled back.

use super::TokenStore;
use super::entry::TokenEntry;
use super::record::{StoredJob, StoredUses, job_path, read, uses_path, write};
use crate::fault;
use crate::limits::{CHARGE_WAIT, LAST_USE_GRACE, MAX_TXN_ATTEMPTS};
use storage::CommitError;
use vault_logical::{Error, ErrorKind, Result};

/// What charging one use established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum UseOutcome {
    /// The token has no limit; nothing was written.
    Unlimited,
    /// The request may run; this many uses are left after it.
    Left(u64),
    /// The request may run; [`TokenStore::end_last_use`] must follow it.
    Last,
    /// No use is left: refuse the request as if the token did not exist.
    Exhausted,
}

impl TokenStore {
    /// Takes one use off a token with a limit. Of any number of parallel calls exactly as many
    /// succeed as the token has uses.
    ///
    /// # Errors
    /// 503 when the turn does not come in time; storage's own. A use may then have been taken.
    pub async fn charge_use(&self, entry: &TokenEntry) -> Result<UseOutcome> {
        if entry.num_uses == 0 {
            return Ok(UseOutcome::Unlimited);
        }
        let busy =
            || Error::new(ErrorKind::Unavailable, "too many requests with this token at once, try again");
        let Some(lock) = self.0.uses.get(entry.hash.spread() % self.0.uses.len()) else { return Err(busy()) };
        // One at a time: optimistic transactions alone would refuse most of a crowd.
        let _turn = tokio::time::timeout(CHARGE_WAIT, lock.lock()).await.map_err(|_| busy())?;
        for _ in 0..MAX_TXN_ATTEMPTS {
            let mut txn = self.0.store.begin();
            let path = uses_path(entry.hash);
            let left = read::<StoredUses>(&mut txn, &path).await?.map_or(0, |u| u.left);
            let Some(left) = left.checked_sub(1) else { return Ok(UseOutcome::Exhausted) };
            write(&mut txn, &path, &StoredUses::new(left))?;
            if left == 0 {
                // Should the request never come back, the sweeper revokes the token.
                let at = self.0.clock.now().plus(LAST_USE_GRACE);
                write(&mut txn, &job_path(entry.hash), &StoredJob::revoke(at))?;
            }
            match txn.commit().await {
                Ok(_) if left == 0 => return Ok(UseOutcome::Last),
                Ok(_) => return Ok(UseOutcome::Left(left)),
                Err(CommitError::Conflict) => {}
                Err(e) => return Err(fault::commit(e)),
            }
        }
        Err(busy())
    }

    /// Revokes a token whose last use is over, with its descendants.
    pub async fn end_last_use(&self, entry: &TokenEntry) -> Result<()> {
        self.revoke(entry.hash).await
    }
}
