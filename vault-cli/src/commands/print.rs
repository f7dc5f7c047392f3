//! `print token`, `version`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::token_file;
use vault_api::ExposeSecret;

#[derive(clap::Subcommand)]
pub enum Command {
    /// The token that commands use: from VAULT_TOKEN, else from ~/.vault-token
    Token,
}

impl Command {
    pub fn run(self, cx: &mut Context<'_>) -> Outcome {
        let Command::Token = self;
        if let Some(token) = cx.io.var("VAULT_TOKEN").map(zeroize::Zeroizing::new) {
            writeln!(cx.io.out, "{}", token.trim())?;
            return Ok(OK);
        }
        let Some(token) = token_file::read(&cx.io.home()?)? else {
            return Err(Failure::local("there is no token")
                .advise("Log in with vault-cli login, or set VAULT_TOKEN."));
        };
        writeln!(cx.io.out, "{}", token.expose_secret())?;
        Ok(OK)
    }
}

/// The program's name and version, as `-version` prints them.
pub fn version(cx: &mut Context<'_>) -> Outcome {
    writeln!(cx.io.out, "vault-cli {}", env!("CARGO_PKG_VERSION"))?;
    Ok(OK)
}
