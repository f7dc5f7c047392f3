//! `operator unseal`

use crate::commands::status;
use crate::context::Context;
use crate::failure::{OK, Outcome};
use vault_api::sys::UnsealRequest;

#[derive(clap::Args)]
pub struct Args {
    /// The share, or - for standard input; asked for without echo when absent
    share: Option<String>,
    /// Forget the shares given so far
    #[arg(long)]
    reset: bool,
    /// Open a store that is older than its anchor: what was written since is lost, and every token and lease is revoked
    #[arg(long)]
    accept_rollback: bool,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.anonymous()?;
        let mut request = UnsealRequest { accept_rollback: self.accept_rollback, ..UnsealRequest::default() };
        if self.reset {
            request.reset = true;
        } else {
            request.key = Some(cx.io.secret(self.share.as_deref(), "Unseal Key (will be hidden): ")?);
        }
        let status = client.sys().unseal_with(&request).await?;
        status::print(cx, &status)?;
        Ok(OK)
    }
}
