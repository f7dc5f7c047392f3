//! Serving `create`, `lookup` and `revoke`, and the list of accessors.

use super::TokenStore;
use super::create::{Issuer, NewToken, normalised};
use super::entry::TokenEntry;
use super::handle::{Answer, TokenCall, plain};
use super::id::{self, TokenHash};
use super::record::{
    ACCESSORS, StoredAccessor, StoredRole, StoredUses, accessor_path, decode, read, secs, space, uses_path,
};
use super::revoke::Children;
use super::roles;
use crate::fault;
use crate::limits::MAX_ACCESSOR_LIST;
use serde_json::{Value, json};
use std::time::Duration;
use storage::Transaction;
use vault_logical::{Data, Error, Response, Result, field};

/// A token that a request names, as found in its transaction.
pub(super) struct Target {
    pub entry: TokenEntry,
    pub orphan: bool,
    pub uses_left: u64,
}

const CREATE_FIELDS: &[&str] = &[
    "display_name",
    "entity_alias",
    "explicit_max_ttl",
    "id",
    "lease",
    "meta",
    "no_default_policy",
    "no_parent",
    "num_uses",
    "period",
    "policies",
    "renewable",
    "role_name",
    "ttl",
    "type",
];

impl TokenStore {
    /// The living token of that hash. A token whose last use is under way is found by that
    /// request only.
    pub(super) async fn target(
        &self,
        txn: &mut Transaction,
        hash: TokenHash,
        call: &TokenCall<'_>,
    ) -> Result<Option<Target>> {
        let Some((entry, orphan)) = self.find(txn, hash).await? else { return Ok(None) };
        let uses_left = match entry.num_uses {
            0 => 0,
            _ => read::<StoredUses>(txn, &uses_path(hash)).await?.map_or(0, |u| u.left),
        };
        if entry.num_uses > 0 && uses_left == 0 && hash != call.caller.hash {
            return Ok(None);
        }
        Ok(Some(Target { entry, orphan, uses_left }))
    }

    /// The living token that field `token` names.
    pub(super) async fn named(
        &self,
        txn: &mut Transaction,
        token: &str,
        call: &TokenCall<'_>,
    ) -> Result<Option<Target>> {
        if !id::well_formed(token) {
            return Ok(None);
        }
        let hash = self.0.hasher.token(token)?;
        self.target(txn, hash, call).await
    }

    /// The living token of field `accessor`.
    pub(super) async fn accessed(
        &self,
        txn: &mut Transaction,
        call: &TokenCall<'_>,
    ) -> Result<Option<Target>> {
        let accessor = required(call.data, "accessor", "missing accessor")?;
        match self.by_accessor(txn, &accessor).await? {
            Some(hash) => self.target(txn, hash, call).await,
            None => Ok(None),
        }
    }

    pub(super) async fn lookup_token(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let token = field::string(call.data, "token")?.filter(|t| !t.is_empty());
        let token = token.as_deref().unwrap_or(call.presented);
        let found = self.named(txn, token, call).await?.ok_or_else(bad_token)?;
        plain(Response::data(self.describe(&found, token)))
    }

    pub(super) async fn lookup_self(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let found = self.target(txn, call.caller.hash, call).await?.ok_or_else(bad_token)?;
        plain(Response::data(self.describe(&found, call.presented)))
    }

    pub(super) async fn lookup_accessor(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let found = self.accessed(txn, call).await?.ok_or_else(|| Error::invalid("invalid accessor"))?;
        plain(Response::data(self.describe(&found, "")))
    }

    /// The `data` of a lookup. The parent is left out: naming it would help to climb up.
    fn describe(&self, target: &Target, id: &str) -> Data {
        let e = &target.entry;
        let now = self.0.clock.now();
        let mut d = Data::new();
        let mut put = |name: &str, value: Value| d.insert(name.into(), value);
        put("accessor", json!(e.accessor));
        put("creation_time", json!(e.created.unix_secs()));
        put("creation_ttl", json!(e.ttl.as_secs()));
        put("display_name", json!(e.display_name));
        put("entity_id", json!(e.entity_id));
        put("expire_time", e.expires.map_or(Value::Null, |t| json!(t.rfc3339())));
        put("explicit_max_ttl", json!(e.explicit_max_ttl.as_secs()));
        put("id", json!(id));
        put("meta", json!(e.meta));
        put("num_uses", json!(target.uses_left));
        put("orphan", json!(target.orphan));
        put("path", json!(e.path));
        put("policies", json!(e.policies));
        put("ttl", json!(e.time_left(now).unwrap_or(Duration::ZERO).as_secs()));
        put("type", json!("service"));
        if e.expires.is_some() {
            put("issue_time", json!(e.created.rfc3339()));
            put("renewable", json!(e.renewable));
        }
        if let Some(t) = e.last_renewal {
            put("last_renewal", json!(t.rfc3339()));
            put("last_renewal_time", json!(t.unix_secs()));
        }
        if !e.period.is_zero() {
            put("period", json!(e.period.as_secs()));
        }
        if !e.role.is_empty() {
            put("role", json!(e.role));
        }
        d
    }

    pub(super) async fn revoke_token(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let token = required(call.data, "token", "missing token ID")?;
        // An unknown token is as good as revoked.
        if let Some(found) = self.named(txn, &token, call).await? {
            self.stage_revoke(txn, found.entry.hash, Children::End).await?;
        }
        plain(Response::empty())
    }

    pub(super) async fn revoke_self(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        self.stage_revoke(txn, call.caller.hash, Children::End).await?;
        plain(Response::empty())
    }

    pub(super) async fn revoke_by_accessor(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let Some(found) = self.accessed(txn, call).await? else {
            return plain(Response::empty().warn("No token found with this accessor"));
        };
        self.stage_revoke(txn, found.entry.hash, Children::End).await?;
        plain(Response::empty())
    }

    pub(super) async fn revoke_orphan(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let token = required(call.data, "token", "missing token ID")?;
        if !call.sudo() {
            return Err(Error::invalid("root or sudo privileges required to revoke and orphan"));
        }
        let found = self.named(txn, &token, call).await?;
        let found = found.ok_or_else(|| Error::invalid("token to revoke not found"))?;
        self.stage_revoke(txn, found.entry.hash, Children::Release).await?;
        plain(Response::empty())
    }

    /// `LIST accessors`, of at most [`MAX_ACCESSOR_LIST`] tokens. Storage orders them by hash, so
    /// all of them are read before `after` and `limit` apply.
    pub(super) async fn list_accessors(&self, call: &TokenCall<'_>) -> Answer {
        if !call.sudo() {
            return Err(Error::denied());
        }
        let store = &self.0.store;
        let names =
            store.list(space(), ACCESSORS, None, MAX_ACCESSOR_LIST + 1).await.map_err(fault::storage)?;
        let more = names.len() > MAX_ACCESSOR_LIST;
        let mut keys = Vec::with_capacity(names.len());
        for name in names.iter().take(MAX_ACCESSOR_LIST) {
            if let Some(v) = store.get(space(), &accessor_path(name)).await.map_err(fault::storage)? {
                keys.push(decode::<StoredAccessor>(&v.value)?.accessor);
            }
        }
        keys.sort();
        let response = Response::keys(roles::page(keys, call.data)?);
        plain(if more {
            response.warn(format!("only {MAX_ACCESSOR_LIST} of the accessors are listed"))
        } else {
            response
        })
    }

    pub(super) async fn create_child(
        &self,
        txn: &mut Transaction,
        call: &TokenCall<'_>,
        orphan: bool,
        role_name: Option<&str>,
    ) -> Answer {
        if call.caller.num_uses > 0 {
            return Err(Error::invalid("restricted use token cannot generate child tokens"));
        }
        let role = match role_name {
            None => None,
            Some(name) => Some(self.role(txn, name).await?.ok_or_else(|| Error::invalid("unknown role"))?),
        };
        refuse_unbuilt(call.data)?;
        let mut warnings = Vec::new();
        let mut new = self.wanted(call, role.as_ref(), role_name, orphan)?;
        self.bound(&mut new, role.as_ref(), &mut warnings);
        let (auth, capped) = self.mint(txn, new).await?;
        warnings.extend(capped);
        warnings.extend(unrecognised(call.data, CREATE_FIELDS));
        Ok((Response { warnings, ..Response::default() }, Some(auth)))
    }

    /// What the request asks for, as far as the caller may ask for it.
    fn wanted(
        &self,
        call: &TokenCall<'_>,
        role: Option<&StoredRole>,
        role_name: Option<&str>,
        orphan: bool,
    ) -> Result<NewToken> {
        let data = call.data;
        let caller = call.caller;
        let asked = normalised(&field::strings(data, "policies")?.unwrap_or_default())?;
        let no_default = field::boolean(data, "no_default_policy")?.unwrap_or(false)
            || role.is_some_and(|r| r.no_default_policy);
        let (policies, default_policy, role_grants) = match role {
            Some(role) if roles::grants(role) => {
                let (policies, default) = roles::policies(role, asked, &caller.policies, no_default)?;
                (policies, default, true)
            }
            // Inherited as they are: "default" is not added to a set that lacks it.
            _ if asked.is_empty() => (caller.policies.clone(), false, false),
            _ => (asked, !no_default, false),
        };
        let policies = policies.into_iter().filter(|p| !(no_default && p == super::DEFAULT_POLICY)).collect();
        let no_parent = field::boolean(data, "no_parent")?.unwrap_or(false);
        let orphan = match role {
            Some(role) => role.orphan,
            None if no_parent && !orphan && !call.sudo() => {
                return Err(Error::invalid("root or sudo privileges required to create orphan token"));
            }
            None => orphan || no_parent,
        };
        let period = field::duration(data, "period")?.unwrap_or_default();
        if !period.is_zero() && !call.sudo() {
            return Err(Error::invalid("root or sudo privileges required to create periodic token"));
        }
        let ttl = match field::duration(data, "ttl")?.filter(|d| !d.is_zero()) {
            Some(ttl) => ttl,
            // The old name of the same field.
            None => field::duration(data, "lease")?.unwrap_or_default(),
        };
        let issuer = Issuer::Caller {
            caller_policies: caller.policies.clone(),
            caller_sudo: call.sudo(),
            role_grants,
            caller_expires: caller.expires.is_some(),
        };
        let suffix = role.map(|r| r.path_suffix.as_str()).filter(|s| !s.is_empty());
        let path = format!("auth/token/{}{}{}", call.path, suffix.map_or("", |_| "/"), suffix.unwrap_or(""));
        Ok(NewToken {
            display_name: display_name(field::string(data, "display_name")?.as_deref()),
            policies,
            default_policy,
            meta: field::string_map(data, "meta")?,
            entity_id: if orphan { String::new() } else { caller.entity_id.clone() },
            role: role_name.unwrap_or("").into(),
            parent: (!orphan).then(|| caller.clone()),
            ttl,
            explicit_max_ttl: field::duration(data, "explicit_max_ttl")?.unwrap_or_default(),
            period,
            num_uses: field::unsigned(data, "num_uses")?.unwrap_or(0),
            renewable: field::boolean(data, "renewable")?.unwrap_or(true) && role.is_none_or(|r| r.renewable),
            ..NewToken::blank(issuer, &path)
        })
    }

    /// Applies the role's bounds and the system's to what was asked for.
    fn bound(&self, new: &mut NewToken, role: Option<&StoredRole>, warnings: &mut Vec<String>) {
        if let Some(role) = role {
            new.period = lesser(new.period, secs(role.period), "Period", warnings);
            new.explicit_max_ttl =
                lesser(new.explicit_max_ttl, secs(role.explicit_max_ttl), "Explicit max TTL", warnings);
            new.num_uses = match (new.num_uses, role.num_uses) {
                (n, 0) | (0, n) => n,
                (a, b) => a.min(b),
            };
        }
        let max = self.defaults().max_ttl;
        if new.explicit_max_ttl > max {
            warnings.push(format!(
                "Explicit max TTL of {} seconds is greater than system/mount allowed value; value is being capped to {} seconds",
                new.explicit_max_ttl.as_secs(),
                max.as_secs()
            ));
            new.explicit_max_ttl = max;
        }
    }
}

/// The smaller of two durations where zero means "not stated".
fn lesser(asked: Duration, role: Duration, what: &str, warnings: &mut Vec<String>) -> Duration {
    match (asked.is_zero(), role.is_zero()) {
        (_, true) => asked,
        (true, false) => role,
        (false, false) => {
            let least = asked.min(role);
            warnings.push(format!(
                "{what} specified both during creation call and in role; using the lesser value of {} seconds",
                least.as_secs()
            ));
            least
        }
    }
}

/// `token-` and the name with what is no letter, digit or dash replaced, as in Vault.
fn display_name(asked: Option<&str>) -> String {
    match asked {
        None | Some("") => "token".into(),
        Some(name) => {
            let clean: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
            let full = format!("token-{clean}");
            full.strip_suffix('-').unwrap_or(&full).to_string()
        }
    }
}

/// Fields that would change what the token is, and are not built.
fn refuse_unbuilt(data: &Data) -> Result<()> {
    match field::string(data, "type")?.as_deref() {
        None | Some("" | "service") => {}
        Some("batch") => return Err(Error::invalid("batch tokens are not supported yet")),
        Some(_) => return Err(Error::invalid("invalid 'token_type' value")),
    }
    if field::string(data, "id")?.is_some_and(|s| !s.is_empty()) {
        return Err(Error::invalid("token ids cannot be chosen: they are made by the server"));
    }
    if field::string(data, "entity_alias")?.is_some_and(|s| !s.is_empty()) {
        return Err(Error::invalid("entity aliases are not supported yet"));
    }
    Ok(())
}

/// Vault's warning about fields that an endpoint does not know.
pub(super) fn unrecognised(data: &Data, known: &[&str]) -> Option<String> {
    let names: Vec<&str> = data.keys().map(String::as_str).filter(|k| !known.contains(k)).collect();
    (!names.is_empty())
        .then(|| format!("Endpoint ignored these unrecognized parameters: [{}]", names.join(" ")))
}

pub(super) fn required(data: &Data, name: &str, missing: &'static str) -> Result<String> {
    match field::string(data, name)? {
        Some(s) if !s.is_empty() => Ok(s),
        _ => Err(Error::invalid(missing)),
    }
}

fn bad_token() -> Error {
    Error::new(vault_logical::ErrorKind::PermissionDenied, "bad token")
}
