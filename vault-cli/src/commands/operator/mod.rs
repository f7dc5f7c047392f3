//! `operator`: the vault's own keys.

mod generate_root;
mod init;
mod keys;
mod rekey;
mod snapshot;
mod unseal;

use crate::context::Context;
use crate::failure::{OK, Outcome};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Initialise an empty vault: prints the shares and the root token, once
    Init(init::Args),
    /// Give one share; the threshold's share opens the vault
    Unseal(unseal::Args),
    /// Seal the vault: its keys leave memory
    Seal,
    /// A new barrier key for what is written from now on
    Rotate,
    /// The barrier key in use
    KeyStatus,
    /// New shares in place of the old ones
    Rekey(rekey::Args),
    /// The whole vault in one file: save, inspect, restore
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// A new root token from a quorum of shares, when no token is left
    GenerateRoot(generate_root::Args),
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::Init(a) => a.run(cx).await,
            Command::Unseal(a) => a.run(cx).await,
            Command::Seal => {
                cx.client()?.sys().seal().await?;
                cx.say("Success! Vault is sealed.")?;
                Ok(OK)
            }
            Command::Rotate => keys::rotate(cx).await,
            Command::KeyStatus => keys::status(cx).await,
            Command::Rekey(a) => a.run(cx).await,
            Command::Snapshot(c) => c.run(cx).await,
            Command::GenerateRoot(a) => a.run(cx).await,
        }
    }
}
