//! `auth list|enable|disable|tune`

use super::secrets::Tune;
use crate::context::Context;
use crate::failure::{OK, Outcome};
use crate::output::table;
use serde_json::json;
use std::collections::BTreeMap;
use vault_api::sys::{EnableMount, MountEntry, TuneMount};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Mounted login methods
    List {
        /// With their settings
        #[arg(long)]
        detailed: bool,
    },
    /// Mount a login method
    Enable(Enable),
    /// Unmount a login method; the tokens it gave are revoked
    Disable {
        /// Path of the mount
        path: String,
    },
    /// Change a login method's settings
    Tune(Tune),
}

#[derive(clap::Args)]
pub struct Enable {
    /// Type of method: jwt, …
    method: String,
    /// Where to mount it; the type's name when absent
    #[arg(long)]
    path: Option<String>,
    /// For people
    #[arg(long, default_value = "")]
    description: String,
    /// Time to live of tokens, such as 1h
    #[arg(long)]
    default_lease_ttl: Option<String>,
    /// Longest time to live of tokens, such as 24h
    #[arg(long)]
    max_lease_ttl: Option<String>,
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::List { detailed } => {
                let mounts = cx.client()?.sys().auth_mounts().await?;
                let (heads, rows) = mount_rows(&mounts, detailed);
                cx.rows(&heads, &rows, &json!(mounts))?;
            }
            Command::Enable(e) => {
                let path = e.path.unwrap_or_else(|| e.method.clone());
                let config = TuneMount {
                    default_lease_ttl: e.default_lease_ttl,
                    max_lease_ttl: e.max_lease_ttl,
                    ..TuneMount::default()
                };
                let body = EnableMount {
                    mount_type: e.method.clone(),
                    description: e.description,
                    config,
                    ..EnableMount::default()
                };
                cx.client()?.sys().enable_auth(&path, &body).await?;
                cx.say(&format!("Success! Enabled {} auth method at: {}", e.method, with_slash(&path)))?;
            }
            Command::Disable { path } => {
                cx.client()?.sys().disable_auth(&path).await?;
                cx.say(&format!(
                    "Success! Disabled the auth method (if it existed) at: {}",
                    with_slash(&path)
                ))?;
            }
            Command::Tune(t) => {
                cx.client()?.sys().tune_auth(&t.path, &t.body()?).await?;
                cx.say(&format!("Success! Tuned the auth method at: {}", with_slash(&t.path)))?;
            }
        }
        Ok(OK)
    }
}

/// A mount's path as Vault shows it.
pub fn with_slash(path: &str) -> String {
    format!("{}/", path.trim_matches('/'))
}

/// Mounts as a table: heads and rows.
pub fn mount_rows(
    mounts: &BTreeMap<String, MountEntry>,
    detailed: bool,
) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let ttl = |s: u64| if s == 0 { "system".to_owned() } else { table::duration(s) };
    let or = |s: &str| if s.is_empty() { "n/a".to_owned() } else { s.to_owned() };
    let row = |(path, m): (&String, &MountEntry)| {
        let mut row = vec![path.clone(), m.mount_type.clone(), or(&m.accessor)];
        if detailed {
            let options: Vec<String> = m.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
            row.push(ttl(m.config.default_lease_ttl));
            row.push(ttl(m.config.max_lease_ttl));
            row.push(or(&options.join(",")));
            row.push(or(&m.uuid));
        }
        row.push(or(&m.description));
        row
    };
    let heads = match detailed {
        true => vec!["Path", "Type", "Accessor", "Default TTL", "Max TTL", "Options", "UUID", "Description"],
        false => vec!["Path", "Type", "Accessor", "Description"],
    };
    (heads, mounts.iter().map(row).collect())
}
