//! `policy list|read|write|delete|fmt`

mod format;

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::output::Format;
use crate::values;
use serde_json::json;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Names of all policies
    List,
    /// The text of a policy
    Read {
        /// Name of the policy
        name: String,
    },
    /// Create or replace a policy
    Write {
        /// Name of the policy
        name: String,
        /// File with the policy, or - for standard input
        file: String,
    },
    /// Format a policy file in place: indentation and blanks, comments stay
    Fmt {
        /// File with the policy, or - for standard input (the result goes to standard output)
        file: String,
    },
    /// Delete a policy
    Delete {
        /// Name of the policy
        name: String,
    },
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::List => {
                let names = cx.client()?.sys().policies().await?;
                match cx.format {
                    Format::Table => names.iter().try_for_each(|n| writeln!(cx.io.out, "{n}"))?,
                    _ => cx.document(&json!(names))?,
                }
            }
            Command::Read { name } => {
                let Some(text) = cx.client()?.sys().policy(&name).await? else {
                    return Err(Failure::remote(format!("No policy named: {name}")));
                };
                match cx.format {
                    Format::Table => writeln!(cx.io.out, "{}", text.trim_end())?,
                    _ => cx.document(&json!({ "policy": text }))?,
                }
            }
            Command::Write { name, file } => {
                let text = match file.as_str() {
                    "-" => cx.io.read_input()?,
                    path => values::file(path)?,
                };
                cx.client()?.sys().write_policy(&name, &text).await?;
                cx.say(&format!("Success! Uploaded policy: {name}"))?;
            }
            Command::Fmt { file } if file == "-" => {
                let text = cx.io.read_input()?;
                let formatted = format::hcl(&text)?;
                cx.io.out.write_all(formatted.as_bytes())?;
            }
            Command::Fmt { file } => {
                let formatted = format::hcl(&values::file(&file)?)?;
                std::fs::write(&file, formatted).map_err(|e| Failure::local(format!("{file}: {e}")))?;
                cx.say(&format!("Success! Formatted policy: {file}"))?;
            }
            Command::Delete { name } => {
                cx.client()?.sys().delete_policy(&name).await?;
                cx.say(&format!("Success! Deleted policy: {name}"))?;
            }
        }
        Ok(OK)
    }
}
