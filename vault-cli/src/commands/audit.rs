//! `audit list|enable|disable`

use super::auth::with_slash;
use crate::context::Context;
use crate::failure::{OK, Outcome};
use crate::values;
use serde_json::json;
use vault_api::sys::EnableAudit;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Audit devices
    List {
        /// With their options
        #[arg(long)]
        detailed: bool,
    },
    /// Add an audit device
    Enable {
        /// Type of device: file
        device: String,
        /// Options of the device, such as file_path=/var/log/vaultd/audit.log
        options: Vec<String>,
        /// Where to mount it; the type's name when absent
        #[arg(long)]
        path: Option<String>,
        /// For people
        #[arg(long, default_value = "")]
        description: String,
        /// Not replicated
        #[arg(long)]
        local: bool,
    },
    /// Remove an audit device; its file stays
    Disable {
        /// Path of the device
        path: String,
    },
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::List { detailed } => {
                let devices = cx.client()?.sys().audit_devices().await?;
                if devices.is_empty() {
                    cx.remark(
                        "No audit devices are enabled. Add one: vault-cli audit enable file file_path=…",
                    )?;
                }
                let rows: Vec<Vec<String>> = devices
                    .iter()
                    .map(|(path, d)| {
                        let mut row = vec![path.clone(), d.device_type.clone(), d.description.clone()];
                        if detailed {
                            let options: Vec<String> =
                                d.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
                            row.push(options.join(" "));
                        }
                        row
                    })
                    .collect();
                let heads: &[&str] = match detailed {
                    true => &["Path", "Type", "Description", "Options"],
                    false => &["Path", "Type", "Description"],
                };
                cx.rows(heads, &rows, &json!(devices))?;
            }
            Command::Enable { device, options, path, description, local } => {
                let path = path.unwrap_or_else(|| device.clone());
                let options = values::pairs(&options)?;
                let body = EnableAudit { device_type: device.clone(), description, options, local };
                cx.client()?.sys().enable_audit(&path, &body).await?;
                cx.say(&format!("Success! Enabled the {device} audit device at: {}", with_slash(&path)))?;
            }
            Command::Disable { path } => {
                cx.client()?.sys().disable_audit(&path).await?;
                cx.say(&format!(
                    "Success! Disabled audit device (if it was enabled) at: {}",
                    with_slash(&path)
                ))?;
            }
        }
        Ok(OK)
    }
}
