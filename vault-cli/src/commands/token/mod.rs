//! `token`

mod capabilities;
mod create;
mod lookup;
mod renew;
mod revoke;

use crate::context::Context;
use crate::failure::Outcome;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a token
    Create(create::Args),
    /// Look a token up; without an argument this one's
    Lookup(lookup::Args),
    /// Extend a token's life; without an argument this one's
    Renew(renew::Args),
    /// Revoke a token and its children
    Revoke(revoke::Args),
    /// What a token may do on a path; without a token this one
    Capabilities(capabilities::Args),
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::Create(a) => a.run(cx).await,
            Command::Lookup(a) => a.run(cx).await,
            Command::Renew(a) => a.run(cx).await,
            Command::Revoke(a) => a.run(cx).await,
            Command::Capabilities(a) => a.run(cx).await,
        }
    }
}
