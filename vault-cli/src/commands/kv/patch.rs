//! `kv patch`

use super::mount::Target;
use super::{Place, written};
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::values;
use serde_json::Value;
use vault_api::Map;
use vault_api::secrets::kv2::VersionMetadata;
use vault_client::{Kind, Kv2, SecretMap};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Fields: key=value, key=@file, key=- (standard input), @file or - (a JSON object)
    data: Vec<String>,
    /// Remove this field; may be repeated
    #[arg(long, value_name = "NAME")]
    remove_data: Vec<String>,
    /// Change it only if this is the current version
    #[arg(long)]
    cas: Option<u64>,
    /// patch: the server merges. rw: read, merge here, write back (for tokens without the capability patch)
    #[arg(long, value_parser = ["patch", "rw"])]
    method: Option<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        if self.data.is_empty() && self.remove_data.is_empty() {
            return Err(Failure::local("no field to change: give key=value, @file, - or -remove-data"));
        }
        let mut changes = values::parse(&self.data, &mut cx.io)?;
        changes.extend(self.remove_data.iter().map(|name| (name.clone(), Value::Null)));
        let changes = SecretMap::from(changes);
        let client = cx.client()?;
        let target = Target::find(cx, &client, &self.place).await?.with_key()?;
        let kv = target.versions(&client, "patch")?;
        let m = match self.method.as_deref() {
            Some("rw") => read_write(&kv, &target, changes.expose(), self.cas).await?,
            Some(_) => kv.patch(&target.key, changes.expose(), self.cas).await?,
            // A server without PATCH gets the slow way; a refusal is told, not worked around.
            None => match kv.patch(&target.key, changes.expose(), self.cas).await {
                Err(e) if e.kind() == Kind::Unsupported => {
                    read_write(&kv, &target, changes.expose(), self.cas).await?
                }
                other => other?,
            },
        };
        written(cx, &target, &m)?;
        Ok(OK)
    }
}

/// Merges here. The version that was read is the condition of the write.
async fn read_write(
    kv: &Kv2<'_>,
    target: &Target,
    changes: &Map,
    cas: Option<u64>,
) -> Result<VersionMetadata, Failure> {
    let gone = || Failure::nothing_at(&target.api("data"));
    let current = kv.get(&target.key).await?.ok_or_else(gone)?;
    let mut fields = current.data.as_ref().ok_or_else(gone)?.expose().clone();
    merge(&mut fields, changes);
    let fields = SecretMap::from(fields);
    let cas = cas.unwrap_or(current.metadata.version);
    Ok(kv.put(&target.key, fields.expose(), Some(cas)).await?)
}

/// A merge patch (RFC 7396).
fn merge(fields: &mut Map, changes: &Map) {
    for (name, change) in changes {
        match change {
            Value::Null => {
                fields.remove(name);
            }
            Value::Object(inner) => {
                let slot = fields.entry(name.clone()).or_insert_with(|| Map::new().into());
                if !slot.is_object() {
                    *slot = Map::new().into();
                }
                if let Value::Object(existing) = slot {
                    merge(existing, inner);
                }
            }
            other => {
                fields.insert(name.clone(), other.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merges_as_rfc_7396_says() {
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":"foo"}), json!({"a":{"b":null,"c":1}}), json!({"a":{"c":1}})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ];
        for (before, change, after) in cases {
            let (Value::Object(mut b), Value::Object(c)) = (before, change) else { unreachable!() };
            merge(&mut b, &c);
            assert_eq!(Value::Object(b), after);
        }
    }
}
