//! `token renew`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use vault_api::auth::token::Renew;
use vault_client::{Call, SecretMap};

#[derive(clap::Args)]
pub struct Args {
    /// The token, or - for standard input; with -accessor an accessor
    token: Option<String>,
    /// The argument is an accessor
    #[arg(long, requires = "token")]
    accessor: bool,
    /// Wanted time to live, such as 1h
    #[arg(long, short)]
    increment: Option<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let mut body = Renew { increment: self.increment, ..Renew::default() };
        let path = match &self.token {
            None => "auth/token/renew-self",
            Some(accessor) if self.accessor => {
                body.accessor = Some(accessor.clone());
                "auth/token/renew-accessor"
            }
            Some(token) => {
                body.token = Some(cx.io.secret(Some(token), "")?);
                "auth/token/renew"
            }
        };
        match Call::write(&client, path).json(&body).send::<SecretMap>().await? {
            Some(answer) => cx.answer(&answer)?,
            None => return Err(Failure::local("the server gave no token")),
        }
        Ok(OK)
    }
}
