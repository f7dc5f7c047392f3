//! `path-help`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::output::Format;
use serde_json::Value;
use vault_client::Call;

#[derive(clap::Args)]
pub struct Args {
    /// API path
    path: String,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let answer = Call::read(&client, &self.path).query("help", "1").any().await?;
        let Some(data) = answer.and_then(|a| a.data) else {
            return Err(Failure::remote(format!("No help found for {}", self.path)));
        };
        match (cx.format, data.text("help")) {
            (Format::Table, Some(help)) => writeln!(cx.io.out, "{}", help.trim_end())?,
            _ => cx.document(&Value::Object(data.expose().clone()))?,
        }
        Ok(OK)
    }
}
