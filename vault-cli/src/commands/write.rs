//! `write`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::values;
use vault_client::{Call, Client, SecretMap};

#[derive(clap::Args)]
pub struct Args {
    /// API path
    path: String,
    /// Fields: key=value, key=@file, key=- (standard input), @file or - (a JSON object)
    data: Vec<String>,
    /// Write although there is no field
    #[arg(short, long)]
    force: bool,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        if self.data.is_empty() && !self.force {
            return Err(
                Failure::local("no field to write").advise("Write key=value, or -force to write nothing.")
            );
        }
        let done = format!("Success! Data written to: {}", self.path);
        send(cx, &self.data, |client| Call::write(client, &self.path), &done).await
    }
}

/// Sends the fields with the call that `call` makes, and prints the answer; `done` where there is none.
pub(super) async fn send(
    cx: &mut Context<'_>,
    fields: &[String],
    call: impl for<'a> FnOnce(&'a Client) -> Call<'a>,
    done: &str,
) -> Outcome {
    let data = SecretMap::from(values::parse(fields, &mut cx.io)?);
    let client = cx.client()?;
    let call = cx.wrap(call(&client).json(data.expose()))?;
    match call.any().await? {
        Some(answer) => cx.answer(&answer)?,
        None => cx.say(done)?,
    }
    Ok(OK)
}
