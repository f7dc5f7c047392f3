//! `read`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::values;
use vault_client::Call;

#[derive(clap::Args)]
pub struct Args {
    /// API path, such as sys/key-status
    path: String,
    /// Query parameters, key=value
    data: Vec<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let mut call = cx.wrap(Call::read(&client, &self.path))?;
        for (key, value) in values::pairs(&self.data)? {
            call = call.query(&key, value);
        }
        match call.any().await? {
            Some(answer) => cx.answer(&answer)?,
            None => return Err(Failure::nothing_at(&self.path)),
        }
        Ok(OK)
    }
}
