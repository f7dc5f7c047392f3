//! `patch`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::values;
use vault_client::{Call, SecretMap};

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
        let data = SecretMap::from(values::parse(&self.data, &mut cx.io)?);
        let client = cx.client()?;
        let call = cx.wrap(Call::patch(&client, &self.path).json(data.expose()))?;
        match call.any().await? {
            Some(answer) => cx.answer(&answer)?,
            None => cx.say(&format!("Success! Data patched at: {}", self.path))?,
        }
        Ok(OK)
    }
}
