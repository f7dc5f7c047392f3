//! `operator generate-root`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use crate::limits::{MAX_INPUT_BYTES, MAX_OTP_CHARS};
use base64::Engine as _;
use serde_json::json;
use vault_api::sys::{GenerateRootInit, GenerateRootStatus};
use vault_api::{ExposeSecret, SecretString};
use vault_client::{Client, Kind};
use zeroize::Zeroizing;

/// Whoever has no token left is still at the machine.
const UNIX: &str = "Without a token it is started over the operator's unix socket, on the server's machine: \
     VAULT_ADDR=unix:///path/of/the/socket. Without a socket, add one to the server's config (listener \"unix\" { address = \
     \"/path\" }), restart, and unseal.";

#[derive(clap::Args)]
pub struct Args {
    /// Start: needs a token with sudo, or the operator's unix socket (VAULT_ADDR=unix:///path)
    #[arg(long, conflicts_with_all = ["cancel", "status", "decode", "generate_otp"])]
    init: bool,
    /// Give up
    #[arg(long, conflicts_with_all = ["status", "decode", "generate_otp"])]
    cancel: bool,
    /// Only tell how far it has come
    #[arg(long, conflicts_with_all = ["decode", "generate_otp"])]
    status: bool,
    /// Print a one-time password that fits, made on this machine
    #[arg(long, conflicts_with = "decode")]
    generate_otp: bool,
    /// Turn the encoded token into the token: asks for the one-time password
    #[arg(long, value_name = "ENCODED")]
    decode: Option<String>,
    /// One-time password for -init or -decode, or - for standard input. With -init the server makes one when absent
    #[arg(long)]
    otp: Option<String>,
    /// With -init, instead of a one-time password: file with the PGP public key that the token is encrypted to
    #[arg(long, value_name = "FILE", conflicts_with = "otp")]
    pgp_key: Option<String>,
    /// Names the attempt; the server is asked for it when absent
    #[arg(long)]
    nonce: Option<String>,
    /// The share, or - for standard input; asked for without echo when absent
    share: Option<String>,
}

impl Args {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        if let Some(encoded) = &self.decode {
            let otp = cx.io.secret(self.otp.as_deref(), "One-Time Password (will be hidden): ")?;
            let token = decode(encoded, &otp)?;
            writeln!(cx.io.out, "{}", token.expose_secret())?;
            return Ok(OK);
        }
        let client = cx.client()?;
        let sys = client.sys();
        if self.generate_otp {
            let length = sys.generate_root_status().await?.otp_length;
            writeln!(cx.io.out, "{}", one_time_password(length)?.expose_secret())?;
        } else if self.cancel {
            sys.generate_root_cancel().await?;
            cx.say("Success! Root token generation canceled (if it was started)")?;
        } else if self.init {
            let otp = match &self.otp {
                Some(given) => Some(cx.io.secret(Some(given), "")?),
                None => None,
            };
            let pgp_key = match &self.pgp_key {
                Some(path) => Some(pgp_key(path)?),
                None => None,
            };
            let status =
                sys.generate_root_init(&GenerateRootInit { otp, pgp_key }).await.map_err(|e| {
                    match e.kind() {
                        Kind::PermissionDenied => Failure::from(e).advise(UNIX),
                        _ => e.into(),
                    }
                })?;
            print(cx, &status)?;
            cx.say("\nNext, by the holder of each share: vault-cli operator generate-root")?;
        } else if self.status {
            let status = sys.generate_root_status().await?;
            print(cx, &status)?;
        } else {
            self.give(cx, &client).await?;
        }
        Ok(OK)
    }

    async fn give(&self, cx: &mut Context<'_>, client: &Client) -> Result<(), Failure> {
        let nonce = match &self.nonce {
            Some(nonce) => nonce.clone(),
            None => {
                let status = client.sys().generate_root_status().await.map_err(|e| {
                    Failure::from(e).advise("Who has no token must name the attempt: -nonce=...")
                })?;
                if !status.started {
                    return Err(Failure::local("no generation of a root token is in progress")
                        .advise("Start one: vault-cli operator generate-root -init"));
                }
                status.nonce
            }
        };
        let share = cx.io.secret(self.share.as_deref(), "Unseal Key (will be hidden): ")?;
        let status = client.sys().generate_root_update(&nonce, share).await?;
        print(cx, &status)?;
        if status.complete {
            cx.say(match status.pgp_fingerprint.is_empty() {
                true => {
                    "\nNext, with the one-time password of the start:\n\
                     vault-cli operator generate-root -decode=<Encoded Token>"
                }
                false => "\nNext, by the holder of the PGP key:\nbase64 -d <<< <Encoded Token> | gpg -d",
            })?;
        }
        Ok(())
    }
}

fn print(cx: &mut Context<'_>, s: &GenerateRootStatus) -> Result<(), Failure> {
    let otp = s.otp.as_ref().map_or("", |otp| otp.expose_secret());
    let mut rows = vec![
        ("Nonce".to_owned(), json!(s.nonce)),
        ("Started".to_owned(), json!(s.started)),
        ("Progress".to_owned(), json!(format!("{}/{}", s.progress, s.required))),
        ("Complete".to_owned(), json!(s.complete)),
    ];
    if !otp.is_empty() {
        rows.push(("OTP".into(), json!(otp)));
    }
    rows.push(("OTP Length".into(), json!(s.otp_length)));
    if !s.pgp_fingerprint.is_empty() {
        rows.push(("PGP Fingerprint".into(), json!(s.pgp_fingerprint)));
    }
    if !s.encoded_token.is_empty() {
        rows.push(("Encoded Token".into(), json!(s.encoded_token)));
    }
    let document = json!({
        "nonce": s.nonce, "started": s.started, "progress": s.progress, "required": s.required,
        "complete": s.complete, "encoded_token": s.encoded_token, "encoded_root_token": s.encoded_token,
        "otp": otp, "otp_length": s.otp_length, "pgp_fingerprint": s.pgp_fingerprint,
    });
    if cx.flags.field.is_some() {
        return cx.field(|name| document.get(name));
    }
    cx.pairs(&rows, &document)
}

/// The text of a public key, binary files as base64.
fn pgp_key(path: &str) -> Result<String, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::local(format!("{path}: {why}"));
    let size = std::fs::metadata(path).map_err(|e| wrong(&e))?.len();
    if size > MAX_INPUT_BYTES {
        return Err(wrong(&"too large for a key"));
    }
    let bytes = std::fs::read(path).map_err(|e| wrong(&e))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => base64::engine::general_purpose::STANDARD.encode(e.into_bytes()),
    })
}

/// Random letters and digits, each with the same chance.
fn one_time_password(length: usize) -> Result<SecretString, Failure> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if length > MAX_OTP_CHARS {
        return Err(Failure::local("the server asks for a one-time password that is too long"));
    }
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut byte = [0u8];
    while text.len() < length {
        getrandom::fill(&mut byte).map_err(|e| Failure::local(format!("no random bytes: {e}")))?;
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
        if let Some(&c) = byte.first().filter(|b| **b < 248).and_then(|b| LETTERS.get(usize::from(b % 62))) {
            text.push(char::from(c));
        }
    }
    Ok(SecretString::from(text.as_str()))
}

/// The token: what was encoded, XOR the one-time password.
fn decode(encoded: &str, otp: &SecretString) -> Result<SecretString, Failure> {
    let mixed = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(encoded.trim().trim_end_matches('='))
        .map_err(|_| Failure::local("the encoded token is not base64"))?;
    let otp = otp.expose_secret().as_bytes();
    if mixed.len() != otp.len() {
        return Err(Failure::local("the one-time password is not the one of this token: its length differs"));
    }
    let token = Zeroizing::new(mixed.iter().zip(otp).map(|(a, b)| a ^ b).collect::<Vec<u8>>());
    match std::str::from_utf8(&token) {
        Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(SecretString::from(text)),
        _ => Err(Failure::local("this one-time password does not fit the encoded token")),
    }
}
