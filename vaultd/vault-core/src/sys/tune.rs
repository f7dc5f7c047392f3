//! The settings of a mount: `sys/mounts/:path/tune`, and `config` where one is enabled.
//!
//! A field that Vault documents is kept, or refused when it says something that is not built. A
//! field that nobody knows is named in a warning. None is dropped behind a 204.

use super::mounts::{Found, find};
use super::{After, Call, Done, object};
use crate::exchange::Verb;
use crate::limits::{MAX_DESCRIPTION, MAX_TUNE_VALUE_BYTES, MAX_TUNE_VALUES};
use crate::mounts::{self, StoredMount};
use crate::unsealed::Unsealed;
use serde_json::{Value, json};
use std::sync::Arc;
use storage::Transaction;
use vault_logical::{Data, Error, Response, Result, field};

/// What a mount's token type is called where nothing was set.
const TOKEN_TYPE: &str = "default-service";

/// Every field that is taken; [`UNBUILT`] are known as well.
pub const FIELDS: &[&str] = &[
    "default_lease_ttl",
    "max_lease_ttl",
    "force_no_cache",
    "description",
    "options",
    "token_type",
    "listing_visibility",
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "passthrough_request_headers",
    "allowed_response_headers",
];

/// Documented by Vault or OpenBao and not built here: refused when they say something.
const UNBUILT: &[&str] = &[
    "allowed_managed_keys",
    "user_lockout_config",
    "plugin_name",
    "plugin_version",
    "override_pinned_version",
    "identity_token_key",
    "delegated_auth_accessors",
    "trim_request_trailing_slashes",
    "external_entropy_access",
];

pub async fn handle(
    core: &Arc<Unsealed>,
    txn: &mut Transaction,
    call: &Call<'_>,
    auth: bool,
    path: &str,
) -> Result<Done> {
    let full = format!("{}{}/", if auth { "auth/" } else { "" }, path.trim_matches('/'));
    let found = find(core, auth, path)?;
    match call.incoming.verb {
        Verb::Read => {
            let missing = || Error::invalid(format!("cannot fetch sysview for path \"{full}\""));
            Ok(Response::data(read(core, found.ok_or_else(missing)?.record())).into())
        }
        Verb::Write => {
            let found = found.ok_or_else(|| mounts::not_there(&full))?;
            write(core, txn, call.data(), &found).await
        }
        _ => Err(Error::unsupported_operation()),
    }
}

/// The settings as they take effect.
fn read(core: &Unsealed, record: &StoredMount) -> Data {
    let ttl = core.mounts.effective(&record.config);
    let mut v = config_json(record);
    v.insert("default_lease_ttl".into(), ttl.default.as_secs().into());
    v.insert("max_lease_ttl".into(), ttl.max.as_secs().into());
    v.insert("description".into(), record.description.as_str().into());
    if !record.options.is_empty() {
        v.insert("options".into(), json!(record.options));
    }
    v
}

async fn write(core: &Unsealed, txn: &mut Transaction, data: &Data, found: &Found) -> Result<Done> {
    let change = |record: &mut StoredMount| {
        if !record.auth && data.get("token_type").is_some_and(says_something) {
            return Err(Error::invalid("'token_type' can only be modified on auth mounts"));
        }
        apply(record, data)?;
        if let Some(d) = field::string(data, "description")? {
            record.description = d;
        }
        for (name, value) in field::string_map(data, "options")?.unwrap_or_default() {
            // An empty value takes the option away; a version stays what it is.
            match value.is_empty() && name != "version" {
                true => drop(record.options.remove(&name)),
                false => drop(record.options.insert(name, value)),
            }
        }
        check(core, record)
    };
    match found {
        Found::Mount(mounted) => {
            let checked = |record: &mut StoredMount| {
                let before = record.options.clone();
                change(record)?;
                if record.options == before { Ok(()) } else { mounted.engine.check_options(&record.options) }
            };
            core.mounts.update(txn, mounted, checked).await?;
        }
        Found::Builtin(builtin) => {
            refuse_on_builtin(builtin, data)?;
            core.mounts.update_builtin(txn, builtin.auth, change).await?;
        }
    }
    let warnings = unrecognised(data, FIELDS).into_iter().collect();
    let response = Response { warnings, ..Response::default() };
    Ok(Done { response, after: After::RefreshMounts, ..Done::default() })
}

/// What `sys/` and `auth/token/` cannot be told.
fn refuse_on_builtin(builtin: &StoredMount, data: &Data) -> Result<()> {
    for name in ["options", "token_type", "audit_non_hmac_request_keys", "audit_non_hmac_response_keys"] {
        if data.get(name).is_some_and(says_something) {
            let path = builtin.full_path();
            return Err(Error::invalid(format!("'{name}' cannot be set for the built-in mount {path}")));
        }
    }
    Ok(())
}

/// `config` of a mount, as `sys/mounts` shows it: its own settings, 0 for the system's TTLs.
pub fn config_json(record: &StoredMount) -> Data {
    let c = &record.config;
    let mut v = object(json!({
        "default_lease_ttl": c.default_lease_ttl,
        "max_lease_ttl": c.max_lease_ttl,
        "force_no_cache": c.force_no_cache,
    }));
    if record.auth {
        v.insert("token_type".into(), c.token_type.as_deref().unwrap_or(TOKEN_TYPE).into());
    }
    if let Some(l) = &c.listing_visibility {
        v.insert("listing_visibility".into(), l.as_str().into());
    }
    for (name, values) in [
        ("audit_non_hmac_request_keys", &c.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &c.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &c.passthrough_request_headers),
        ("allowed_response_headers", &c.allowed_response_headers),
    ] {
        if !values.is_empty() {
            v.insert(name.into(), json!(values));
        }
    }
    v
}

/// Takes the fields of `config` that are present.
pub fn apply(record: &mut StoredMount, data: &Data) -> Result<()> {
    refuse_unbuilt(data)?;
    let config = &mut record.config;
    if let Some(seconds) = lease_ttl(data, "default_lease_ttl")? {
        config.default_lease_ttl = seconds;
    }
    if let Some(seconds) = lease_ttl(data, "max_lease_ttl")? {
        config.max_lease_ttl = seconds;
    }
    // Go's client sends `false` with every tune: only `true` says something.
    config.force_no_cache |= field::boolean(data, "force_no_cache")?.unwrap_or(false);
    if let Some(t) = field::string(data, "token_type")? {
        if !matches!(t.as_str(), "" | TOKEN_TYPE | "service") {
            return Err(Error::invalid("token_type: only service tokens are supported by this server"));
        }
        config.token_type = Some(t).filter(|t| !t.is_empty() && record.auth);
    }
    if let Some(l) = field::string(data, "listing_visibility")? {
        if !matches!(l.as_str(), "" | "hidden" | "unauth") {
            return Err(Error::invalid("invalid listing_visibility: it is \"hidden\" or \"unauth\""));
        }
        config.listing_visibility = Some(l).filter(|l| !l.is_empty());
    }
    for (name, to) in [
        ("audit_non_hmac_request_keys", &mut config.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &mut config.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &mut config.passthrough_request_headers),
        ("allowed_response_headers", &mut config.allowed_response_headers),
    ] {
        if let Some(values) = field::strings(data, name)? {
            *to = values;
        }
    }
    Ok(())
}

/// Checks a mount's settings as a whole.
// A mount may exceed the system's maximum, as in Vault: it is the operator's choice.
pub fn check(core: &Unsealed, record: &StoredMount) -> Result<()> {
    let c = &record.config;
    let max = core.mounts.effective(c).max.as_secs();
    if c.default_lease_ttl > max {
        return Err(Error::invalid(format!(
            "backend max lease TTL of {max} would be less than backend default lease TTL of {}",
            c.default_lease_ttl
        )));
    }
    if record.description.len() > MAX_DESCRIPTION {
        return Err(Error::invalid("description is too long"));
    }
    let lists = [
        &c.audit_non_hmac_request_keys,
        &c.audit_non_hmac_response_keys,
        &c.passthrough_request_headers,
        &c.allowed_response_headers,
    ];
    let long = |s: &String| s.len() > MAX_TUNE_VALUE_BYTES;
    let too_much = lists.iter().any(|l| l.len() > MAX_TUNE_VALUES || l.iter().any(long))
        || record.options.len() > MAX_TUNE_VALUES
        || record.options.iter().any(|(k, v)| long(k) || long(v));
    if too_much {
        return Err(Error::invalid(format!(
            "a list has more than {MAX_TUNE_VALUES} values, or one of more than {MAX_TUNE_VALUE_BYTES} bytes"
        )));
    }
    Ok(())
}

/// Whole seconds; 0 is the system's. Empty says nothing: Go's clients send it for what they do not
/// mean to change.
fn lease_ttl(data: &Data, name: &str) -> Result<Option<u64>> {
    let system = match data.get(name) {
        Some(Value::String(s)) if s.trim().is_empty() => return Ok(None),
        Some(Value::String(s)) => matches!(s.trim(), "system" | "-1" | "-1s"),
        Some(Value::Number(n)) => n.as_i64() == Some(-1),
        _ => false,
    };
    if system {
        return Ok(Some(0));
    }
    Ok(field::duration(data, name)?.map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0)))
}

pub fn refuse_unbuilt(data: &Data) -> Result<()> {
    for name in UNBUILT {
        if data.get(*name).is_some_and(says_something) {
            return Err(Error::invalid(format!("'{name}' is not supported by this server")));
        }
    }
    Ok(())
}

/// False for what clients send to leave a field out.
fn says_something(v: &Value) -> bool {
    match v {
        Value::Null | Value::Bool(false) => false,
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
        Value::Number(_) | Value::Bool(true) => true,
    }
}

/// Vault's warning about fields that an endpoint does not know.
pub fn unrecognised(data: &Data, known: &[&str]) -> Option<String> {
    let unknown = |k: &&str| !known.contains(k) && !UNBUILT.contains(k);
    let names: Vec<&str> = data.keys().map(String::as_str).filter(unknown).collect();
    (!names.is_empty())
        .then(|| format!("Endpoint ignored these unrecognized parameters: [{}]", names.join(" ")))
}
