//! What the claims of a verified token must say, and what they make of the caller.

use super::config::Config;
use super::role::{Match, Role};
use super::token::{Claims, Refused};
use crate::limits::{JWT_MAX_ALIAS_BYTES, JWT_MAX_GROUPS};
use serde_json::Value;
use std::collections::BTreeMap;
use vault_logical::Timestamp;

/// A NumericDate: whole seconds, nothing else. A claim that is there and is not that is refused,
/// never treated as absent.
fn date(claims: &Claims, name: &str) -> Result<Option<Timestamp>, Refused> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(n)) => {
            let seconds = n.as_u64().and_then(|n| i64::try_from(n).ok());
            let fits = seconds.filter(|s| s.checked_mul(1_000_000_000).is_some());
            fits.map(|s| Some(Timestamp::from_unix_secs(s)))
                .ok_or(Refused("a date is not a whole number of seconds"))
        }
        Some(_) => Err(Refused("a date is not a number")),
    }
}

fn text<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a str>, Refused> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(s)) => Ok(Some(s)),
        Some(_) => Err(Refused("a registered claim is not a string")),
    }
}

fn audiences(claims: &Claims) -> Result<Vec<&str>, Refused> {
    let bad = Refused("aud is not a string or a list of strings");
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(s)) => Ok(vec![s]),
        Some(Value::Array(a)) => a.iter().map(Value::as_str).collect::<Option<_>>().ok_or(bad),
        Some(_) => Err(bad),
    }
}

/// The registered claims (RFC 7519, 4.1). Answers until when the token is
/// accepted: its end and the leeway.
pub(super) fn registered(
    c: &Claims,
    config: &Config,
    role: &Role,
    now: Timestamp,
) -> Result<Timestamp, Refused> {
    // Bound to a key whose possession nobody showed; or an event, not a login.
    if c.contains_key("cnf") {
        return Err(Refused("bound to a key, without a proof of it"));
    }
    if c.contains_key("events") {
        return Err(Refused("a security event, not a login"));
    }
    let leeway = role.leeway();
    let expires = date(c, "exp")?.ok_or(Refused("no exp"))?;
    if now >= expires.plus(leeway.expiration) {
        return Err(Refused("expired"));
    }
    for name in ["nbf", "iat"] {
        if date(c, name)?.is_some_and(|t| now.plus(leeway.not_before) < t) {
            return Err(Refused("not valid yet"));
        }
    }
    // A token without a date of its own begins now: what is left of it must fit.
    let begins = date(c, "iat")?.or(date(c, "nbf")?).unwrap_or(now);
    if expires > begins.plus(config.max_lifetime()) {
        return Err(Refused("lives longer than the configuration allows"));
    }
    let issuer = text(c, "iss")?;
    if !config.bound_issuer.is_empty() && issuer != Some(config.bound_issuer.as_str()) {
        return Err(Refused("another issuer"));
    }
    let subject = text(c, "sub")?;
    if !role.bound_subject.is_empty() && subject != Some(role.bound_subject.as_str()) {
        return Err(Refused("another subject"));
    }
    text(c, "jti")?;
    let audiences = audiences(c)?;
    let meant = audiences.iter().any(|a| role.bound_audiences.iter().any(|b| a == b));
    // A token for somebody is not for a role that names nobody.
    let for_anyone = role.bound_audiences.is_empty() && audiences.is_empty();
    if !meant && !for_anyone {
        return Err(Refused("meant for another audience"));
    }
    // Until then it is accepted, and whatever is granted on it lasts.
    Ok(expires.plus(leeway.expiration))
}

/// A claim by name, or by JSON pointer where the name starts with `/`.
fn find<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if !name.starts_with('/') {
        return claims.get(name);
    }
    let (first, rest) = name.get(1..)?.split_at(name.get(1..)?.find('/').unwrap_or(name.len() - 1));
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

/// `*` stands for any text, everything else for itself.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn one_or_many(v: &Value) -> &[Value] {
    match v {
        Value::Array(a) => a,
        v => std::slice::from_ref(v),
    }
}

/// Every bound claim must be there, and one of its values one of the wanted ones.
pub(super) fn bound(claims: &Claims, role: &Role) -> Result<(), Refused> {
    for (name, want) in &role.bound_claims {
        let have = find(claims, name).ok_or(Refused("a bound claim is missing"))?;
        let matches = |have: &Value, want: &Value| match (role.bound_claims_type, have, want) {
            (Match::Glob, Value::String(have), Value::String(want)) => glob(want, have),
            (Match::Glob, ..) => false,
            (Match::String, Value::String(_) | Value::Bool(_) | Value::Number(_), _) => have == want,
            (Match::String, ..) => false,
        };
        if !one_or_many(have).iter().any(|h| one_or_many(want).iter().any(|w| matches(h, w))) {
            return Err(Refused("a bound claim does not match"));
        }
    }
    Ok(())
}

/// The subject's stable name.
pub(super) fn alias<'a>(claims: &'a Claims, role: &Role) -> Result<&'a str, Refused> {
    let found = if role.user_claim_json_pointer {
        find(claims, &role.user_claim)
    } else {
        claims.get(&role.user_claim)
    };
    match found {
        Some(Value::String(s))
            if !s.is_empty() && s.len() <= JWT_MAX_ALIAS_BYTES && !s.chars().any(char::is_control) =>
        {
            Ok(s)
        }
        _ => Err(Refused("the user claim is not a short text")),
    }
}

pub(super) fn groups(claims: &Claims, role: &Role) -> Result<Vec<String>, Refused> {
    if role.groups_claim.is_empty() {
        return Ok(Vec::new());
    }
    let list = one_or_many(find(claims, &role.groups_claim).ok_or(Refused("the groups claim is missing"))?);
    if list.len() > JWT_MAX_GROUPS {
        return Err(Refused("too many groups"));
    }
    let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    let names = names.ok_or(Refused("a group is not a string"))?;
    Ok(names.into_iter().filter(|g| !g.is_empty()).map(str::to_string).collect())
}

/// The token's metadata: the role, and the claims that the role maps.
pub(super) fn metadata(
    claims: &Claims,
    role: &Role,
    name: &str,
) -> Result<BTreeMap<String, String>, Refused> {
    let mut m = BTreeMap::from([("role".to_string(), name.to_string())]);
    for (claim, key) in &role.claim_mappings {
        match find(claims, claim) {
            None => {}
            Some(Value::String(s)) => _ = m.insert(key.clone(), s.clone()),
            Some(_) => return Err(Refused("a mapped claim is not a string")),
        }
    }
    Ok(m)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn globs() {
        for (pattern, text, yes) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("*", "", true),
            ("", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*a", "a", false),
            ("a**a", "aa", true),
            ("*b*", "abc", true),
            ("*b*b", "abc", false),
            ("b*", "abc", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a.c", "abc", false),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), yes, "{pattern} {text}");
        }
    }

    #[test]
    fn pointers() {
        let c = json!({"a": {"b": [1, 2]}, "x/y": {"~": 3}, "": 4, "/lit": 5}).as_object().cloned().unwrap();
        for (name, want) in [
            ("a", Some(json!({"b": [1, 2]}))),
            ("/a/b/1", Some(json!(2))),
            ("/a", Some(json!({"b": [1, 2]}))),
            ("/x~1y/~0", Some(json!(3))),
            ("/", Some(json!(4))),
            ("/a/c", None),
            ("x/y", Some(json!({"~": 3}))),
            ("/lit", None),
        ] {
            assert_eq!(find(&c, name).cloned(), want, "{name}");
        }
    }
}
