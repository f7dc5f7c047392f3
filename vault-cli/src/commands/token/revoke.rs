//! `token revoke`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::token_file;

#[derive(clap::Args)]
pub struct Args {
    /// The token, or - for standard input; with -accessor an accessor
    #[arg(required_unless_present = "own")]
    token: Option<String>,
    /// The argument is an accessor
    #[arg(long, requires = "token", conflicts_with = "own")]
    accessor: bool,
    /// Revoke the token in use
    #[arg(long = "self", conflicts_with = "token")]
    own: bool,
    /// orphan: its children live on
    #[arg(long, value_parser = ["orphan"])]
    mode: Option<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let tokens = client.tokens();
        match (&self.token, self.accessor, self.mode.is_some()) {
            (None, _, _) => {
                tokens.revoke_self().await?;
                // The kept token is of no use any more, if that was the one in use.
                if cx.io.var("VAULT_TOKEN").is_none()
                    && let Ok(home) = cx.io.home()
                {
                    token_file::remove(&home)?;
                }
            }
            (Some(_), true, true) => {
                return Err(Failure::local("-mode=orphan needs the token, not its accessor"));
            }
            (Some(accessor), true, false) => tokens.revoke_accessor(accessor).await?,
            (Some(token), false, orphan) => {
                let token = cx.io.secret(Some(token), "")?;
                if orphan { tokens.revoke_orphan(token).await? } else { tokens.revoke(token).await? }
            }
        }
        cx.say("Success! Revoked token (if it existed)")?;
        Ok(OK)
    }
}
