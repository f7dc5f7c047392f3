//! `sys/internal/ui/mounts`: how Vault's clients find out whether a path is KV v1 or v2.

use super::{Call, Done, mounts, object};
use crate::mounts::StoredMount;
use crate::unsealed::Unsealed;
use serde_json::{Value, json};
use vault_logical::{Data, Error, ErrorKind, Response, Result};

/// Asked without a token too.
pub const MOUNTS: &str = "sys/internal/ui/mounts";

pub fn handle(core: &Unsealed, call: &Call<'_>, rest: &[&str]) -> Result<Done> {
    match rest {
        ["ui", "mounts"] => Ok(Response::data(visible(core, call)).into()),
        ["ui", "mounts", path @ ..] => one(core, call, &path.join("/")),
        _ => Err(Error::unsupported_path()),
    }
}

/// The mounts below which the caller may do anything at all, the built-in ones too, and those that
/// everybody may know of.
fn visible(core: &Unsealed, call: &Call<'_>) -> Data {
    let seen = |m: &StoredMount| unauth(m) || call.acl.touches(&m.full_path());
    by_kind(core, seen, mounts::describe)
}

/// The mounts whose `listing_visibility` is `unauth`: type, description and options only.
pub fn listed(core: &Unsealed) -> Data {
    by_kind(core, unauth, |m| {
        let options = if m.options.is_empty() { Value::Null } else { json!(m.options) };
        object(json!({ "type": m.type_name, "description": m.description, "options": options }))
    })
}

fn unauth(m: &StoredMount) -> bool {
    m.config.listing_visibility.as_deref() == Some("unauth")
}

fn by_kind(
    core: &Unsealed,
    seen: impl Fn(&StoredMount) -> bool,
    describe: impl Fn(&StoredMount) -> Data,
) -> Data {
    let (mut secret, mut auth) = (Data::new(), Data::new());
    let mut add = |m: &StoredMount| {
        let into = if m.auth { &mut auth } else { &mut secret };
        if seen(m) {
            into.insert(m.path.clone(), Value::Object(describe(m)));
        }
    };
    core.mounts.all().iter().for_each(|m| add(&m.record));
    [false, true].into_iter().for_each(|kind| add(&core.mounts.builtin(kind)));
    object(json!({ "secret": secret, "auth": auth }))
}

fn one(core: &Unsealed, call: &Call<'_>, path: &str) -> Result<Done> {
    let with_slash = format!("{}/", path.trim_end_matches('/'));
    let found = core.mounts.route(&with_slash).filter(|(m, _)| call.acl.touches(&m.mount.path));
    let Some((m, _)) = found else {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "preflight capability check returned 403, please ensure client's policies grant access to path \"{with_slash}\""
            ),
        ));
    };
    let mut data = mounts::describe(&m.record);
    data.insert("path".into(), m.mount.path.as_str().into());
    Ok(Response::data(data).into())
}
