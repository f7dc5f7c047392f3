//! `operator unseal`

use crate::commands::status;
use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use vault_api::sys::UnsealRequest;
use vault_client::Error;

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
        let status = client.sys().unseal_with(&request).await.map_err(explain)?;
        status::print(cx, &status)?;
        Ok(OK)
    }
}

/// What starts after the last share can fail for reasons that have nothing to do with shares.
fn explain(error: Error) -> Failure {
    let audit = error.messages().iter().any(|m| m.starts_with("audit device "));
    let failure = Failure::from(error);
    if !audit {
        return failure;
    }
    failure.advise(
        "The shares were right, but the server cannot use its audit file. Mend the file's directory or the \
         config, restart the server, and unseal again.",
    )
}
