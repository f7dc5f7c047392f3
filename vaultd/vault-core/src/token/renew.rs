//! Serving `renew`, `renew-self` and `renew-accessor`.

use super::TokenStore;
use super::handle::{Answer, TokenCall};
use super::record::{StoredLease, delete, expiry_path, lease_path, link, minute_of, read, secs, write};
use super::requests::{Target, required};
use super::ttl::{self, TtlDefaults, Wanted};
use crate::exchange::IssuedAuth;
use secmem::SecretString;
use std::time::Duration;
use storage::Transaction;
use vault_logical::{Error, Response, Result, field};

impl TokenStore {
    pub(super) async fn renew_token(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let token = required(call.data, "token", "missing token ID")?;
        let found = self.named(txn, &token, call).await?.ok_or_else(not_found)?;
        self.renew(txn, call, found, token.into()).await
    }

    pub(super) async fn renew_self(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let found = self.target(txn, call.caller.hash, call).await?.ok_or_else(not_found)?;
        self.renew(txn, call, found, call.presented.into()).await
    }

    pub(super) async fn renew_accessor(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let found = self.accessed(txn, call).await?.ok_or_else(|| Error::invalid("invalid accessor"))?;
        self.renew(txn, call, found, String::new().into()).await
    }

    async fn renew(
        &self,
        txn: &mut Transaction,
        call: &TokenCall<'_>,
        target: Target,
        client_token: SecretString,
    ) -> Answer {
        let e = &target.entry;
        let path = lease_path(e.hash);
        let lease = match read::<StoredLease>(txn, &path).await? {
            Some(lease) if e.renewable => lease,
            _ => return Err(Error::invalid("lease is not renewable")),
        };
        let (period, explicit_max_ttl) = self.current_bounds(txn, &target).await?;
        let wanted = Wanted {
            increment: field::duration(call.data, "increment")?.unwrap_or_default(),
            ttl: if lease.granted > 0 { secs(lease.granted) } else { e.ttl },
            period,
            max_ttl: Duration::ZERO,
            explicit_max_ttl,
        };
        let now = self.0.clock.now();
        let system = self.defaults();
        let max_ttl = if e.max_ttl.is_zero() { system.max_ttl } else { e.max_ttl };
        let defaults = TtlDefaults { max_ttl, ..system };
        let (ttl, warnings) = ttl::effective(&wanted, defaults, e.created, now)?;
        let until = now.plus(ttl);
        // The sweeper moves a link on to a later minute when it meets it; it never would meet
        // one that should stand in an earlier minute.
        let minute = lease.minute.min(minute_of(until) + 1);
        if minute != lease.minute {
            delete(txn, &expiry_path(lease.minute, e.hash))?;
            link(txn, &expiry_path(minute, e.hash))?;
        }
        write(txn, &path, &StoredLease::new(until, Some(now), minute).granting(ttl))?;
        let auth = IssuedAuth {
            client_token,
            accessor: e.accessor.clone(),
            policies: e.policies.clone(),
            token_policies: e.policies.clone(),
            metadata: e.meta.clone().unwrap_or_default(),
            lease_duration: ttl,
            renewable: true,
            entity_id: e.entity_id.clone(),
            token_type: "service",
            orphan: target.orphan,
            num_uses: target.uses_left,
        };
        Ok((Response { warnings, ..Response::default() }, Some(auth)))
    }

    /// Period and explicit maximum now: a token made with a role follows the role's changes.
    async fn current_bounds(&self, txn: &mut Transaction, target: &Target) -> Result<(Duration, Duration)> {
        let e = &target.entry;
        if e.role.is_empty() {
            return Ok((e.period, e.explicit_max_ttl));
        }
        let role = self.role(txn, &e.role).await?;
        let role =
            role.ok_or_else(|| Error::invalid("original token role could not be found, not renewing"))?;
        let explicit = match (e.explicit_max_ttl, secs(role.explicit_max_ttl)) {
            (d, Duration::ZERO) | (Duration::ZERO, d) => d,
            (a, b) => a.min(b),
        };
        Ok((secs(role.period), explicit))
    }
}

fn not_found() -> Error {
    Error::invalid("token not found")
}
