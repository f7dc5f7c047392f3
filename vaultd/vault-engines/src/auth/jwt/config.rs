//! `config`: where the keys come from, and who issues the tokens.

use super::keys::KeySet;
use super::kind::Accepted;
use super::token::Alg;
use crate::limits::{JWT_DEFAULT_LIFETIME, JWT_MAX_LIFETIME, JWT_MAX_LIST};
use crate::{params, pem};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use vault_logical::{Context, Data, Error, ErrorKind, Request, Response, Result, ViewExt, field};

const FORM: u8 = 1;
pub(super) const PATH: &str = "config";
const FIELDS: &[&str] = &[
    "jwt_validation_pubkeys",
    "jwks_url",
    "jwks_ca_pem",
    "bound_issuer",
    "jwt_supported_algs",
    "default_role",
    "max_lifetime",
    "token_kind",
];
/// Vault's settings for what is not built here: refused when they say anything.
const UNBUILT: &[&str] = &[
    "oidc_discovery_url",
    "oidc_discovery_ca_pem",
    "oidc_client_id",
    "oidc_client_secret",
    "jwks_pairs",
    "oidc_response_mode",
    "oidc_response_types",
    "provider_config",
];

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Config {
    v: u8,
    /// Counts the writes: what was derived from an older one is dropped.
    pub version: u64,
    pub pubkeys: Vec<String>,
    pub jwks_url: String,
    pub jwks_ca_pem: String,
    pub bound_issuer: String,
    pub algs: Vec<String>,
    pub default_role: String,
    /// Longest `exp` less `iat`, in seconds; 0: the default. Records written before it existed have
    /// none.
    #[serde(default)]
    max_lifetime: u64,
    /// As [`Accepted::parse`] takes it.
    #[serde(default)]
    token_kind: String,
}

impl Config {
    pub async fn load(cx: &mut Context<'_>) -> Result<Option<Self>> {
        match cx.view.get_json::<Config>(PATH).await? {
            Some(c) if c.v != FORM => Err(Error::internal("stored configuration is of a newer form")),
            c => Ok(c),
        }
    }

    /// How long a token may live from its issue to its end.
    pub fn max_lifetime(&self) -> Duration {
        Duration::from_secs(if self.max_lifetime == 0 { JWT_DEFAULT_LIFETIME } else { self.max_lifetime })
    }

    /// Which kinds of tokens are accepted.
    pub fn kinds(&self) -> Accepted {
        Accepted::parse(&self.token_kind).unwrap_or_default()
    }

    pub fn allows(&self, alg: Alg) -> bool {
        self.algs.is_empty() || self.algs.iter().any(|a| Alg::parse(a) == Some(alg))
    }
}

/// True for what Vault's clients send to leave a setting out.
pub(super) fn says_nothing(v: &Value) -> bool {
    match v {
        Value::Null | Value::Bool(false) => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        Value::Number(n) => n.as_u64() == Some(0),
        Value::Bool(true) => false,
    }
}

/// `https://host[:port]/…`, or `http://` to this machine.
fn check_url(url: &str) -> Result<()> {
    let bad = || {
        Error::invalid(
            "\"jwks_url\" must be an https:// url without user and fragment (http:// to loopback only)",
        )
    };
    let u = url::Url::parse(url).map_err(|_| bad())?;
    let local = match u.host() {
        Some(url::Host::Ipv4(a)) => a.is_loopback(),
        Some(url::Host::Ipv6(a)) => a.is_loopback(),
        Some(url::Host::Domain(d)) => d == "localhost",
        None => return Err(bad()),
    };
    let scheme = u.scheme() == "https" || (u.scheme() == "http" && local);
    if !scheme || !u.username().is_empty() || u.password().is_some() || u.fragment().is_some() {
        return Err(bad());
    }
    Ok(())
}

pub(super) async fn read(cx: &mut Context<'_>, request: &Request) -> Result<Response> {
    let c = Config::load(cx).await?.ok_or_else(Error::not_found)?;
    let max_lifetime = c.max_lifetime().as_secs();
    let mut d = Data::new();
    d.insert("bound_issuer".into(), c.bound_issuer.into());
    d.insert("default_role".into(), c.default_role.into());
    d.insert("jwks_ca_pem".into(), c.jwks_ca_pem.into());
    d.insert("jwks_url".into(), c.jwks_url.into());
    d.insert("jwt_supported_algs".into(), c.algs.into());
    d.insert("max_lifetime".into(), max_lifetime.into());
    d.insert("token_kind".into(), c.token_kind.into());
    d.insert("jwt_validation_pubkeys".into(), c.pubkeys.into());
    // What is not built is told as Vault tells it where nothing is set.
    d.insert("jwks_pairs".into(), Value::Array(Vec::new()));
    d.insert("oidc_client_id".into(), "".into());
    d.insert("oidc_discovery_ca_pem".into(), "".into());
    d.insert("oidc_discovery_url".into(), "".into());
    d.insert("oidc_response_mode".into(), "".into());
    d.insert("oidc_response_types".into(), Value::Array(Vec::new()));
    d.insert("provider_config".into(), Value::Object(Data::new()));
    Ok(params::check(Response::data(d), &request.data, &[], &[]))
}

/// A write states the whole configuration, as in Vault.
pub(super) async fn write(cx: &mut Context<'_>, request: &Request) -> Result<Response> {
    let data = &request.data;
    for name in UNBUILT {
        if data.get(*name).is_some_and(|v| !says_nothing(v)) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("\"{name}\" is not supported; use \"jwks_url\" or \"jwt_validation_pubkeys\""),
            ));
        }
    }
    let text = |name| field::string(data, name).map(Option::unwrap_or_default);
    let list = |name| field::strings(data, name).map(Option::unwrap_or_default);
    let version = Config::load(cx).await?.map_or(0, |c| c.version).saturating_add(1);
    let config = Config {
        v: FORM,
        version,
        pubkeys: list("jwt_validation_pubkeys")?,
        jwks_url: text("jwks_url")?,
        jwks_ca_pem: text("jwks_ca_pem")?,
        bound_issuer: text("bound_issuer")?,
        algs: list("jwt_supported_algs")?,
        default_role: text("default_role")?.to_lowercase(),
        max_lifetime: field::duration(data, "max_lifetime")?.map_or(0, |d| d.as_secs()),
        token_kind: text("token_kind")?,
    };
    check(&config)?;
    cx.view.put_json(PATH, &config).await?;
    let known: Vec<&str> = FIELDS.iter().chain(UNBUILT).copied().collect();
    Ok(params::check(Response::empty(), data, &known, &[]))
}

fn check(c: &Config) -> Result<()> {
    if c.pubkeys.is_empty() == c.jwks_url.is_empty() {
        return Err(Error::invalid("exactly one of 'jwt_validation_pubkeys' and 'jwks_url' must be set"));
    }
    if c.pubkeys.len() > JWT_MAX_LIST || c.algs.len() > JWT_MAX_LIST {
        return Err(Error::invalid(format!("a list has more than {JWT_MAX_LIST} values")));
    }
    if KeySet::from_pem(c.pubkeys.iter().map(String::as_str)).is_none() {
        return Err(Error::invalid(
            "a public key is not usable: one PEM block each, RSA of 2048 to 8192 bits, a point of EC P-256 or P-384, or Ed25519 of full order",
        ));
    }
    if !c.jwks_url.is_empty() {
        check_url(&c.jwks_url)?;
    }
    if !c.jwks_ca_pem.is_empty() && (c.jwks_url.is_empty() || !pem::is_certificates(&c.jwks_ca_pem)) {
        return Err(Error::invalid("\"jwks_ca_pem\" must hold PEM certificates, and needs \"jwks_url\""));
    }
    if c.algs.iter().any(|a| Alg::parse(a).is_none()) {
        return Err(Error::invalid(
            "\"jwt_supported_algs\" may hold RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA",
        ));
    }
    if c.max_lifetime > JWT_MAX_LIFETIME {
        return Err(Error::invalid(format!("\"max_lifetime\" must be at most {JWT_MAX_LIFETIME} seconds")));
    }
    if Accepted::parse(&c.token_kind).is_none() {
        return Err(Error::invalid(
            "\"token_kind\" must be \"access\", \"id\", or \"\" for all but refresh tokens",
        ));
    }
    if !c.default_role.is_empty() && !params::is_name(&c.default_role, b"") {
        return Err(Error::invalid("\"default_role\" is not a role name"));
    }
    Ok(())
}
