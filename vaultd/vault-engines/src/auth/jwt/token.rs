//! A JWT before its signature is looked at: form, header, algorithm (RFC 7515, 7519, 8725).

use crate::limits::{JWT_MAX_BYTES, JWT_MAX_DEPTH, JWT_MAX_KID_BYTES};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use vault_api::json::{self, Bounds, JsonError};

pub(super) type Claims = Map<String, Value>;

/// Two readers that disagree on which of two `sub` members counts are two different logins.
pub(super) const STRICT: Bounds = Bounds { depth: JWT_MAX_DEPTH, ..Bounds::SIZED };

/// Why a token was refused: for the log, never for the caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub &'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}
impl std::error::Error for Refused {}

impl From<JsonError> for Refused {
    fn from(_: JsonError) -> Self {
        Refused("header or claims are not strict JSON")
    }
}

/// Signature algorithms that exist here: no `none`, no shared secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alg {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// What a key is, and so which algorithms it may verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Alg {
    /// Exactly the registered spelling: `rs256` or `nOnE` is nothing.
    pub fn parse(s: &str) -> Option<Self> {
        Some(match s {
            "RS256" => Alg::Rs256,
            "RS384" => Alg::Rs384,
            "RS512" => Alg::Rs512,
            "PS256" => Alg::Ps256,
            "PS384" => Alg::Ps384,
            "PS512" => Alg::Ps512,
            "ES256" => Alg::Es256,
            "ES384" => Alg::Es384,
            "EdDSA" => Alg::EdDsa,
            _ => return None,
        })
    }
    pub fn family(self) -> Family {
        match self {
            Alg::Rs256 | Alg::Rs384 | Alg::Rs512 | Alg::Ps256 | Alg::Ps384 | Alg::Ps512 => Family::Rsa,
            Alg::Es256 => Family::P256,
            Alg::Es384 => Family::P384,
            Alg::EdDsa => Family::Ed25519,
        }
    }
    pub fn library(self) -> Algorithm {
        match self {
            Alg::Rs256 => Algorithm::RS256,
            Alg::Rs384 => Algorithm::RS384,
            Alg::Rs512 => Algorithm::RS512,
            Alg::Ps256 => Algorithm::PS256,
            Alg::Ps384 => Algorithm::PS384,
            Alg::Ps512 => Algorithm::PS512,
            Alg::Es256 => Algorithm::ES256,
            Alg::Es384 => Algorithm::ES384,
            Alg::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A well-formed token whose signature nobody has checked yet. Not printable.
pub(super) struct Unverified<'a> {
    pub alg: Alg,
    pub kid: Option<String>,
    /// The text under the signature.
    pub signed: &'a str,
    /// Base64url.
    pub signature: &'a str,
    /// The header says `at+jwt`: an access token (RFC 9068).
    pub typed_access: bool,
    claims: Claims,
}

impl Unverified<'_> {
    /// The claims, for checks that only refuse. Nothing may be granted from them.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
    pub fn signature_bytes(&self) -> Vec<u8> {
        decode(self.signature).unwrap_or_default()
    }
    pub fn into_claims(self) -> Claims {
        self.claims
    }
}

/// Exactly one spelling: no padding, no trailing bits, no other alphabet.
fn decode(segment: &str) -> Result<Vec<u8>, Refused> {
    if segment.is_empty() {
        return Err(Refused("an empty segment"));
    }
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| Refused("a segment is not canonical base64url"))
}

fn json(segment: &str) -> Result<Map<String, Value>, Refused> {
    let bytes = decode(segment)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Refused("invalid UTF-8"))?;
    Ok(json::object(text, &STRICT)?)
}

/// Parses `token`, without any cryptography.
pub(super) fn parse(token: &str) -> Result<Unverified<'_>, Refused> {
    if token.len() > JWT_MAX_BYTES {
        return Err(Refused("too long"));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refused("not three segments"))?;
    let (header, claims) = signed.split_once('.').ok_or(Refused("not three segments"))?;
    // A dot more is in no alphabet: decoding refuses it.
    decode(signature)?;
    let header = json(header)?;
    let (alg, kid, typed_access) = check_header(&header)?;
    Ok(Unverified { alg, kid, typed_access, signed, signature, claims: json(claims)? })
}

/// `jwk`, `jku`, `x5u` and `x5c` are not looked at: a token does not bring its own key.
fn check_header(header: &Map<String, Value>) -> Result<(Alg, Option<String>, bool), Refused> {
    // Extensions we do not know, payloads that are not claims, compressed or encrypted tokens.
    for name in ["crit", "b64", "zip", "enc", "cty"] {
        if header.contains_key(name) {
            return Err(Refused("a header parameter that changes what the token means"));
        }
    }
    let typed_access = match header.get("typ") {
        None => false,
        Some(Value::String(t)) => {
            let t = t.to_ascii_lowercase();
            match t.strip_prefix("application/").unwrap_or(&t) {
                "jwt" => false,
                "at+jwt" => true,
                _ => return Err(Refused("a token of another type")),
            }
        }
        Some(_) => return Err(Refused("typ is not a string")),
    };
    let alg = match header.get("alg") {
        Some(Value::String(s)) => Alg::parse(s).ok_or(Refused("algorithm is not allowed"))?,
        _ => return Err(Refused("no algorithm")),
    };
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(s)) if s.len() <= JWT_MAX_KID_BYTES => Some(s.clone()),
        Some(_) => return Err(Refused("kid is not a short string")),
    };
    Ok((alg, kid, typed_access))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_text_makes_the_parser_panic(s in "[A-Za-z0-9_.=-]{0,200}") {
            let _ = parse(&s);
        }
    }
}
