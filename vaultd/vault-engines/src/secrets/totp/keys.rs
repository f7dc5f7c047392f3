//! `keys/`: the shared secrets.

use super::{otpauth, qr};
use crate::limits::{
    TOTP_MAX_LABEL_BYTES, TOTP_MAX_PERIOD, TOTP_MAX_QR_PIXELS, TOTP_MAX_SECRET_BYTES, TOTP_MIN_SECRET_BYTES,
    TOTP_WIPE_BYTES,
};
use crate::params;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secmem::stack::wiped;
use secmem::{Zeroize, Zeroizing};
use serde::{Deserialize, Serialize};
use totp_rs::{Algorithm, Builder, Secret, Totp};
use uuid::Uuid;
use vault_logical::{Context, Data, Error, Request, Response, Result, ViewExt, field};

const FORM: u8 = 1;
const FIELDS: &[&str] = &[
    "generate",
    "exported",
    "key_size",
    "key",
    "issuer",
    "account_name",
    "period",
    "algorithm",
    "digits",
    "skew",
    "qr_size",
    "url",
];

/// Stored at `key/<name>`. Never printed: it holds the secret.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyRecord {
    v: u8,
    /// New for each key: what was used up under an older key of this name does not count.
    pub id: Uuid,
    /// Base32 without padding.
    secret: String,
    issuer: String,
    account_name: String,
    /// Seconds.
    pub period: u64,
    algorithm: Hash,
    pub digits: u8,
    /// Steps before and after the current one that are accepted.
    pub skew: u64,
}

impl Drop for KeyRecord {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    fn parse(s: &str) -> Result<Self> {
        match s {
            "SHA1" => Ok(Hash::Sha1),
            "SHA256" => Ok(Hash::Sha256),
            "SHA512" => Ok(Hash::Sha512),
            _ => Err(Error::invalid("the algorithm value is not valid")),
        }
    }
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Hash::Sha1 => "SHA1",
            Hash::Sha256 => "SHA256",
            Hash::Sha512 => "SHA512",
        }
    }
}

fn key_path(name: &str) -> String {
    format!("key/{name}")
}

/// Where the charge keeps what it counts.
pub(super) fn used_path(name: &str) -> String {
    format!("used/{name}")
}

impl KeyRecord {
    pub(super) async fn load(cx: &mut Context<'_>, name: &str) -> Result<Option<Self>> {
        match cx.view.get_json::<KeyRecord>(&key_path(name)).await? {
            Some(k) if k.v != FORM => Err(Error::internal("stored key is of a newer form")),
            k => Ok(k),
        }
    }

    /// The generator for exactly one step at a time.
    pub(super) fn totp(&self) -> Result<Totp> {
        let secret = Secret::try_from_base32(&self.secret)
            .map_err(|_| Error::internal("stored secret is not base32"))?;
        Builder::new()
            .with_algorithm(match self.algorithm {
                Hash::Sha1 => Algorithm::SHA1,
                Hash::Sha256 => Algorithm::SHA256,
                Hash::Sha512 => Algorithm::SHA512,
            })
            .with_digits(self.digits)
            .with_skew(0)
            .with_step_duration(self.period)
            .with_secret(secret)
            .build()
            .map_err(|_| Error::internal("stored key is not usable"))
    }
}

pub(super) async fn read(cx: &mut Context<'_>, request: &Request, name: &str) -> Result<Response> {
    let key = KeyRecord::load(cx, name).await?.ok_or_else(Error::not_found)?;
    let mut d = Data::new();
    d.insert("account_name".into(), key.account_name.clone().into());
    d.insert("algorithm".into(), key.algorithm.as_str().into());
    d.insert("digits".into(), key.digits.into());
    d.insert("issuer".into(), key.issuer.clone().into());
    d.insert("period".into(), key.period.into());
    Ok(params::check(Response::data(d), &request.data, &[], &["name"]))
}

pub(super) async fn delete(cx: &mut Context<'_>, name: &str) -> Result<Response> {
    cx.view.delete(&key_path(name)).await?;
    cx.view.delete(&used_path(name)).await?;
    Ok(Response::empty())
}

/// What a key is made of, from the body or its `url`.
#[derive(Default)]
pub(super) struct Parameters {
    pub key: Option<Zeroizing<String>>,
    pub issuer: String,
    pub account_name: String,
    pub period: Option<u64>,
    pub algorithm: Option<String>,
    pub digits: Option<u64>,
}

impl Parameters {
    fn of(data: &Data) -> Result<Self> {
        let text = |name| field::string(data, name).map(Option::unwrap_or_default);
        Ok(Parameters {
            key: field::string(data, "key")?.filter(|k| !k.is_empty()).map(Zeroizing::new),
            issuer: text("issuer")?,
            account_name: text("account_name")?,
            period: field::duration(data, "period")?.map(|d| d.as_secs()),
            algorithm: field::string(data, "algorithm")?,
            digits: field::unsigned(data, "digits")?,
        })
    }
}

fn label(name: &str, text: &str) -> Result<()> {
    if text.len() > TOTP_MAX_LABEL_BYTES || text.chars().any(|c| c.is_control() || c == ':') {
        return Err(Error::invalid(format!(
            "the {name} value must be at most {TOTP_MAX_LABEL_BYTES} bytes, without ':' and control characters"
        )));
    }
    Ok(())
}

/// Base32 as people paste it: any case, spaces, padding.
fn clean_base32(key: &str) -> Result<Zeroizing<String>> {
    if key.len() > 4 * TOTP_MAX_SECRET_BYTES {
        return Err(Error::invalid("the key value is too long"));
    }
    let kept = key.chars().filter(|c| !c.is_ascii_whitespace() && *c != '=' && *c != '-');
    let mut text = Zeroizing::new(String::with_capacity(key.len()));
    text.extend(kept.map(|c| c.to_ascii_uppercase()));
    let secret = Secret::try_from_base32(text.as_str())
        .map_err(|_| Error::invalid("invalid key value: not base32"))?;
    let n = secret.as_ref().len();
    if !(TOTP_MIN_SECRET_BYTES..=TOTP_MAX_SECRET_BYTES).contains(&n) {
        return Err(Error::invalid(format!(
            "the key value must hold {TOTP_MIN_SECRET_BYTES} to {TOTP_MAX_SECRET_BYTES} bytes"
        )));
    }
    Ok(Zeroizing::new(secret.to_base32()))
}

fn random_secret(bytes: u64) -> Result<Zeroizing<String>> {
    let n = usize::try_from(bytes).unwrap_or(usize::MAX);
    if !(TOTP_MIN_SECRET_BYTES..=TOTP_MAX_SECRET_BYTES).contains(&n) {
        return Err(Error::invalid(format!(
            "the key_size value must be {TOTP_MIN_SECRET_BYTES} to {TOTP_MAX_SECRET_BYTES} bytes"
        )));
    }
    let mut raw = Zeroizing::new(vec![0u8; n]);
    secmem::random::fill(&mut raw).map_err(Error::internal)?;
    Ok(Zeroizing::new(Secret::from(raw.as_slice()).to_base32()))
}

fn build(p: &Parameters, secret: &str, skew: u64) -> Result<KeyRecord> {
    label("issuer", &p.issuer)?;
    label("account_name", &p.account_name)?;
    let digits = match p.digits.unwrap_or(6) {
        6 => 6,
        8 => 8,
        _ => return Err(Error::invalid("the digits value can only be 6 or 8")),
    };
    let algorithm = Hash::parse(p.algorithm.as_deref().unwrap_or("SHA1"))?;
    let period = p.period.unwrap_or(30);
    if !(1..=TOTP_MAX_PERIOD).contains(&period) {
        return Err(Error::invalid(format!("the period value must be 1 to {TOTP_MAX_PERIOD} seconds")));
    }
    if skew > 1 {
        return Err(Error::invalid("the skew value must be 0 or 1"));
    }
    Ok(KeyRecord {
        v: FORM,
        id: Uuid::new_v4(),
        secret: secret.to_string(),
        issuer: p.issuer.clone(),
        account_name: p.account_name.clone(),
        period,
        algorithm,
        digits,
        skew,
    })
}

/// `url` and, unless `qr_size` is 0, `barcode` of a new key: the only time its secret is shown.
fn enrolment(key: &KeyRecord, qr_size: u64) -> Result<Data> {
    let url = otpauth::url(&otpauth::Label {
        issuer: &key.issuer,
        account_name: &key.account_name,
        algorithm: key.algorithm.as_str(),
        digits: key.digits,
        period: key.period,
        secret: &key.secret,
    });
    let mut d = Data::new();
    if qr_size > 0 {
        let size = usize::try_from(qr_size).ok().filter(|n| *n <= TOTP_MAX_QR_PIXELS).ok_or_else(|| {
            Error::invalid(format!("the qr_size value must be at most {TOTP_MAX_QR_PIXELS} pixels"))
        })?;
        d.insert("barcode".into(), STANDARD.encode(qr::png(&url, size)?).into());
    }
    d.insert("url".into(), url.as_str().into());
    Ok(d)
}

pub(super) async fn write(cx: &mut Context<'_>, request: &Request, name: &str) -> Result<Response> {
    let (key, response) = wiped(TOTP_WIPE_BYTES, || make(&request.data))?;
    cx.view.put_json(&key_path(name), &key).await?;
    Ok(params::check(response, &request.data, FIELDS, &["name"]))
}

/// The key that a write asks for, and the answer. In one go: what it leaves on the stack is wiped.
fn make(data: &Data) -> Result<(KeyRecord, Response)> {
    let mut p = Parameters::of(data)?;
    let url = field::string(data, "url")?.filter(|u| !u.is_empty()).map(Zeroizing::new);
    let skew = field::unsigned(data, "skew")?.unwrap_or(1);
    let response;
    let key = if field::boolean(data, "generate")?.unwrap_or(false) {
        if p.key.is_some() {
            return Err(Error::invalid("a key should not be passed if generate is true"));
        }
        if url.is_some() {
            return Err(Error::invalid("a url should not be passed if generate is true"));
        }
        if p.account_name.is_empty() {
            return Err(Error::invalid("the account_name value is required for generated keys"));
        }
        if p.issuer.is_empty() {
            return Err(Error::invalid("the issuer value is required for generated keys"));
        }
        let secret = random_secret(field::unsigned(data, "key_size")?.unwrap_or(20))?;
        let key = build(&p, &secret, skew)?;
        response = if field::boolean(data, "exported")?.unwrap_or(true) {
            Response::data(enrolment(&key, field::unsigned(data, "qr_size")?.unwrap_or(200))?)
        } else {
            Response::empty()
        };
        key
    } else {
        if let Some(url) = url {
            otpauth::parse(&url, &mut p)?;
        }
        let given = p.key.take().ok_or_else(|| Error::invalid("the key value is required"))?;
        response = Response::empty();
        build(&p, &clean_base32(&given)?, skew)?
    };
    key.totp()?;
    Ok((key, response))
}
