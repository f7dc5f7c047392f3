//! `operator init`

use crate::context::Context;
use crate::failure::{Failure, LOCAL, OK, Outcome, SERVER};
use crate::output::Format;
use serde_json::json;
use vault_api::sys::InitResponse;
use vault_api::{ExposeSecret, SecretString};

#[derive(clap::Args)]
pub struct Args {
    /// How many shares to split the unseal key into
    #[arg(long, short = 'n', default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    key_shares: u8,
    /// How many of them open the vault
    #[arg(long, short = 't', default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    key_threshold: u8,
    /// Only tell whether the vault is initialised (exit code 0: yes, 2: no)
    #[arg(long)]
    status: bool,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.anonymous()?;
        if self.status {
            let asked = client.sys().init_status().await;
            let initialised = asked.map_err(|e| Failure { code: LOCAL, ..Failure::from(e) })?;
            match cx.format {
                Format::Table if initialised => cx.say("Vault is initialized")?,
                Format::Table => cx.say("Vault is not initialized")?,
                _ => cx.document(&json!({ "initialized": initialised }))?,
            }
            return Ok(if initialised { OK } else { SERVER });
        }
        if self.key_threshold > self.key_shares {
            return Err(Failure::local("-key-threshold cannot be larger than -key-shares"));
        }
        let answer = client.sys().init(self.key_shares, self.key_threshold).await?;
        self.print(cx, &answer)?;
        Ok(OK)
    }

    fn print(&self, cx: &mut Context<'_>, answer: &InitResponse) -> Result<(), Failure> {
        let clear = |keys: &[SecretString]| -> Vec<String> {
            keys.iter().map(|k| k.expose_secret().to_owned()).collect()
        };
        let root = answer.root_token.as_ref().map_or("", |t| t.expose_secret());
        if cx.format != Format::Table || cx.flags.field.is_some() {
            let document = json!({
                "unseal_keys_b64": clear(&answer.keys_base64),
                "unseal_keys_hex": clear(&answer.keys),
                "unseal_shares": self.key_shares,
                "unseal_threshold": self.key_threshold,
                "recovery_keys_b64": [],
                "recovery_keys_hex": [],
                "root_token": root,
            });
            if cx.flags.field.is_some() {
                return cx.field(|name| document.get(name));
            }
            return cx.document(&document);
        }
        for (i, key) in answer.keys_base64.iter().enumerate() {
            writeln!(cx.io.out, "Unseal Key {}: {}", i + 1, key.expose_secret())?;
        }
        writeln!(cx.io.out, "\nInitial Root Token: {root}\n")?;
        cx.say(&format!(
            "Vault is initialized with {} key shares and a threshold of {}. This is the only time that the\n\
             shares and the root token are shown. Give each share to another person, and keep them apart:\n\
             {} of them open the vault, and with fewer nobody can, not even you.\n\n\
             Next: vault-cli operator unseal",
            self.key_shares, self.key_threshold, self.key_threshold
        ))
    }
}
