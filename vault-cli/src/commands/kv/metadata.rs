//! `kv metadata get|put|patch|delete`

use super::Place;
use super::mount::Target;
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::output::{Format, Row, table};
use crate::values;
use clap::ArgAction;
use serde_json::{Value, json};
use vault_api::secrets::kv2::{Metadata, WriteMetadata};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Settings and versions of a key
    Get {
        #[command(flatten)]
        place: Place,
    },
    /// Set a key's settings; its custom metadata is replaced
    Put {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change some of a key's settings
    Patch {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        settings: Settings,
        /// Remove this custom metadata; may be repeated
        #[arg(long, value_name = "NAME")]
        remove_custom_metadata: Vec<String>,
    },
    /// Delete a key with every version
    Delete {
        #[command(flatten)]
        place: Place,
    },
}

/// Settings of a key.
#[derive(clap::Args)]
pub struct Settings {
    /// Versions kept; 0 is the mount's setting
    #[arg(long)]
    max_versions: Option<u64>,
    /// A write must state its version
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    cas_required: Option<bool>,
    /// Versions are deleted after this time, such as 720h; 0s is never
    #[arg(long)]
    delete_version_after: Option<String>,
    /// key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    custom_metadata: Vec<String>,
}

impl Settings {
    fn body(self, removed: &[String]) -> Result<WriteMetadata, Failure> {
        let mut custom: std::collections::BTreeMap<_, _> =
            values::pairs(&self.custom_metadata)?.into_iter().map(|(k, v)| (k, Some(v))).collect();
        custom.extend(removed.iter().map(|name| (name.clone(), None)));
        Ok(WriteMetadata {
            max_versions: self.max_versions,
            cas_required: self.cas_required,
            delete_version_after: self.delete_version_after,
            custom_metadata: (!custom.is_empty()).then_some(custom),
        })
    }
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let (Command::Get { place }
        | Command::Put { place, .. }
        | Command::Patch { place, .. }
        | Command::Delete { place }) = &self;
        let target = Target::find(cx, &client, place).await?.with_key()?;
        let kv = target.versions(&client, "metadata")?;
        let path = target.api("metadata");
        match self {
            Command::Get { .. } => {
                let m = kv.metadata(&target.key).await?.ok_or_else(|| Failure::nothing_at(&path))?;
                print(cx, &path, &m)?;
            }
            Command::Put { settings, .. } => {
                kv.put_metadata(&target.key, &settings.body(&[])?).await?;
                cx.say(&format!("Success! Data written to: {path}"))?;
            }
            Command::Patch { settings, remove_custom_metadata, .. } => {
                kv.patch_metadata(&target.key, &settings.body(&remove_custom_metadata)?).await?;
                cx.say(&format!("Success! Data written to: {path}"))?;
            }
            Command::Delete { .. } => {
                kv.delete_metadata(&target.key).await?;
                cx.say(&format!("Success! Data deleted (if it existed) at: {path}"))?;
            }
        }
        Ok(OK)
    }
}

fn print(cx: &mut Context<'_>, path: &str, m: &Metadata) -> Result<(), Failure> {
    let document = json!({ "data": serde_json::to_value(m).unwrap_or(Value::Null) });
    if cx.flags.field.is_some() {
        return cx.field(|name| document.get("data").and_then(|d| d.get(name)));
    }
    if cx.format != Format::Table {
        return cx.document(&document);
    }
    let rows: Vec<Row> = vec![
        ("cas_required".into(), json!(m.cas_required)),
        ("created_time".into(), json!(m.created_time)),
        ("current_version".into(), json!(m.current_version)),
        ("custom_metadata".into(), json!(m.custom_metadata)),
        ("delete_version_after".into(), json!(m.delete_version_after)),
        ("max_versions".into(), json!(m.max_versions)),
        ("oldest_version".into(), json!(m.oldest_version)),
        ("updated_time".into(), json!(m.updated_time)),
    ];
    let body = cx.pair_table(&rows);
    let mut text = format!(
        "{}{path}\n\n{}{body}",
        table::heading("Metadata Path", path),
        table::heading("Metadata", &body)
    );
    let mut versions: Vec<(u64, _)> =
        m.versions.iter().filter_map(|(n, v)| n.parse().ok().map(|n: u64| (n, v))).collect();
    versions.sort_by_key(|(n, _)| *n);
    for (n, v) in versions {
        let deleted = if v.deletion_time.is_empty() { "n/a" } else { &v.deletion_time };
        let rows: Vec<Row> = vec![
            ("created_time".into(), json!(v.created_time)),
            ("deletion_time".into(), json!(deleted)),
            ("destroyed".into(), json!(v.destroyed)),
        ];
        let body = cx.pair_table(&rows);
        text.push_str(&format!("\n{}{body}", table::heading(&format!("Version {n}"), &body)));
    }
    cx.io.out.write_all(text.as_bytes())?;
    Ok(())
}
