//! Token roles: what tokens made through `create/:role` are and may hold.

use super::TokenStore;
use super::create::{DEFAULT_POLICY, normalised};
use super::handle::{Answer, TokenCall, plain};
use super::record::{ROLES, StoredRole, delete, read, role_path, space, write};
use super::requests::unrecognised;
use super::ttl::whole_seconds;
use crate::fault;
use crate::limits::{MAX_TOKEN_ROLE_NAME, MAX_TOKEN_ROLE_POLICIES};
use serde_json::json;
use storage::Transaction;
use vault_logical::limits::MAX_LIST_KEYS;
use vault_logical::{Data, Error, Response, Result, field};

const FIELDS: &[&str] = &[
    "allowed_entity_aliases",
    "allowed_policies",
    "allowed_policies_glob",
    "bound_cidrs",
    "disallowed_policies",
    "disallowed_policies_glob",
    "explicit_max_ttl",
    "orphan",
    "path_suffix",
    "period",
    "renewable",
    "role_name",
    "token_bound_cidrs",
    "token_explicit_max_ttl",
    "token_no_default_policy",
    "token_num_uses",
    "token_period",
    "token_type",
];
/// Fields that restrict who may use a token: leaving them out silently would grant too much.
const UNBUILT: &[&str] = &["allowed_entity_aliases", "bound_cidrs", "token_bound_cidrs"];

impl TokenStore {
    pub(super) async fn role(&self, txn: &mut Transaction, name: &str) -> Result<Option<StoredRole>> {
        if !is_name(name) {
            return Ok(None);
        }
        read(txn, &role_path(name)).await
    }

    pub(super) async fn list_roles(&self, txn: &mut Transaction, call: &TokenCall<'_>) -> Answer {
        let names = txn.list(space(), ROLES, None, MAX_LIST_KEYS).await.map_err(fault::storage)?;
        plain(Response::keys(page(names, call.data)?))
    }

    pub(super) async fn read_role(&self, txn: &mut Transaction, name: &str) -> Answer {
        let role = self.role(txn, name).await?.ok_or_else(Error::not_found)?;
        let mut d = Data::new();
        for (field, value) in [
            ("name", json!(name)),
            ("allowed_entity_aliases", json!(null)),
            ("allowed_policies", json!(role.allowed_policies)),
            ("allowed_policies_glob", json!(role.allowed_policies_glob)),
            ("disallowed_policies", json!(role.disallowed_policies)),
            ("disallowed_policies_glob", json!(role.disallowed_policies_glob)),
            // Both spellings of each, as in Vault; the old ones are never set here.
            ("explicit_max_ttl", json!(0)),
            ("token_explicit_max_ttl", json!(role.explicit_max_ttl)),
            ("period", json!(0)),
            ("token_period", json!(role.period)),
            ("orphan", json!(role.orphan)),
            ("path_suffix", json!(role.path_suffix)),
            ("renewable", json!(role.renewable)),
            ("token_no_default_policy", json!(role.no_default_policy)),
            ("token_type", json!(role.token_type)),
            ("token_num_uses", json!(role.num_uses)),
            ("token_bound_cidrs", json!([])),
            ("token_strictly_bind_ip", json!(false)),
        ] {
            d.insert(field.into(), value);
        }
        plain(Response::data(d))
    }

    /// Fields that are left out keep their value, or get their default in a new role.
    pub(super) async fn write_role(&self, txn: &mut Transaction, name: &str, call: &TokenCall<'_>) -> Answer {
        if !is_name(name) {
            return Err(Error::invalid("role names are letters, digits, \"_\", \"-\" and \".\""));
        }
        let data = call.data;
        for field in UNBUILT {
            if !field::strings(data, field)?.unwrap_or_default().is_empty() {
                return Err(Error::invalid(format!("\"{field}\" is not supported yet")));
            }
        }
        let mut role = self.role(txn, name).await?.unwrap_or_default();
        let mut warnings = Vec::new();
        set_policies(&mut role, data)?;
        if let Some(v) = field::boolean(data, "orphan")? {
            role.orphan = v;
        }
        if let Some(v) = field::boolean(data, "renewable")? {
            role.renewable = v;
        }
        if let Some(v) = field::boolean(data, "token_no_default_policy")? {
            role.no_default_policy = v;
        }
        if let Some(v) = field::unsigned(data, "token_num_uses")? {
            role.num_uses = v;
        }
        if let Some(v) = field::string(data, "path_suffix")? {
            if !v.is_empty() && !is_name(&v) {
                return Err(Error::invalid("given role path suffix contains invalid characters"));
            }
            role.path_suffix = v;
        }
        if let Some(v) = either(data, "token_period", "period", &mut warnings)? {
            role.period = v;
        }
        if let Some(v) = either(data, "token_explicit_max_ttl", "explicit_max_ttl", &mut warnings)? {
            role.explicit_max_ttl = v;
        }
        match field::string(data, "token_type")?.as_deref() {
            None => {}
            Some(t @ ("service" | "default-service")) => role.token_type = t.into(),
            Some("batch" | "default-batch") => {
                return Err(Error::invalid("batch tokens are not supported yet"));
            }
            Some(_) => return Err(Error::invalid("invalid 'token_type' value")),
        }
        warnings.extend(unrecognised(data, FIELDS));
        write(txn, &role_path(name), &role)?;
        plain(Response { warnings, ..Response::default() })
    }

    pub(super) async fn delete_role(&self, txn: &mut Transaction, name: &str) -> Answer {
        if is_name(name) {
            delete(txn, &role_path(name))?;
        }
        plain(Response::empty())
    }
}

fn set_policies(role: &mut StoredRole, data: &Data) -> Result<()> {
    for (field, list, glob) in [
        ("allowed_policies", &mut role.allowed_policies, false),
        ("disallowed_policies", &mut role.disallowed_policies, false),
        ("allowed_policies_glob", &mut role.allowed_policies_glob, true),
        ("disallowed_policies_glob", &mut role.disallowed_policies_glob, true),
    ] {
        let Some(names) = field::strings(data, field)? else { continue };
        if names.len() > MAX_TOKEN_ROLE_POLICIES {
            return Err(Error::invalid(format!(
                "\"{field}\" has more than {MAX_TOKEN_ROLE_POLICIES} entries"
            )));
        }
        *list = if glob {
            // Compared with normalised names, so spelled like them.
            let mut globs: Vec<String> = names.iter().map(|n| n.trim().to_lowercase()).collect();
            globs.sort();
            globs.dedup();
            globs
        } else {
            normalised(&names)?
        };
    }
    Ok(())
}

/// Seconds from the field, or from the name it had before; the old one gives way with a warning.
fn either(data: &Data, name: &str, old: &str, warnings: &mut Vec<String>) -> Result<Option<u64>> {
    let new = field::duration(data, name)?;
    let deprecated = field::duration(data, old)?;
    if new.is_some() && deprecated.is_some() {
        warnings.push(format!(
            "Both '{name}' and deprecated '{old}' value supplied, ignoring the deprecated value"
        ));
    }
    Ok(new.or(deprecated).map(whole_seconds))
}

/// True when the role itself says which policies its tokens may hold.
pub(super) fn grants(role: &StoredRole) -> bool {
    [
        &role.allowed_policies,
        &role.disallowed_policies,
        &role.allowed_policies_glob,
        &role.disallowed_policies_glob,
    ]
    .iter()
    .any(|list| !list.is_empty())
}

/// The policies of a token made with a role that [`grants`], and whether `default` is to be
/// added. `asked` is normalised.
///
/// # Errors
/// 400 for a policy that the role does not allow.
pub(super) fn policies(
    role: &StoredRole,
    asked: Vec<String>,
    callers: &[String],
    no_default: bool,
) -> Result<(Vec<String>, bool)> {
    let disallowed = |p: &str| {
        role.disallowed_policies.iter().any(|d| d == p)
            || role.disallowed_policies_glob.iter().any(|g| matches_glob(g, p))
    };
    let add_default = !no_default && !disallowed(DEFAULT_POLICY);
    let lists_allowed = !role.allowed_policies.is_empty() || !role.allowed_policies_glob.is_empty();
    let chosen = if !asked.is_empty() {
        asked
    } else if lists_allowed {
        role.allowed_policies.clone()
    } else {
        callers.to_vec()
    };
    if lists_allowed {
        let allowed = |p: &String| {
            role.allowed_policies.contains(p)
                || (add_default && p == DEFAULT_POLICY)
                || role.allowed_policies_glob.iter().any(|g| matches_glob(g, p))
        };
        if !chosen.iter().all(allowed) {
            return Err(Error::invalid("token policies must be subset of the role's allowed policies"));
        }
    }
    if let Some(p) = chosen.iter().find(|p| disallowed(p)) {
        return Err(Error::invalid(format!("token policy \"{p}\" is disallowed by this role")));
    }
    Ok((chosen, add_default))
}

/// `*` stands for any run of characters, anywhere in the pattern.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let Some((middle, last)) = rest.rsplit_once('*') else { return text.ends_with(rest) };
    for part in middle.split('*').filter(|p| !p.is_empty()) {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(last)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_TOKEN_ROLE_NAME
        && !name.contains("..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Applies `after` and `limit` of a LIST to sorted names.
pub(super) fn page(names: Vec<String>, data: &Data) -> Result<Vec<String>> {
    let after = field::string(data, "after")?;
    let limit = match field::unsigned(data, "limit")? {
        Some(n) if n > 0 => usize::try_from(n).unwrap_or(MAX_LIST_KEYS).min(MAX_LIST_KEYS),
        _ => MAX_LIST_KEYS,
    };
    let later = |n: &String| after.as_ref().is_none_or(|a| n > a);
    Ok(names.into_iter().filter(later).take(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::matches_glob;
    use proptest::prelude::*;

    fn naive(p: &[u8], t: &[u8]) -> bool {
        match p.split_first() {
            None => t.is_empty(),
            Some((b'*', rest)) => (0..=t.len()).any(|i| naive(rest, &t[i..])),
            Some((c, rest)) => t.split_first().is_some_and(|(d, more)| c == d && naive(rest, more)),
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_the_naive_matcher_does(p in "[ab*]{0,7}", t in "[ab]{0,8}") {
            prop_assert_eq!(matches_glob(&p, &t), naive(p.as_bytes(), t.as_bytes()), "{} {}", p, t);
        }
    }
}
