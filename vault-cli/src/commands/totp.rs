//! `totp create|code|verify|read|list|delete`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome, SERVER};
use crate::output::Row;
use crate::values;
use clap::ArgAction;
use serde_json::{Value, json};
use vault_api::secrets::totp::{CreateKey, NewKey};
use vault_api::{ExposeSecret, SecretString};
use vault_client::{Error, Kind};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Generate a key, or import one
    Create(Box<Create>),
    /// The current code of a key
    Code {
        /// Name of the key
        name: String,
        #[command(flatten)]
        mount: Mount,
    },
    /// Verify a code, which uses it up (exit code 0: valid, 2: not valid)
    Verify {
        /// Name of the key
        name: String,
        /// The code, or - for standard input; asked for without echo when absent
        code: Option<String>,
        #[command(flatten)]
        mount: Mount,
    },
    /// The settings of a key; the key itself is never read back
    Read {
        /// Name of the key
        name: String,
        #[command(flatten)]
        mount: Mount,
    },
    /// Names of all keys
    List {
        #[command(flatten)]
        mount: Mount,
    },
    /// Delete a key
    Delete {
        /// Name of the key
        name: String,
        #[command(flatten)]
        mount: Mount,
    },
}

/// The engine's place.
#[derive(clap::Args)]
pub struct Mount {
    /// Path of the mount
    #[arg(long = "mount", value_name = "PATH", default_value = "totp")]
    path: String,
}

#[derive(clap::Args)]
pub struct Create {
    /// Name of the key
    name: String,
    /// To import: the key in base32 or as otpauth:// URL, as - (standard input) or @file; asked for without echo when absent
    #[arg(conflicts_with = "generate")]
    key: Option<String>,
    /// Let the server make the key, and show it this once
    #[arg(long, requires_all = ["issuer", "account"])]
    generate: bool,
    /// Who asks for the codes
    #[arg(long)]
    issuer: Option<String>,
    /// Whose codes they are
    #[arg(long, visible_alias = "account-name")]
    account: Option<String>,
    /// How long a code counts, such as 30s
    #[arg(long)]
    period: Option<String>,
    /// Digits of a code
    #[arg(long, value_parser = ["6", "8"])]
    digits: Option<String>,
    /// Hash of the codes
    #[arg(long, value_parser = ["SHA1", "SHA256", "SHA512"], ignore_case = true)]
    algorithm: Option<String>,
    /// Periods before and after the current one whose codes are accepted
    #[arg(long, value_parser = ["0", "1"])]
    skew: Option<String>,
    /// Bytes of a generated key
    #[arg(long, requires = "generate", value_name = "BYTES")]
    key_size: Option<u32>,
    /// Also give a generated key as QR code of this width: field barcode, a PNG in base64
    #[arg(long, requires = "generate", value_name = "PIXELS", default_value_t = 0)]
    qr_size: u32,
    /// Whether a generated key is shown
    #[arg(long, requires = "generate", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    exported: Option<bool>,
    #[command(flatten)]
    mount: Mount,
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::Create(c) => c.run(cx).await?,
            Command::Code { name, mount } => {
                let code = cx.client()?.totp(&mount.path).code(&name).await.map_err(|e| mount.explain(e))?;
                let code = json!(code.expose_secret());
                cx.pairs(&[("code".into(), code.clone())], &json!({ "code": code }))?;
            }
            Command::Verify { name, code, mount } => {
                let client = cx.client()?;
                let code = cx.io.secret(code.as_deref(), "Code (will be hidden): ")?;
                let valid = client.totp(&mount.path).validate(&name, code).await;
                let valid = valid.map_err(|e| mount.explain(e))?;
                cx.pairs(&[("valid".into(), json!(valid))], &json!({ "valid": valid }))?;
                return Ok(if valid { OK } else { SERVER });
            }
            Command::Read { name, mount } => {
                let key = cx.client()?.totp(&mount.path).key(&name).await.map_err(|e| mount.explain(e))?;
                let Some(key) = key else {
                    return Err(mount.unknown(Failure::remote(format!("No key named: {name}"))));
                };
                let document = serde_json::to_value(key).unwrap_or(Value::Null);
                let rows: Vec<Row> =
                    document.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
                cx.pairs(&rows, &document)?;
            }
            Command::List { mount } => {
                let keys = cx.client()?.totp(&mount.path).keys().await.map_err(|e| mount.explain(e))?;
                if keys.is_empty() {
                    return Err(Failure::nothing_at(&format!("{}/keys", mount.path.trim_matches('/'))));
                }
                cx.keys(&keys)?;
            }
            Command::Delete { name, mount } => {
                cx.client()?.totp(&mount.path).delete(&name).await.map_err(|e| mount.explain(e))?;
                cx.say(&format!("Success! Deleted key (if it existed): {name}"))?;
            }
        }
        Ok(OK)
    }
}

impl Create {
    async fn run(self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let client = cx.client()?;
        let mut body = CreateKey {
            generate: self.generate,
            exported: self.exported,
            key_size: self.key_size,
            qr_size: self.generate.then_some(self.qr_size),
            issuer: self.issuer,
            account_name: self.account,
            period: self.period,
            algorithm: self.algorithm.map(|a| a.to_ascii_uppercase()),
            digits: self.digits.and_then(|d| d.parse().ok()),
            skew: self.skew.and_then(|s| s.parse().ok()),
            ..CreateKey::default()
        };
        if !self.generate {
            let key = imported(cx, self.key.as_deref())?;
            let is_url = key.expose_secret().get(..8).is_some_and(|s| s.eq_ignore_ascii_case("otpauth:"));
            *(if is_url { &mut body.url } else { &mut body.key }) = Some(key);
        }
        let made = client.totp(&self.mount.path).create(&self.name, &body).await;
        match made.map_err(|e| self.mount.explain(e))? {
            Some(new) => show(cx, &new),
            None => cx.say(&format!("Success! Created key: {}", self.name)),
        }
    }
}

/// A key to import, from where the argument says.
fn imported(cx: &mut Context<'_>, given: Option<&str>) -> Result<SecretString, Failure> {
    match given.and_then(|g| g.strip_prefix('@')) {
        Some(path) => match values::file(path)?.trim() {
            "" => Err(Failure::local(format!("{path}: it is empty"))),
            text => Ok(SecretString::from(text)),
        },
        None => cx.io.secret(given, "Key, in base32 or as otpauth:// URL (will be hidden): "),
    }
}

fn show(cx: &mut Context<'_>, new: &NewKey) -> Result<(), Failure> {
    let fields = [("barcode", &new.barcode), ("url", &new.url)];
    let shown = |(name, secret): &(&str, &Option<SecretString>)| {
        secret.as_ref().map(|s| ((*name).to_owned(), json!(s.expose_secret())))
    };
    let rows: Vec<Row> = fields.iter().filter_map(shown).collect();
    let document = Value::Object(rows.iter().cloned().collect());
    cx.pairs(&rows, &document)
}

impl Mount {
    /// Says what to do about an engine that is not mounted, or a key that is not there.
    fn explain(&self, error: Error) -> Failure {
        let says = |text: &str| error.messages().iter().any(|m| m.contains(text));
        let unknown = says("unknown key");
        match error.kind() {
            Kind::NotFound if says("no handler for route") => {
                let path = match self.path.trim_matches('/') {
                    "totp" => String::new(),
                    other => format!("-path={other} "),
                };
                let advice = format!("Mount the engine with: vault-cli secrets enable {path}totp");
                Failure::from(error).advise(advice)
            }
            Kind::NotFound => Failure::from(error)
                .advise("A key's name has letters, digits, '-', '_', '.' and '@', and no '/'."),
            Kind::InvalidRequest if unknown => self.unknown(error.into()),
            _ => error.into(),
        }
    }

    fn unknown(&self, failure: Failure) -> Failure {
        let mount = match self.path.trim_matches('/') {
            "totp" => String::new(),
            other => format!(" -mount={other}"),
        };
        failure.advise(format!("Which keys are there? See: vault-cli totp list{mount}"))
    }
}
