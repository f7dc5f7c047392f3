//! `audit list|enable|disable`

use super::auth::with_slash;
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::values;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use vault_api::sys::{AuditHeads, EnableAudit};

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
    /// What proves the logs to a stranger: the public key and every device's head, to be kept apart
    Head,
    /// Check log files of this vault against its own public key and head (with vaultd's `audit verify`)
    Verify {
        /// The log's files, oldest first
        #[arg(required = true)]
        files: Vec<PathBuf>,
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
            Command::Head => {
                let heads = cx.client()?.sys().audit_heads().await?;
                cx.document(&json!(heads))?;
            }
            Command::Verify { files } => {
                let heads = cx.client()?.sys().audit_heads().await?;
                return verify(cx, &text(&heads)?, &files);
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

fn text(heads: &AuditHeads) -> Result<String, Failure> {
    serde_json::to_string_pretty(heads).map_err(|e| Failure::local(e.to_string()))
}

/// The files are read by the one program that writes them; the head it goes by is the server's.
fn verify(cx: &mut Context<'_>, heads: &str, files: &[PathBuf]) -> Outcome {
    let failed = |e: std::io::Error| {
        Failure::local(format!("vaultd, which checks audit files, was not run: {e}")).advise(
            "Keep what `vault-cli audit head` prints and run `vaultd audit verify -head=FILE LOG` where vaultd is installed.",
        )
    };
    let mut child = start(files).map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // It may have ended already, with a reason of its own.
        let _ = input.write_all(heads.as_bytes());
    }
    let done = child.wait_with_output().map_err(failed)?;
    cx.io.out.write_all(&done.stdout).map_err(failed)?;
    cx.io.err.write_all(&done.stderr).map_err(failed)?;
    Ok(done.status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(crate::failure::LOCAL))
}

/// The vaultd beside this program, else the one in the search path.
fn start(files: &[PathBuf]) -> std::io::Result<Child> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|d| d.join("vaultd")).filter(|p| p.is_file());
    std::process::Command::new(beside.unwrap_or_else(|| "vaultd".into()))
        .args(["audit", "verify", "--through-head", "--head", "-", "--"])
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}
