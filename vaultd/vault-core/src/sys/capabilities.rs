//! `sys/capabilities`, `-self` and `-accessor`: what a token may do to a path.

use super::{Call, Done};
use crate::limits::MAX_CAPABILITY_PATHS;
use crate::unsealed::Unsealed;
use serde_json::{Value, json};
use vault_logical::{Data, Error, Response, Result, field};

pub async fn handle(core: &Unsealed, call: &Call<'_>, which: &str) -> Result<Done> {
    let data = call.data();
    let mut paths = field::strings(data, "paths")?.unwrap_or_default();
    if paths.is_empty() {
        paths = field::strings(data, "path")?.unwrap_or_default();
    }
    if paths.is_empty() {
        return Err(Error::invalid("paths must be supplied"));
    }
    if paths.len() > MAX_CAPABILITY_PATHS {
        return Err(Error::invalid(format!("at most {MAX_CAPABILITY_PATHS} paths at once")));
    }
    let subject = match which {
        "capabilities" => {
            let token = field::required(data, "token")?;
            core.tokens.lookup(&token).await?.ok_or_else(|| Error::invalid("invalid token"))?
        }
        "capabilities-accessor" => {
            let accessor = field::required(data, "accessor")?;
            core.tokens
                .entry_of_accessor(&accessor)
                .await?
                .ok_or_else(|| Error::invalid("invalid accessor"))?
        }
        _ => call.caller.clone(),
    };
    let acl = core.policies.acl(&subject.policies).await?;
    let mut out = Data::new();
    for path in &paths {
        let bare = path.trim_start_matches('/');
        let denied = super::other_path(bare).is_some_and(|other| acl.denies(&other));
        let path_caps = if denied { vec!["deny"] } else { acl.capabilities(bare) };
        out.entry("capabilities").or_insert_with(|| json!(path_caps));
        out.insert(path.clone(), Value::from(path_caps));
    }
    Ok(Response::data(out).into())
}
