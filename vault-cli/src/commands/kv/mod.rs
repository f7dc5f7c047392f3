//! `kv`: the same commands for mounts with and without versions.

mod delete;
mod destroy;
mod get;
mod list;
mod metadata;
mod mount;
mod patch;
mod put;
mod rollback;
mod undelete;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Row, table};
use mount::Target;
use serde_json::{Value, json};
use vault_api::secrets::kv2::VersionMetadata;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Read a secret
    Get(get::Args),
    /// Write a secret, replacing all its fields
    Put(put::Args),
    /// Change some fields of a secret
    Patch(patch::Args),
    /// Delete a secret; with versions it can be brought back
    Delete(delete::Args),
    /// Bring deleted versions back
    Undelete(undelete::Args),
    /// Destroy versions for good
    Destroy(destroy::Args),
    /// Names in a folder
    List(list::Args),
    /// Settings and versions of a key
    #[command(subcommand)]
    Metadata(metadata::Command),
    /// Make an earlier version the current one
    Rollback(rollback::Args),
}

/// Where a secret is.
#[derive(clap::Args)]
pub struct Place {
    /// Path of the mount; else the first part of the key
    #[arg(long)]
    mount: Option<String>,
    /// Key below the mount, or mount/key
    key: String,
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::Get(a) => a.run(cx).await,
            Command::Put(a) => a.run(cx).await,
            Command::Patch(a) => a.run(cx).await,
            Command::Delete(a) => a.run(cx).await,
            Command::Undelete(a) => a.run(cx).await,
            Command::Destroy(a) => a.run(cx).await,
            Command::List(a) => a.run(cx).await,
            Command::Metadata(c) => c.run(cx).await,
            Command::Rollback(a) => a.run(cx).await,
        }
    }
}

/// The rows of a version's metadata.
fn version_rows(m: &VersionMetadata) -> Vec<Row> {
    let deleted = if m.deletion_time.is_empty() { "n/a" } else { &m.deletion_time };
    vec![
        ("created_time".into(), json!(m.created_time)),
        ("custom_metadata".into(), json!(m.custom_metadata)),
        ("deletion_time".into(), json!(deleted)),
        ("destroyed".into(), json!(m.destroyed)),
        ("version".into(), json!(m.version)),
    ]
}

/// The answer to a write: path and metadata.
fn written(cx: &mut Context<'_>, target: &Target, m: &VersionMetadata) -> Result<(), Failure> {
    let rows = version_rows(m);
    let document = json!({ "data": serde_json::to_value(m).unwrap_or(Value::Null) });
    if cx.flags.field.is_some() {
        return cx.field(|name| document.get("data").and_then(|d| d.get(name)));
    }
    if cx.format != crate::output::Format::Table {
        return cx.document(&document);
    }
    let body = cx.pair_table(&rows);
    let path = target.api("data");
    let text = format!(
        "{}{path}\n\n{}{body}",
        table::heading("Secret Path", &path),
        table::heading("Metadata", &body)
    );
    cx.io.out.write_all(text.as_bytes())?;
    Ok(())
}
