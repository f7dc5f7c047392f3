//! `secrets list|enable|disable|move|tune`

use super::auth::{mount_rows, with_slash};
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::values;
use serde_json::json;
use std::collections::BTreeMap;
use vault_api::sys::{EnableMount, TuneMount};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Mounted secrets engines
    List {
        /// With their settings
        #[arg(long)]
        detailed: bool,
    },
    /// Mount a secrets engine
    Enable(Enable),
    /// Unmount a secrets engine and delete all it stored
    Disable {
        /// Path of the mount
        path: String,
    },
    /// Move a mount to another path
    Move {
        /// Path of the mount
        from: String,
        /// Where it goes
        to: String,
    },
    /// Change a mount's settings
    Tune(Tune),
}

#[derive(clap::Args)]
pub struct Enable {
    /// Type of engine: kv, kv-v2, transit, totp, …
    engine: String,
    /// Where to mount it; the type's name when absent
    #[arg(long)]
    path: Option<String>,
    /// For people
    #[arg(long, default_value = "")]
    description: String,
    /// Version of the engine: 2 gives kv its versions
    #[arg(long)]
    version: Option<u8>,
    /// Time to live of leases, such as 1h
    #[arg(long)]
    default_lease_ttl: Option<String>,
    /// Longest time to live of leases, such as 24h
    #[arg(long)]
    max_lease_ttl: Option<String>,
    /// Options of the engine, key=value; may be repeated
    #[arg(long = "options", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Not replicated
    #[arg(long)]
    local: bool,
}

/// Settings of a mount: of an engine or a login method.
#[derive(clap::Args)]
pub struct Tune {
    /// Path of the mount
    pub path: String,
    /// For people
    #[arg(long)]
    description: Option<String>,
    /// Time to live of leases, such as 1h
    #[arg(long)]
    default_lease_ttl: Option<String>,
    /// Longest time to live of leases, such as 24h
    #[arg(long)]
    max_lease_ttl: Option<String>,
    /// Visible to users without access to it: unauth or hidden
    #[arg(long)]
    listing_visibility: Option<String>,
    /// Options of the engine, key=value; may be repeated
    #[arg(long = "options", value_name = "KEY=VALUE")]
    options: Vec<String>,
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::List { detailed } => {
                let mounts = cx.client()?.sys().mounts().await?;
                let (heads, rows) = mount_rows(&mounts, detailed);
                cx.rows(&heads, &rows, &json!(mounts))?;
            }
            Command::Enable(e) => e.run(cx).await?,
            Command::Disable { path } => {
                cx.client()?.sys().disable_mount(&path).await?;
                let path = with_slash(&path);
                cx.say(&format!("Success! Disabled the secrets engine (if it existed) at: {path}"))?;
            }
            Command::Move { from, to } => {
                let (from, to) = (with_slash(&from), with_slash(&to));
                cx.client()?.sys().remount(&from, &to).await?;
                cx.say(&format!("Success! Moved the mount from {from} to {to}"))?;
            }
            Command::Tune(t) => {
                cx.client()?.sys().tune_mount(&t.path, &t.body()?).await?;
                cx.say(&format!("Success! Tuned the secrets engine at: {}", with_slash(&t.path)))?;
            }
        }
        Ok(OK)
    }
}

impl Tune {
    /// What the server is asked to change: only what was named.
    pub fn body(&self) -> Result<TuneMount, Failure> {
        Ok(TuneMount {
            default_lease_ttl: self.default_lease_ttl.clone(),
            max_lease_ttl: self.max_lease_ttl.clone(),
            description: self.description.clone(),
            listing_visibility: self.listing_visibility.clone(),
            options: values::pairs(&self.options)?,
        })
    }
}

impl Enable {
    async fn run(self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let path = self.path.unwrap_or_else(|| self.engine.clone());
        let mut options: BTreeMap<String, String> = values::pairs(&self.options)?;
        // `kv-v2` is another word for kv with versions.
        let (mount_type, version) = match self.engine.as_str() {
            "kv-v2" => ("kv".to_owned(), self.version.or(Some(2))),
            "kv-v1" => ("kv".to_owned(), self.version.or(Some(1))),
            _ => (self.engine.clone(), self.version),
        };
        if let Some(v) = version {
            options.insert("version".into(), v.to_string());
        }
        let config = TuneMount {
            default_lease_ttl: self.default_lease_ttl,
            max_lease_ttl: self.max_lease_ttl,
            ..TuneMount::default()
        };
        let body = EnableMount {
            mount_type,
            description: self.description,
            config,
            options,
            local: self.local,
            seal_wrap: false,
        };
        cx.client()?.sys().enable_mount(&path, &body).await?;
        cx.say(&format!("Success! Enabled the {} secrets engine at: {}", self.engine, with_slash(&path)))
    }
}
