//! The parts of a service that are lists and names: `allow`, `auth`, headers, the template.

use crate::limits::{
    SERVICE_MAX_HEADER_BYTES, SERVICE_MAX_HEADERS, SERVICE_MAX_PATTERN_BYTES, SERVICE_MAX_RULES,
    SERVICE_MAX_TEMPLATE_BYTES,
};
use crate::params;
use serde_json::Value;
use vault_logical::header::{asks_for_range, never_forwarded};
use vault_logical::provider_key::PLACE;
use vault_logical::{AllowRule, CallerAuth, CallerAuthKind, Data, Error, Result, field};

/// Methods that the gateway forwards.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Headers that belong to one connection or frame a message (RFC 9110, 7.6.1), and the target's.
const RESERVED: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
];

/// An object with no members beside `known`: a misspelt setting must not silently be none.
pub(super) fn object<'a>(v: &'a Value, name: &str, known: &[&str]) -> Result<&'a Data> {
    let m = v.as_object().ok_or_else(|| Error::invalid(format!("field \"{name}\" must be an object")))?;
    match m.keys().find(|k| !known.contains(&k.as_str())) {
        // The member's name is not repeated: it may be anything.
        Some(_) => Err(Error::invalid(format!("field \"{name}\" may only have {}", known.join(", ")))),
        None => Ok(m),
    }
}

fn list<'a>(data: &'a Data, name: &str) -> Result<&'a [Value]> {
    match data.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(a)) if a.len() <= SERVICE_MAX_RULES => Ok(a),
        Some(_) => Err(Error::invalid(format!(
            "field \"{name}\" must be a list of at most {SERVICE_MAX_RULES} objects"
        ))),
    }
}

/// A header's name in lower case (RFC 9110, 5.1).
pub(super) fn header(name: &str, what: &str) -> Result<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let name = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > SERVICE_MAX_HEADER_BYTES || !name.bytes().all(token) {
        return Err(Error::invalid(format!("{what} is not a header name")));
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(Error::invalid(format!(
            "{what} may not be a header of the connection or the message's framing"
        )));
    }
    Ok(name)
}

/// Where the caller's credential may stand, in order: `caller_headers`, or the one
/// `caller_header`. An answer shows both, so that both may come back, if they agree.
pub(super) fn caller_headers(data: &Data) -> Result<Vec<String>> {
    let checked = |name: String, what: &str| {
        let name = header(&name, what)?;
        if name == "cookie" {
            return Err(Error::invalid(format!("{what} may not be cookie")));
        }
        Ok(name)
    };
    let one = field::string(data, "caller_header")?;
    let one = one.map(|n| checked(n, "field \"caller_header\"")).transpose()?;
    let given = field::strings(data, "caller_headers")?.unwrap_or_default();
    if given.len() > SERVICE_MAX_HEADERS {
        return Err(Error::invalid(format!(
            "field \"caller_headers\" has more than {SERVICE_MAX_HEADERS} names"
        )));
    }
    let mut names = Vec::with_capacity(given.len().max(1));
    for name in given {
        let name = checked(name, "a name in \"caller_headers\"")?;
        if names.contains(&name) {
            return Err(Error::invalid("field \"caller_headers\" has a name twice"));
        }
        names.push(name);
    }
    match (one, names.first()) {
        (Some(one), None) => names.push(one),
        (None, None) => names.push("authorization".into()),
        (Some(one), Some(first)) if one != *first => {
            return Err(Error::invalid(
                "field \"caller_header\" is not the first of \"caller_headers\": leave it out",
            ));
        }
        _ => {}
    }
    Ok(names)
}

/// Further headers of the caller that go upstream.
pub(super) fn request_headers(
    data: &Data,
    caller_headers: &[String],
    inject_header: &str,
) -> Result<Vec<String>> {
    let names = field::strings(data, "request_headers")?.unwrap_or_default();
    if names.len() > SERVICE_MAX_HEADERS {
        return Err(Error::invalid(format!(
            "field \"request_headers\" has more than {SERVICE_MAX_HEADERS} names"
        )));
    }
    let mut checked = Vec::with_capacity(names.len());
    for name in names {
        let name = header(&name, "a name in \"request_headers\"")?;
        if asks_for_range(&name) {
            return Err(Error::invalid(
                "\"request_headers\" may not name range and if-range: set \"forward_range\"",
            ));
        }
        if never_forwarded(&name) || caller_headers.contains(&name) || name == inject_header {
            return Err(Error::invalid(
                "a name in \"request_headers\" is of a header that is never forwarded",
            ));
        }
        if !checked.contains(&name) {
            checked.push(name);
        }
    }
    Ok(checked)
}

/// Where the key goes in the header's value.
pub(super) fn template(text: String) -> Result<String> {
    let visible = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if text.len() > SERVICE_MAX_TEMPLATE_BYTES || !visible || text.trim() != text {
        return Err(Error::invalid(
            "\"inject.template\" must be short, visible ASCII without spaces at its ends",
        ));
    }
    let rest = text.replacen(PLACE, "", 1);
    if rest == text || rest.contains("{{") || rest.contains("}}") {
        return Err(Error::invalid("\"inject.template\" must contain {{credential}} exactly once"));
    }
    Ok(text)
}

/// A pattern of canonical paths: `+` is one segment, a final `*` is any rest.
fn pattern(text: String) -> Result<String> {
    let bad = |why: &str| Error::invalid(format!("a path in \"allow\" {why}"));
    if text.len() > SERVICE_MAX_PATTERN_BYTES {
        return Err(bad("is too long"));
    }
    let rooted = text.strip_prefix('/').ok_or_else(|| bad("must start with '/'"))?;
    let plain = rooted.strip_suffix('*').unwrap_or(rooted);
    let outside = |b: u8| !b.is_ascii_graphic() || b"*\\;?#\"<>`".contains(&b);
    if plain.bytes().any(outside) {
        return Err(bad("has characters that no canonical path has, or a '*' that is not its end"));
    }
    let mut segments = rooted.split('/').peekable();
    while let Some(s) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(s, "." | "..") || (s.is_empty() && !last) {
            return Err(bad("has an empty or relative segment"));
        }
        if !escapes_are_canonical(s) {
            return Err(bad("has a percent-escape that no canonical path has"));
        }
    }
    Ok(text)
}

/// In a canonical path an escape is upper case and stands for what cannot stand for itself.
fn escapes_are_canonical(segment: &str) -> bool {
    segment.split('%').skip(1).all(|after| {
        let byte = after.get(..2).filter(|h| !h.bytes().any(|b| b.is_ascii_lowercase() || b == b'+'));
        let byte = byte.and_then(|h| u8::from_str_radix(h, 16).ok());
        byte.is_some_and(|b| {
            let unreserved = b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            !(unreserved || b < 0x20 || b == 0x7f || b"/\\%;".contains(&b))
        })
    })
}

pub(super) fn allow(data: &Data) -> Result<Vec<AllowRule>> {
    let rule = |v: &Value| {
        let m = object(v, "allow", &["methods", "path"])?;
        let methods: Vec<String> = field::strings(m, "methods")?
            .unwrap_or_default()
            .iter()
            .map(|s| s.to_ascii_uppercase())
            .collect();
        if methods.iter().any(|m| !METHODS.contains(&m.as_str())) {
            return Err(Error::invalid(format!("\"methods\" in \"allow\" may hold {}", METHODS.join(", "))));
        }
        Ok(AllowRule { methods, path: pattern(field::required(m, "path")?)? })
    };
    list(data, "allow")?.iter().map(rule).collect()
}

fn auth_method(v: &Value) -> Result<CallerAuth> {
    let m = object(v, "auth", &["type", "mount", "role"])?;
    let text = |name| field::string(m, name).map(|s| s.filter(|s| !s.is_empty()));
    let (mount, role) = (text("mount")?, text("role")?);
    match field::required(m, "type")?.as_str() {
        "token" if mount.is_none() && role.is_none() => {
            Ok(CallerAuth { kind: CallerAuthKind::Token, mount, role })
        }
        "token" => Err(Error::invalid("\"auth\" of type token has neither mount nor role")),
        "jwt" => {
            let mount = mount.map(|p| p.trim_end_matches('/').to_string());
            let mount_is_fine =
                |p: &String| !p.starts_with("auth/") && p.split('/').all(|s| params::is_name(s, b""));
            if !mount.as_ref().is_none_or(mount_is_fine) {
                return Err(Error::invalid(
                    "\"mount\" in \"auth\" is the method's path without auth/, like \"jwt\"",
                ));
            }
            let role = role.map(|r| r.to_lowercase());
            if !role.as_ref().is_none_or(|r| params::is_name(r, b"")) {
                return Err(Error::invalid("\"role\" in \"auth\" is not a role name"));
            }
            Ok(CallerAuth { kind: CallerAuthKind::Jwt, mount, role })
        }
        _ => Err(Error::invalid("\"type\" in \"auth\" must be \"jwt\" or \"token\"")),
    }
}

/// At most one method of each type: which one a credential is for is told by its shape alone.
pub(super) fn auth(data: &Data) -> Result<Vec<CallerAuth>> {
    let methods: Vec<CallerAuth> = list(data, "auth")?.iter().map(auth_method).collect::<Result<_>>()?;
    for kind in [CallerAuthKind::Jwt, CallerAuthKind::Token] {
        if methods.iter().filter(|m| m.kind == kind).count() > 1 {
            return Err(Error::invalid("\"auth\" may have each type once"));
        }
    }
    Ok(methods)
}
