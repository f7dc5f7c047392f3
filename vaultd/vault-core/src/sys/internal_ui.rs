//! `sys/internal/ui/mounts`: how Vault's clients find out whether a path is KV v1 or v2.

use super::{Call, Done, mounts, object};
use crate::unsealed::Unsealed;
use serde_json::{Value, json};
use vault_logical::{Data, Error, ErrorKind, Response, Result};

pub fn handle(core: &Unsealed, call: &Call<'_>, rest: &[&str]) -> Result<Done> {
    match rest {
        ["ui", "mounts"] => Ok(Response::data(visible(core, call)).into()),
        ["ui", "mounts", path @ ..] => one(core, call, &path.join("/")),
        _ => Err(Error::unsupported_path()),
    }
}

/// The mounts below which the caller may do anything at all.
fn visible(core: &Unsealed, call: &Call<'_>) -> Data {
    let mut secret = Data::new();
    let mut auth = Data::new();
    for m in core.mounts.all() {
        if !call.acl.touches(&m.mount.path) {
            continue;
        }
        let into = if m.record.auth { &mut auth } else { &mut secret };
        into.insert(m.record.path.clone(), Value::Object(mounts::describe(&m)));
    }
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
    let mut data = mounts::describe(&m);
    data.insert("path".into(), m.mount.path.as_str().into());
    Ok(Response::data(data).into())
}
