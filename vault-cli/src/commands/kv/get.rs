//! `kv get`

use super::mount::Target;
use super::{Place, version_rows};
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::output::{Format, Row, envelope, table};
use serde_json::Value;
use vault_api::secrets::kv2::VersionMetadata;
use vault_api::{Envelope, Map};
use vault_client::{Call, SecretMap};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Which version; the current one when absent
    #[arg(long)]
    version: Option<u64>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let target = Target::find(cx, &client, &self.place).await?.with_key()?;
        if self.version.is_some() {
            target.versions(&client, "get -version")?;
        }
        let path = target.api("data");
        let mut call = Call::read(&client, &path);
        if let Some(v) = self.version {
            call = call.query("version", v.to_string());
        }
        let call = cx.wrap(call)?;
        let Some(answer) = call.send::<SecretMap>().await? else {
            return Err(Failure::nothing_at(&path));
        };
        if answer.wrap_info.is_some() {
            cx.answer(&answer)?;
            return Ok(OK);
        }
        if !target.versioned {
            plain(cx, &answer)?;
            return Ok(OK);
        }
        versioned(cx, &path, &answer)?;
        Ok(OK)
    }
}

/// The answer of a mount without versions: the fields are all of it.
fn plain(cx: &mut Context<'_>, answer: &Envelope<SecretMap>) -> Result<(), Failure> {
    cx.warn(&answer.warnings)?;
    let empty = Map::new();
    let data = answer.data.as_ref().map_or(&empty, SecretMap::expose);
    if cx.flags.field.is_some() {
        return cx.field(|name| data.get(name));
    }
    if cx.format != Format::Table {
        return cx.document(&envelope(answer));
    }
    let table = cx.pair_table(&rows(data));
    let text = format!("{}{table}", table::heading("Data", &table));
    Ok(cx.io.out.write_all(text.as_bytes())?)
}

/// The answer of a mount with versions: its data holds `data` and `metadata`.
fn versioned(cx: &mut Context<'_>, path: &str, answer: &Envelope<SecretMap>) -> Result<(), Failure> {
    cx.warn(&answer.warnings)?;
    let outer = answer.data.as_ref();
    let secret = outer.and_then(|d| d.get("data")).and_then(Value::as_object);
    if cx.flags.field.is_some() {
        let Some(secret) = secret else {
            return Err(Failure::nothing_at(path).advise("This version is deleted or destroyed."));
        };
        return cx.field(|name| secret.get(name));
    }
    if cx.format != Format::Table {
        return cx.document(&envelope(answer));
    }
    let metadata: VersionMetadata = outer
        .and_then(|d| d.get("metadata"))
        .and_then(|m| serde_json::from_value(m.clone()).ok())
        .unwrap_or_default();
    let meta = cx.pair_table(&version_rows(&metadata));
    let mut text = format!(
        "{}{path}\n\n{}{meta}",
        table::heading("Secret Path", path),
        table::heading("Metadata", &meta)
    );
    if let Some(secret) = secret {
        let data = cx.pair_table(&rows(secret));
        text.push_str(&format!("\n{}{data}", table::heading("Data", &data)));
    }
    cx.io.out.write_all(text.as_bytes())?;
    match secret {
        Some(_) => Ok(()),
        None => Err(Failure::nothing_at(path).advise("This version is deleted or destroyed.")),
    }
}

fn rows(map: &Map) -> Vec<Row> {
    map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}
