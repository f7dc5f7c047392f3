//! The sweeper: tokens whose time is up, and the jobs of revoked tokens. A timer calls it.
//!
//! Tokens are found by the minute they expire in, so no token needs a timer. Renewing rewrites
//! only the lease; the sweeper moves the link on when it meets it.

use super::TokenStore;
use super::id::TokenHash;
use super::record::{
    CURSOR, JOBS, StoredCursor, StoredLease, delete, expiry_dir, expiry_path, lease_path, link, minute_of,
    read, space, write,
};
use super::revoke::Children;
use crate::fault;
use crate::limits::{
    MAX_TXN_ATTEMPTS, SWEEP_JOBS, SWEEP_LAG, SWEEP_MINUTES, SWEEP_PAGE, SWEEP_STRIDE, SWEEP_TOKENS,
    SWEEP_TXNS,
};
use storage::{CommitError, Transaction};
use vault_logical::{ErrorKind, Result, Timestamp};

/// What one sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Tokens that were found expired and revoked.
    pub expired: usize,
    /// Renewed tokens whose expiry link was moved on.
    pub moved: usize,
    /// Tokens removed by jobs: descendants of revoked ones.
    pub removed: usize,
    /// Jobs brought to their end.
    pub jobs: usize,
    /// Records that could not be understood; they are logged and passed over.
    pub failed: usize,
    /// There is more to do at once.
    pub more: bool,
}

/// Where the last sweep stopped in the list of jobs; held in memory only.
#[derive(Default)]
pub(super) struct Position {
    after: Option<String>,
}

/// Transactions that one sweep may still commit.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn left(&self) -> bool {
        self.0 > 0
    }
}

impl TokenStore {
    /// Revokes expired tokens, then works on the jobs, within a bounded number of transactions.
    /// Does nothing while another sweep runs.
    ///
    /// # Errors
    /// Storage's own. What was committed stays done.
    pub async fn sweep(&self, now: Timestamp) -> Result<SweepReport> {
        self.sweep_within(now, SWEEP_TXNS).await
    }

    /// [`TokenStore::sweep`] with at most this many transactions.
    pub(super) async fn sweep_within(&self, now: Timestamp, transactions: usize) -> Result<SweepReport> {
        let mut report = SweepReport::default();
        let Ok(mut position) = self.0.sweeping.try_lock() else { return Ok(report) };
        let mut budget = Budget(transactions);
        self.sweep_expired(now, &mut budget, &mut report).await?;
        self.sweep_generations(&mut budget, &mut report).await?;
        self.sweep_jobs(now, &mut position, &mut budget, &mut report).await?;
        report.more |= !budget.left();
        Ok(report)
    }

    async fn sweep_expired(
        &self,
        now: Timestamp,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<()> {
        // Everything in a minute up to this one has expired, and nothing is added to it any more.
        let lag = i64::try_from(SWEEP_LAG.as_nanos()).unwrap_or(i64::MAX);
        let horizon = minute_of(Timestamp::from_unix_nanos(now.unix_nanos().saturating_sub(lag)));
        let stored = self.cursor().await?;
        let start = match stored {
            Some(minute) => minute,
            None => self.next_minute(0).await?.unwrap_or(horizon),
        };
        // A clock that was set back: minutes that were done may get tokens again.
        let mut minute = start.min(horizon + 1);
        let mut looked = 0;
        while minute <= horizon && looked < SWEEP_MINUTES && budget.left() {
            looked += 1;
            if looked.is_multiple_of(SWEEP_STRIDE) {
                // After a long time away most minutes are empty: go to the next that is not.
                minute = self.next_minute(minute).await?.unwrap_or(horizon + 1).min(horizon + 1);
                tokio::task::yield_now().await;
            } else if self.sweep_minute(minute, now, budget, report).await? {
                minute += 1;
            }
        }
        report.more |= minute <= horizon;
        if stored != Some(minute) {
            self.save_cursor(minute).await?;
        }
        Ok(())
    }

    /// Goes through the tokens of one minute; false when the budget ran out.
    async fn sweep_minute(
        &self,
        minute: u64,
        now: Timestamp,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<bool> {
        let mut after: Option<String> = None;
        loop {
            let dir = expiry_dir(minute);
            let store = &self.0.store;
            let page =
                store.list(space(), &dir, after.as_deref(), SWEEP_PAGE).await.map_err(fault::storage)?;
            let Some(last) = page.last() else { return Ok(true) };
            after = Some(last.clone());
            for names in page.chunks(SWEEP_TOKENS) {
                if !budget.left() {
                    return Ok(false);
                }
                self.expire_all(minute, names, now, budget, report).await?;
            }
        }
    }

    /// Expires a batch; when a record in it cannot be understood, one by one past it.
    async fn expire_all(
        &self,
        minute: u64,
        names: &[String],
        now: Timestamp,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<()> {
        match self.expire(minute, names, now, budget, report).await {
            Err(e) if e.kind() == ErrorKind::Internal => {}
            done => return done,
        }
        for name in names {
            match self.expire(minute, std::slice::from_ref(name), now, budget, report).await {
                Err(e) if e.kind() == ErrorKind::Internal => {
                    report.failed += 1;
                    tracing::error!(minute, "an expired token cannot be removed: its record is damaged");
                }
                done => done?,
            }
        }
        Ok(())
    }

    async fn expire(
        &self,
        minute: u64,
        names: &[String],
        now: Timestamp,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<()> {
        for _ in 0..MAX_TXN_ATTEMPTS {
            let mut txn = self.0.store.begin();
            let (mut expired, mut moved) = (0, 0);
            for name in names {
                match self.expire_one(&mut txn, minute, name, now).await? {
                    Found::Expired => expired += 1,
                    Found::Renewed => moved += 1,
                    Found::Gone => {}
                }
            }
            if self.commit_step(txn, budget).await? {
                report.expired += expired;
                report.moved += moved;
                return Ok(());
            }
        }
        Err(fault::commit(CommitError::Conflict))
    }

    async fn expire_one(
        &self,
        txn: &mut Transaction,
        minute: u64,
        name: &str,
        now: Timestamp,
    ) -> Result<Found> {
        let Some(hash) = TokenHash::from_hex(name) else {
            delete(txn, &format!("{}{name}", expiry_dir(minute)))?;
            return Ok(Found::Gone);
        };
        let found = match read::<StoredLease>(txn, &lease_path(hash)).await? {
            None => Found::Gone,
            Some(lease) if lease.minute != minute => Found::Gone,
            Some(lease) if lease.expires > now => {
                let next = minute_of(lease.expires) + 1;
                write(txn, &lease_path(hash), &StoredLease::new(lease.expires, lease.renewed, next))?;
                link(txn, &expiry_path(next, hash))?;
                if next == minute {
                    return Ok(Found::Renewed);
                }
                Found::Renewed
            }
            Some(_) => {
                self.stage_revoke(txn, hash, Children::End).await?;
                Found::Expired
            }
        };
        delete(txn, &expiry_path(minute, hash))?;
        Ok(found)
    }

    async fn sweep_jobs(
        &self,
        now: Timestamp,
        position: &mut Position,
        budget: &mut Budget,
        report: &mut SweepReport,
    ) -> Result<()> {
        let page = self
            .0
            .store
            .list(space(), JOBS, position.after.as_deref(), SWEEP_JOBS)
            .await
            .map_err(fault::storage)?;
        let whole = page.len() < SWEEP_JOBS && position.after.is_none();
        let last_page = page.len() < SWEEP_JOBS;
        let before = (report.removed, report.jobs);
        for name in page {
            if !budget.left() {
                return Ok(());
            }
            match TokenHash::from_hex(&name) {
                None => report.failed += 1,
                Some(hash) => self.run_job(hash, now, budget, report).await?,
            }
            position.after = Some(name);
        }
        if last_page {
            position.after = None;
        }
        // Jobs that only wait for their time are no reason to come back at once.
        report.more |= !whole && before != (report.removed, report.jobs);
        Ok(())
    }

    /// Commits a step; false on a conflict, after which it is to be staged anew. What is swept is dead already, by its
    /// time or by a revocation that the anchor knows of: undone, it is swept again.
    pub(super) async fn commit_step(&self, mut txn: Transaction, budget: &mut Budget) -> Result<bool> {
        txn.anchor_may_follow();
        budget.0 = budget.0.saturating_sub(1);
        match txn.commit().await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(e) => Err(fault::commit(e)),
        }
    }

    async fn cursor(&self) -> Result<Option<u64>> {
        let mut txn = self.0.store.begin();
        Ok(read::<StoredCursor>(&mut txn, CURSOR).await?.map(|c| c.minute))
    }

    async fn save_cursor(&self, minute: u64) -> Result<()> {
        let mut txn = self.0.store.begin();
        write(&mut txn, CURSOR, &StoredCursor::new(minute))?;
        txn.anchor_may_follow();
        txn.commit().await.map(drop).map_err(fault::commit)
    }

    /// The first minute from this one on that has a link. Minutes have eight digits until the
    /// year 2160, so their order as text is their order in time.
    async fn next_minute(&self, from: u64) -> Result<Option<u64>> {
        let after = format!("{:08}/", from.saturating_sub(1));
        let store = &self.0.store;
        let names = store.list(space(), "token/expiry/", Some(&after), 1).await.map_err(fault::storage)?;
        Ok(names.first().and_then(|name| name.trim_end_matches('/').parse().ok()))
    }
}

enum Found {
    Expired,
    Renewed,
    /// Only the link was left.
    Gone,
}
