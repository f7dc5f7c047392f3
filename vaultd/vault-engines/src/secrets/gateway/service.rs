//! A service's record: from the body of a write, and back into an answer.

use super::{rules, upstream};
use crate::limits::{
    SERVICE_DEFAULT_TIMEOUT, SERVICE_MAX_FIELD_BYTES, SERVICE_MAX_REQUESTS, SERVICE_MAX_STATUSES,
    SERVICE_MAX_TIMEOUT, SERVICE_MAX_WINDOW,
};
use crate::pem;
use serde_json::{Value, json};
use std::time::Duration;
use vault_logical::{
    Binding, CREDENTIAL_REJECTED, CallerAuthKind, Data, Error, RateLimit, Result, ServiceConfig, field,
};

pub(super) const FORM: u8 = 1;
pub(super) const FIELDS: &[&str] = &[
    "upstream",
    "ca_cert",
    "credential",
    "inject",
    "allow",
    "auth",
    "caller_header",
    "caller_headers",
    "request_headers",
    "forward_range",
    "credential_rejected_status",
    "rate_limit",
    "timeout",
    "allow_private",
    FORCE,
];
/// Not of the service: write it although there is no key at its place now.
pub(super) const FORCE: &str = "force";

fn missing(name: &str) -> Error {
    Error::invalid(format!("missing required field \"{name}\""))
}

/// Where the key lies: an API path as the policy sees it, so that asking the policy about it and
/// reading it are about the same thing.
fn credential(data: &Data, own_mount: &str) -> Result<Binding> {
    let v = data.get("credential").filter(|v| !v.is_null()).ok_or_else(|| missing("credential"))?;
    let m = rules::object(v, "credential", &["path", "field", "version"])?;
    let path = field::required(m, "path")?;
    let canonical = vault_logical::path::canonical(&path)?;
    if canonical != path || path.ends_with('/') {
        return Err(Error::invalid(
            "\"credential.path\" must be a secret's API path without leading and final '/'",
        ));
    }
    // Not a secret that stays where it is: the token's own, the system's, or this mount.
    if ["sys/", "auth/", "cubbyhole/", own_mount].iter().any(|p| path.starts_with(p)) {
        return Err(Error::invalid("\"credential.path\" must lead to a secrets engine"));
    }
    let name = field::required(m, "field")?;
    if name.len() > SERVICE_MAX_FIELD_BYTES {
        return Err(Error::invalid("\"credential.field\" is too long"));
    }
    let version = field::unsigned(m, "version")?.filter(|n| *n > 0);
    Ok(Binding { path, field: name, version })
}

fn inject(data: &Data) -> Result<(String, String)> {
    let v = data.get("inject").filter(|v| !v.is_null()).ok_or_else(|| missing("inject"))?;
    let m = rules::object(v, "inject", &["header", "template"])?;
    let header = rules::header(&field::required(m, "header")?, "\"inject.header\"")?;
    Ok((header, rules::template(field::required(m, "template")?)?))
}

fn whole_seconds(d: Duration, max: Duration, name: &str) -> Result<Duration> {
    let fits = d >= Duration::from_secs(1) && d <= max && d.subsec_nanos() == 0;
    fits.then_some(d)
        .ok_or_else(|| Error::invalid(format!("field \"{name}\" must be 1 to {} seconds", max.as_secs())))
}

fn rate_limit(data: &Data) -> Result<Option<RateLimit>> {
    let Some(v) = data.get("rate_limit").filter(|v| !v.is_null()) else { return Ok(None) };
    let m = rules::object(v, "rate_limit", &["requests", "window"])?;
    let requests = field::unsigned(m, "requests")?.ok_or_else(|| missing("rate_limit.requests"))?;
    if !(1..=SERVICE_MAX_REQUESTS).contains(&requests) {
        return Err(Error::invalid(format!("\"rate_limit.requests\" must be 1 to {SERVICE_MAX_REQUESTS}")));
    }
    let window = field::duration(m, "window")?.ok_or_else(|| missing("rate_limit.window"))?;
    Ok(Some(RateLimit { requests, window: whole_seconds(window, SERVICE_MAX_WINDOW, "rate_limit.window")? }))
}

/// The statuses that mean "your key is not valid": AWS says so with 403, Gemini with 400.
fn rejected(data: &Data) -> Result<Vec<u16>> {
    let name = "credential_rejected_status";
    let bad = || {
        Error::invalid(format!(
            "field \"{name}\" must be a list of at most {SERVICE_MAX_STATUSES} statuses from 400 to 599"
        ))
    };
    let mut statuses = match data.get(name) {
        None | Some(Value::Null) => vec![CREDENTIAL_REJECTED],
        Some(Value::Array(list)) if list.len() <= SERVICE_MAX_STATUSES => {
            let status = |v: &Value| v.as_u64().and_then(|n| u16::try_from(n).ok());
            list.iter()
                .map(|v| status(v).filter(|n| (400..=599).contains(n)).ok_or_else(bad))
                .collect::<Result<Vec<u16>>>()?
        }
        Some(_) => return Err(bad()),
    };
    statuses.sort_unstable();
    statuses.dedup();
    Ok(statuses)
}

/// A write states the whole service: nothing of an older one is left in force by omission.
pub(super) fn parse(data: &Data, own_mount: &str) -> Result<ServiceConfig> {
    let allow_private = field::boolean(data, "allow_private")?.unwrap_or(false);
    let ca_cert = field::string(data, "ca_cert")?.filter(|s| !s.is_empty());
    if ca_cert.as_ref().is_some_and(|c| !pem::is_certificates(c)) {
        return Err(Error::invalid("field \"ca_cert\" must hold PEM certificates"));
    }
    let caller_headers = rules::caller_headers(data)?;
    let timeout = field::duration(data, "timeout")?.unwrap_or(SERVICE_DEFAULT_TIMEOUT);
    let (inject_header, inject_template) = inject(data)?;
    Ok(ServiceConfig {
        v: FORM,
        upstream: upstream::parse(&field::required(data, "upstream")?, allow_private)?,
        ca_cert,
        credential: credential(data, own_mount)?,
        inject_template,
        allow: rules::allow(data)?,
        auth: rules::auth(data)?,
        request_headers: rules::request_headers(data, &caller_headers, &inject_header)?,
        caller_header: caller_headers.first().cloned().unwrap_or_default(),
        caller_headers,
        forward_range: field::boolean(data, "forward_range")?.unwrap_or(false),
        credential_rejected_status: rejected(data)?,
        inject_header,
        rate_limit: rate_limit(data)?,
        timeout: whole_seconds(timeout, SERVICE_MAX_TIMEOUT, "timeout")?,
        allow_private,
    })
}

/// The same shape as a write's body; durations in seconds.
pub(super) fn describe(s: &ServiceConfig) -> Data {
    let auth = |a: &vault_logical::CallerAuth| match a.kind {
        CallerAuthKind::Token => json!({"type": "token"}),
        CallerAuthKind::Jwt => json!({"type": "jwt", "mount": a.mount, "role": a.role}),
    };
    let fields = [
        ("upstream", s.upstream.clone().into()),
        ("ca_cert", s.ca_cert.clone().unwrap_or_default().into()),
        (
            "credential",
            json!({"path": s.credential.path, "field": s.credential.field, "version": s.credential.version}),
        ),
        ("inject", json!({"header": s.inject_header, "template": s.inject_template})),
        ("allow", s.allow.iter().map(|r| json!({"methods": r.methods, "path": r.path})).collect()),
        ("auth", s.auth.iter().map(auth).collect()),
        ("caller_header", s.caller_header.clone().into()),
        ("caller_headers", s.caller_headers().into()),
        ("request_headers", s.request_headers.clone().into()),
        ("forward_range", s.forward_range.into()),
        ("credential_rejected_status", s.credential_rejected_status.clone().into()),
        (
            "rate_limit",
            s.rate_limit
                .map_or(Value::Null, |r| json!({"requests": r.requests, "window": r.window.as_secs()})),
        ),
        ("timeout", s.timeout.as_secs().into()),
        ("allow_private", s.allow_private.into()),
    ];
    fields.into_iter().map(|(k, v)| (k.to_string(), v)).collect()
}
