//! `delete`

use crate::context::Context;
use crate::failure::{OK, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// API path
    path: String,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match cx.client()?.delete(&self.path).await? {
            Some(answer) => cx.answer(&answer)?,
            None => cx.say(&format!("Success! Data deleted (if it existed) at: {}", self.path))?,
        }
        Ok(OK)
    }
}
