//! `patch`

use super::write::send;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use vault_client::Call;

#[derive(clap::Args)]
pub struct Args {
    /// API path
    path: String,
    /// Fields: key=value, key=@file, key=- (standard input), @file or - (a JSON object, in which null removes a field)
    data: Vec<String>,
    /// Send it although there is no field
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        if self.data.is_empty() && !self.force {
            return Err(
                Failure::local("no field to change").advise("Write key=value, or -force to send nothing.")
            );
        }
        let done = format!("Success! Data patched at: {}", self.path);
        send(cx, &self.data, |client| Call::patch(client, &self.path), &done).await
    }
}
