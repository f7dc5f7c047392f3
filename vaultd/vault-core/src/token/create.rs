//! Making tokens: what may be granted by whom, and the records of a new token.

use super::TokenStore;
use super::entry::TokenEntry;
use super::id::{self, TokenHash};
use super::record::{
    StoredAccessor, StoredId, StoredLease, StoredToken, StoredUses, accessor_path, child_path, expiry_path,
    id_path, lease_path, link, minute_of, uses_path, write,
};
use super::ttl::{self, TtlDefaults, Wanted, whole_seconds};
use crate::exchange::IssuedAuth;
use crate::limits::{
    MAX_DISPLAY_NAME, MAX_TOKEN_DEPTH, MAX_TOKEN_META, MAX_TOKEN_META_BYTES, MAX_TOKEN_POLICIES,
};
use crate::policy;
use secmem::ExposeSecret;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use storage::Transaction;
use vault_logical::{Auth, Error, Mount, Result};

/// The policy that allows everything.
pub const ROOT_POLICY: &str = "root";
/// The policy that tokens get unless they are told not to.
pub const DEFAULT_POLICY: &str = "default";
/// Policies that only the core itself attaches.
const INTERNAL: &[&str] = &["response-wrapping", "control-group"];

/// On whose word a token is made: bounds its policies.
#[derive(Clone, Debug)]
pub enum Issuer {
    /// The core itself: the root token of a new vault, wrapping tokens. Any policy.
    Core,
    /// An auth method. Any policy but root and the internal ones.
    Login,
    /// A token, through `auth/token/create*`.
    Caller {
        caller_policies: Vec<String>,
        /// `sudo` on the path called, or root.
        caller_sudo: bool,
        /// Policies were checked against a token role instead of the caller's own.
        role_grants: bool,
        /// The caller's own token has an end.
        caller_expires: bool,
    },
}

/// A token to be made. Zero durations mean "not stated".
#[derive(Clone, Debug)]
pub struct NewToken {
    pub issuer: Issuer,
    /// The request path that makes it: `auth/jwt/login`.
    pub path: String,
    pub display_name: String,
    /// As asked for; normalised here.
    pub policies: Vec<String>,
    /// Add the `default` policy.
    pub default_policy: bool,
    pub meta: Option<BTreeMap<String, String>>,
    pub entity_id: String,
    pub role: String,
    /// `None` makes an orphan.
    pub parent: Option<Arc<TokenEntry>>,
    pub ttl: Duration,
    pub max_ttl: Duration,
    pub explicit_max_ttl: Duration,
    pub period: Duration,
    /// The mount's effective TTLs; `None` = the system's.
    pub defaults: Option<TtlDefaults>,
    /// 0 = no limit.
    pub num_uses: u64,
    pub renewable: bool,
}

impl NewToken {
    /// The first token of a new vault: root, never expires.
    pub fn root() -> Self {
        NewToken {
            policies: vec![ROOT_POLICY.into()],
            display_name: "root".into(),
            default_policy: false,
            renewable: false,
            ..NewToken::blank(Issuer::Core, "auth/token/root")
        }
    }

    /// The token for a login at `path` (`auth/jwt/login`) through `mount`. Its display name is
    /// the mount's path and the login's, as in Vault: `jwt-alice`.
    pub fn login(auth: &Auth, mount: &Mount, path: &str) -> Self {
        NewToken {
            display_name: login_name(auth, mount),
            policies: auth.policies.clone(),
            default_policy: !auth.no_default_policy,
            meta: Some(auth.metadata.clone()),
            ttl: auth.ttl,
            max_ttl: auth.max_ttl,
            explicit_max_ttl: auth.explicit_max_ttl,
            period: auth.period,
            defaults: Some(TtlDefaults { default_ttl: mount.default_ttl, max_ttl: mount.max_ttl }),
            num_uses: auth.num_uses,
            ..NewToken::blank(Issuer::Login, path)
        }
    }

    pub(super) fn blank(issuer: Issuer, path: &str) -> Self {
        NewToken {
            issuer,
            path: path.into(),
            display_name: "token".into(),
            policies: Vec::new(),
            default_policy: true,
            meta: None,
            entity_id: String::new(),
            role: String::new(),
            parent: None,
            ttl: Duration::ZERO,
            max_ttl: Duration::ZERO,
            explicit_max_ttl: Duration::ZERO,
            period: Duration::ZERO,
            defaults: None,
            num_uses: 0,
            renewable: true,
        }
    }
}

/// The display name of whoever logs in: it names the login's subject within its mount.
pub fn login_name(auth: &Auth, mount: &Mount) -> String {
    let source = mount.path.strip_prefix("auth/").unwrap_or(&mount.path).replace('/', "-");
    format!("{source}{}", auth.display_name).trim_end_matches('-').to_string()
}

impl TokenStore {
    /// [`TokenStore::mint`] without the warnings.
    pub async fn create(&self, txn: &mut Transaction, new: NewToken) -> Result<IssuedAuth> {
        self.mint(txn, new).await.map(|(auth, _)| auth)
    }

    /// Stages a new token in `txn`; it exists when that commits. The parent joins the read set.
    /// Also answers warnings, of capped TTLs for example.
    ///
    /// # Errors
    /// 400 for what may not be granted; nothing is staged then.
    pub async fn mint(&self, txn: &mut Transaction, new: NewToken) -> Result<(IssuedAuth, Vec<String>)> {
        let policies = granted(&new)?;
        check_size(&new)?;
        let root = policies.iter().any(|p| p == ROOT_POLICY);
        let depth = match &new.parent {
            Some(p) if p.depth + 1 >= MAX_TOKEN_DEPTH => {
                return Err(Error::invalid("too many generations of child tokens"));
            }
            Some(p) => p.depth + 1,
            None => 0,
        };
        let now = self.0.clock.now();
        let (ttl, warnings) = self.lifetime(&new, root, now)?;
        let expires = !ttl.is_zero();
        let renewable = new.renewable && expires;

        let renewal_bound = whole_seconds(bound_for_renewal(&new));
        let token = id::new_token()?;
        let hash = self.0.hasher.token(token.expose_secret())?;
        let accessor = id::new_accessor()?;
        let stored = StoredToken {
            accessor: accessor.clone(),
            policies: policies.clone(),
            path: new.path,
            display_name: new.display_name,
            meta: new.meta.clone(),
            entity_id: new.entity_id.clone(),
            role: new.role,
            parent: new.parent.as_ref().map(|p| p.hash.hex()),
            depth,
            cubbyhole: self.0.hasher.cubbyhole(token.expose_secret())?,
            created: now,
            ttl: whole_seconds(ttl),
            max_ttl: renewal_bound,
            explicit_max_ttl: whole_seconds(new.explicit_max_ttl),
            period: whole_seconds(new.period),
            num_uses: new.num_uses,
            renewable,
            expires,
            generation: self.staged_generation(txn).await?,
        };
        if let Some(parent) = &new.parent {
            self.pin(txn, parent);
            link(txn, &child_path(parent.hash, hash))?;
        }
        self.stage(txn, hash, stored, ttl)?;
        let auth = IssuedAuth {
            client_token: token,
            accessor,
            token_policies: policies.clone(),
            policies,
            metadata: new.meta.unwrap_or_default(),
            lease_duration: ttl,
            renewable,
            entity_id: new.entity_id,
            token_type: "service",
            orphan: new.parent.is_none(),
            num_uses: new.num_uses,
        };
        Ok((auth, warnings))
    }

    /// The records of a new token but for its link below the parent.
    fn stage(&self, txn: &mut Transaction, hash: TokenHash, token: StoredToken, ttl: Duration) -> Result<()> {
        let hashed = self.0.hasher.accessor(&token.accessor)?;
        write(txn, &accessor_path(&hashed), &StoredAccessor::new(token.accessor.clone(), hash))?;
        if token.expires {
            let until = token.created.plus(ttl);
            let minute = minute_of(until) + 1;
            write(txn, &lease_path(hash), &StoredLease::new(until, None, minute))?;
            link(txn, &expiry_path(minute, hash))?;
        }
        if token.num_uses > 0 {
            write(txn, &uses_path(hash), &StoredUses::new(token.num_uses))?;
        }
        write(txn, &id_path(hash), &StoredId::token(token))
    }

    /// Zero: never expires, which only root tokens may.
    fn lifetime(
        &self,
        new: &NewToken,
        root: bool,
        now: vault_logical::Timestamp,
    ) -> Result<(Duration, Vec<String>)> {
        let unstated = new.ttl.is_zero() && new.period.is_zero() && new.explicit_max_ttl.is_zero();
        if root && unstated {
            // An orphan or a child: what a token that ends has granted must end too.
            if let Issuer::Caller { caller_expires: true, .. } = new.issuer {
                return Err(Error::invalid("expiring root tokens cannot create non-expiring root tokens"));
            }
            return Ok((Duration::ZERO, Vec::new()));
        }
        let bare_root = root && new.ttl.is_zero() && new.period.is_zero();
        let wanted = Wanted {
            increment: Duration::ZERO,
            ttl: if bare_root { new.explicit_max_ttl } else { new.ttl },
            period: new.period,
            max_ttl: new.max_ttl,
            explicit_max_ttl: new.explicit_max_ttl,
        };
        ttl::effective(&wanted, new.defaults.unwrap_or_else(|| self.defaults()), now, now)
    }
}

/// The upper bound that renewals keep to: the auth method's own and its mount's.
fn bound_for_renewal(new: &NewToken) -> Duration {
    let mount = new.defaults.map_or(Duration::ZERO, |d| d.max_ttl);
    match (new.max_ttl.is_zero(), mount.is_zero()) {
        (true, _) => mount,
        (false, true) => new.max_ttl,
        (false, false) => new.max_ttl.min(mount),
    }
}

/// The token's policies: normalised, sorted, without duplicates, and no more than its issuer
/// may grant. The last word on policies: nothing is added after it.
fn granted(new: &NewToken) -> Result<Vec<String>> {
    let mut policies = normalised(&new.policies)?;
    let root = policies.iter().any(|p| p == ROOT_POLICY);
    if let Issuer::Caller { caller_policies, caller_sudo, role_grants, .. } = &new.issuer
        && !caller_sudo
        && !role_grants
        && !policies
            .iter()
            .all(|p| caller_policies.contains(p) || caller_policies.iter().any(|c| c == ROOT_POLICY))
    {
        return Err(Error::invalid("child policies must be subset of parent"));
    }
    let may_root = match &new.issuer {
        Issuer::Core => true,
        Issuer::Login => false,
        Issuer::Caller { caller_policies, .. } => caller_policies.iter().any(|c| c == ROOT_POLICY),
    };
    if root && !may_root {
        return Err(Error::invalid(match new.issuer {
            Issuer::Login => "auth methods cannot create root tokens",
            _ => "root tokens may not be created without parent token being root",
        }));
    }
    if root {
        // Root stands alone: it needs nothing beside it.
        return Ok(vec![ROOT_POLICY.into()]);
    }
    if !matches!(new.issuer, Issuer::Core)
        && let Some(p) = policies.iter().find(|p| INTERNAL.contains(&p.as_str()))
    {
        return Err(Error::invalid(format!("cannot assign policy \"{p}\"")));
    }
    let adds_default = match &new.issuer {
        Issuer::Caller { caller_policies, caller_sudo: false, role_grants: false, .. } => {
            caller_policies.iter().any(|p| p == DEFAULT_POLICY)
        }
        _ => true,
    };
    if new.default_policy && adds_default && !policies.iter().any(|p| p == DEFAULT_POLICY) {
        policies.push(DEFAULT_POLICY.into());
        policies.sort();
    }
    if policies.len() > MAX_TOKEN_POLICIES {
        return Err(Error::invalid(format!("a token may have at most {MAX_TOKEN_POLICIES} policies")));
    }
    Ok(policies)
}

/// Policy names in their one form, sorted, without duplicates; empty names are left out, as in
/// Vault.
pub(super) fn normalised(names: &[String]) -> Result<Vec<String>> {
    let mut out = Vec::with_capacity(names.len().min(MAX_TOKEN_POLICIES));
    for name in names.iter().filter(|n| !n.trim().is_empty()) {
        out.push(policy::normalise_name(name)?);
    }
    out.sort();
    out.dedup();
    Ok(out)
}

fn check_size(new: &NewToken) -> Result<()> {
    let meta = new.meta.iter().flatten();
    let bytes: usize = meta.map(|(k, v)| k.len() + v.len()).sum();
    let entries = new.meta.as_ref().map_or(0, BTreeMap::len);
    if entries > MAX_TOKEN_META || bytes > MAX_TOKEN_META_BYTES {
        return Err(Error::invalid(format!(
            "token metadata is larger than {MAX_TOKEN_META} entries or {MAX_TOKEN_META_BYTES} bytes"
        )));
    }
    if new.display_name.len() > MAX_DISPLAY_NAME {
        return Err(Error::invalid(format!("display name is longer than {MAX_DISPLAY_NAME} bytes")));
    }
    Ok(())
}
