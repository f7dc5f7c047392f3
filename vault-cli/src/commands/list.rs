//! `list`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// API path of a folder
    path: String,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let keys = cx.client()?.list(&self.path).await?;
        if keys.is_empty() {
            return Err(Failure::nothing_at(&self.path));
        }
        cx.keys(&keys)?;
        Ok(OK)
    }
}
