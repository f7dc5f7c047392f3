//! `operator rekey`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::output::Format;
use serde_json::{Value, json};
use vault_api::sys::{RekeyInit, RekeyStatus, RekeyUpdate};
use vault_api::{ExposeSecret, SecretString};
use vault_client::{Call, Client};

#[derive(clap::Args)]
pub struct Args {
    /// Start a rekey
    #[arg(long, conflicts_with_all = ["cancel", "status"])]
    init: bool,
    /// Give up a rekey
    #[arg(long, conflicts_with = "status")]
    cancel: bool,
    /// Only tell how far it has come
    #[arg(long)]
    status: bool,
    /// With -init: the new shares must be given back before they take effect. Else: give new shares back
    #[arg(long)]
    verify: bool,
    /// With -init: how many new shares
    #[arg(long, short = 'n', default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    key_shares: u8,
    /// With -init: how many of them open the vault
    #[arg(long, short = 't', default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    key_threshold: u8,
    /// Names the rekey; the server is asked for it when absent
    #[arg(long)]
    nonce: Option<String>,
    /// The share, or - for standard input; asked for without echo when absent
    share: Option<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        let client = cx.client()?;
        let sys = client.sys();
        if self.cancel {
            sys.rekey_cancel().await?;
            cx.say("Success! Canceled rekeying (if it was started)")?;
        } else if self.init {
            if self.key_threshold > self.key_shares {
                return Err(Failure::local("-key-threshold cannot be larger than -key-shares"));
            }
            let request = RekeyInit {
                secret_shares: self.key_shares,
                secret_threshold: self.key_threshold,
                require_verification: self.verify,
            };
            let status = sys.rekey_init(&request).await?;
            print_status(cx, &status)?;
            cx.say("\nNext, once for each old share: vault-cli operator rekey")?;
        } else if self.status {
            print_status(cx, &self.state(&client).await?)?;
        } else {
            self.give(cx, &client).await?;
        }
        Ok(OK)
    }

    /// The rekey's state, or that of its verification.
    async fn state(&self, client: &Client) -> Result<RekeyStatus, Failure> {
        Ok(match self.verify {
            true => Call::read(client, "sys/rekey/verify").bare().await?,
            false => client.sys().rekey_status().await?,
        })
    }

    async fn give(&self, cx: &mut Context<'_>, client: &Client) -> Result<(), Failure> {
        let nonce = match &self.nonce {
            Some(nonce) => nonce.clone(),
            None => {
                let status = self.state(client).await?;
                if !status.started {
                    return Err(Failure::local("no rekey is in progress")
                        .advise("Start one: vault-cli operator rekey -init -key-shares=5 -key-threshold=3"));
                }
                status.nonce
            }
        };
        let share = cx.io.secret(self.share.as_deref(), "Unseal Key (will be hidden): ")?;
        let answer = match self.verify {
            true => client.sys().rekey_verify(&nonce, share).await?,
            false => client.sys().rekey_update(&nonce, share).await?,
        };
        match (answer.complete, answer.keys_base64.is_empty()) {
            (true, false) => print_shares(cx, &answer),
            (true, true) => cx.say("Success! The rekey is complete: only the new shares open the vault now."),
            (false, _) => print_status(cx, &self.state(client).await?),
        }
    }
}

fn print_status(cx: &mut Context<'_>, s: &RekeyStatus) -> Result<(), Failure> {
    let mut rows = vec![("Nonce".to_owned(), json!(s.nonce)), ("Started".to_owned(), json!(s.started))];
    if s.started {
        rows.push(("New Shares".into(), json!(s.n)));
        rows.push(("New Threshold".into(), json!(s.t)));
        let required = if s.required == 0 { s.t } else { s.required };
        rows.push(("Rekey Progress".into(), json!(format!("{}/{required}", s.progress))));
        rows.push(("Verification Required".into(), json!(s.verification_required)));
    }
    if !s.verification_nonce.is_empty() {
        rows.push(("Verification Nonce".into(), json!(s.verification_nonce)));
    }
    let document = serde_json::to_value(s).unwrap_or(Value::Null);
    if cx.flags.field.is_some() {
        return cx.field(|name| document.get(name));
    }
    cx.pairs(&rows, &document)
}

fn print_shares(cx: &mut Context<'_>, answer: &RekeyUpdate) -> Result<(), Failure> {
    if cx.format != Format::Table {
        let clear = |keys: &[SecretString]| -> Vec<String> {
            keys.iter().map(|k| k.expose_secret().to_owned()).collect()
        };
        return cx.document(&json!({
            "nonce": answer.nonce, "complete": true,
            "keys": clear(&answer.keys), "keys_base64": clear(&answer.keys_base64),
            "verification_required": answer.verification_required,
            "verification_nonce": answer.verification_nonce,
        }));
    }
    for (i, key) in answer.keys_base64.iter().enumerate() {
        writeln!(cx.io.out, "Key {}: {}", i + 1, key.expose_secret())?;
    }
    writeln!(cx.io.out, "\nOperation nonce: {}\n", answer.nonce)?;
    let next = if answer.verification_required {
        format!(
            "The old shares still open the vault. Give the new ones back to switch over:\n\
             vault-cli operator rekey -verify -nonce={}",
            answer.verification_nonce
        )
    } else {
        "Only these shares open the vault now. They are not shown again.".to_owned()
    };
    cx.say(&next)
}
