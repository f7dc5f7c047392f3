//! `token lookup`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use vault_api::auth::token::{ByAccessor, ByToken};
use vault_client::{Call, SecretMap};

#[derive(clap::Args)]
pub struct Args {
    /// The token, or - for standard input; with -accessor an accessor
    token: Option<String>,
    /// The argument is an accessor
    #[arg(long, requires = "token")]
    accessor: bool,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let call = match &self.token {
            None => Call::read(&client, "auth/token/lookup-self"),
            Some(accessor) if self.accessor => {
                let body = ByAccessor { accessor: accessor.clone() };
                Call::write(&client, "auth/token/lookup-accessor").json(&body)
            }
            Some(token) => {
                let token = cx.io.secret(Some(token), "")?;
                Call::write(&client, "auth/token/lookup").json(&ByToken { token })
            }
        };
        match call.send::<SecretMap>().await? {
            Some(answer) => cx.answer(&answer)?,
            None => return Err(Failure::nothing_at("auth/token/lookup")),
        }
        Ok(OK)
    }
}
