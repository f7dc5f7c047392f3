//! `sys/policies/acl` and the older `sys/policy`.

use super::{Call, Done, object};
use crate::exchange::Verb;
use crate::limits::MAX_POLICIES;
use crate::policy::normalise_name;
use crate::unsealed::Unsealed;
use serde_json::json;
use std::sync::Arc;
use storage::Transaction;
use vault_logical::{Error, PathName, Response, Result, field};

pub async fn handle(
    core: &Arc<Unsealed>,
    txn: &mut Transaction,
    call: &Call<'_>,
    rest: &[&str],
    legacy: bool,
) -> Result<Done> {
    let name = rest.join("/");
    if name.is_empty() {
        return match call.incoming.verb {
            Verb::List => list(core, call, legacy).await,
            Verb::Read if legacy => list(core, call, legacy).await,
            _ => Err(Error::unsupported_operation()),
        };
    }
    // As in Vault: what cannot be there is as good as deleted.
    if call.incoming.verb == Verb::Delete && names_nothing(&name) {
        return Ok(Done::default());
    }
    let name = PathName::in_path(&name, normalise_name)?;
    match call.incoming.verb {
        Verb::Read => read(core, &name, legacy).await,
        Verb::Write => {
            // The old clients say `rules`, the new ones `policy`.
            let text = match field::string(call.data(), "policy")? {
                Some(t) if !t.is_empty() => t,
                _ => field::string(call.data(), "rules")?.unwrap_or_default(),
            };
            if text.is_empty() {
                return Err(Error::invalid("'policy' parameter not supplied or empty"));
            }
            // Vault also takes the policy text base64-encoded.
            core.policies.write(txn, &name, &unwrapped(&text))?;
            Ok(Done::default())
        }
        Verb::Delete => {
            core.policies.delete(txn, &name)?;
            Ok(Done::default())
        }
        _ => Err(Error::unsupported_operation()),
    }
}

/// True for a name that no policy can have. Another spelling of `root` is refused, not passed over.
fn names_nothing(name: &str) -> bool {
    normalise_name(name).is_err() && !name.trim().eq_ignore_ascii_case("root")
}

/// A text that is base64 of UTF-8 is taken as what it encodes.
fn unwrapped(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()
        .and_then(|raw| String::from_utf8(raw).ok())
        .unwrap_or_else(|| text.to_string())
}

async fn list(core: &Unsealed, call: &Call<'_>, legacy: bool) -> Result<Done> {
    let after = field::string(call.data(), "after")?;
    let limit = match field::unsigned(call.data(), "limit")? {
        None | Some(0) => MAX_POLICIES,
        Some(n) => usize::try_from(n).unwrap_or(MAX_POLICIES).min(MAX_POLICIES),
    };
    let names = core.policies.list(after.as_deref(), limit).await?;
    let mut data = object(json!({ "keys": names }));
    if legacy {
        data.insert("policies".into(), json!(names));
    }
    Ok(Response::data(data).into())
}

async fn read(core: &Unsealed, name: &PathName, legacy: bool) -> Result<Done> {
    let text = core.policies.read(name).await?.ok_or_else(Error::not_found)?;
    let field_name = if legacy { "rules" } else { "policy" };
    let mut data = object(json!({ "name": &**name }));
    data.insert(field_name.into(), text.into());
    Ok(Response::data(data).into())
}
