//! What a provider's key must be like to be injected, and what of it must never come back.
//!
//! One judgement in three places: when a service is bound to a key, when the key is fetched, and
//! when answers are searched for it. What cannot be recognised in an answer is not sent.

use crate::limits::{MAX_CREDENTIAL_BYTES, MIN_SECRET_BYTES};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secmem::Zeroizing;
use std::fmt;

/// With or without padding, and whatever the last bits are: what a server would take.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const DECODERS: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&STANDARD, LENIENT), GeneralPurpose::new(&URL_SAFE, LENIENT)];

/// How providers begin their keys, for everyone to see. Longer ones win.
const PUBLIC_PREFIXES: &[&str] = &[
    "sk-",
    "sk-proj-",
    "sk-svcacct-",
    "sk-admin-",
    "sk-ant-",
    "sk-ant-api03-",
    "sk-ant-admin01-",
    "sk-or-v1-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "pk_live_",
    "pk_test_",
    "whsec_",
    "sess-",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "xai-",
    "AIza",
    "AKIA",
    "ASIA",
    "ya29.",
    "GOCSPX-",
    "SG.",
    "hf_",
    "r8_",
    "gsk_",
    "pplx-",
    "nvapi-",
    "tgp_v1_",
    "fw_",
    "shpat_",
    "shpss_",
    "dop_v1_",
    "npm_",
    "pypi-",
    "lin_api_",
    "ntn_",
    "secret_",
    "key-",
    "hvs.",
    "hvb.",
    "dckr_pat_",
    "rubygems_",
    "sntrys_",
    "phc_",
    "phx_",
    "pat-",
    "EAAA",
    "sq0atp-",
    "sq0csp-",
];

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Too little of it is secret: it would be found by chance, or not at all.
    Short,
    Long,
    /// HTTP cuts blanks at the ends of a header: what comes back would not be what is looked for.
    Blanks,
    Control,
    /// Re-encoded by whoever takes a header for Latin-1.
    NotAscii,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Short => write!(
                f,
                "it is too short to be masked in answers: {MIN_SECRET_BYTES} bytes beyond the provider's public prefix are needed"
            ),
            Unfit::Long => write!(f, "it is longer than {MAX_CREDENTIAL_BYTES} bytes"),
            Unfit::Blanks => f.write_str("it begins or ends with blanks, which HTTP takes away"),
            Unfit::Control => f.write_str("it contains a control character, which no header can carry"),
            Unfit::NotAscii => f.write_str("it is not ASCII, and so may be altered on the way"),
        }
    }
}

/// A key as it was stored, without the one line break in which a file ends.
pub fn trimmed(stored: &str) -> &str {
    let line = stored.strip_suffix('\n').unwrap_or(stored);
    line.strip_suffix('\r').unwrap_or(line)
}

/// Length of the part of `key` that tells the provider and no secret.
pub fn public_prefix(key: &[u8]) -> usize {
    PUBLIC_PREFIXES.iter().filter(|p| key.starts_with(p.as_bytes())).map(|p| p.len()).max().unwrap_or(0)
}

/// So many of the first bytes of `key` are worth hiding by themselves.
pub fn least(key: &[u8]) -> usize {
    public_prefix(key) + MIN_SECRET_BYTES
}

/// Texts of which none may come back.
pub type Secrets = Vec<Zeroizing<Vec<u8>>>;

/// Judges `key` and answers everything that must be masked when it is sent in `template`: the key,
/// and where it is the base64 of a user's name and password (or is sent as such), these too.
///
/// # Errors
/// Why the key cannot be used.
pub fn secrets(key: &[u8], template: &str) -> Result<Secrets, Unfit> {
    judge(key)?;
    let mut all = Secrets::new();
    add(&mut all, key);
    if all.is_empty() {
        return Err(Unfit::Short);
    }
    let basic = template.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
    if basic {
        halves(&mut all, key)?;
    }
    let sent = sent(key, template);
    for text in [key, &sent] {
        if let Some(decoded) = decoded(text) {
            add(&mut all, &decoded);
            halves(&mut all, &decoded)?;
        }
    }
    Ok(all)
}

fn judge(key: &[u8]) -> Result<(), Unfit> {
    if key.len() > MAX_CREDENTIAL_BYTES {
        return Err(Unfit::Long);
    }
    if key.first().is_some_and(u8::is_ascii_whitespace) || key.last().is_some_and(u8::is_ascii_whitespace) {
        return Err(Unfit::Blanks);
    }
    if key.iter().any(u8::is_ascii_control) {
        return Err(Unfit::Control);
    }
    if !key.is_ascii() {
        return Err(Unfit::NotAscii);
    }
    Ok(())
}

fn add(all: &mut Secrets, text: &[u8]) {
    if text.len() >= least(text) && !all.iter().any(|s| s.as_slice() == text) {
        all.push(Zeroizing::new(text.to_vec()));
    }
}

/// A name and a password: one of both may be a filler, as providers want it, but not both.
fn halves(all: &mut Secrets, pair: &[u8]) -> Result<(), Unfit> {
    let Some(colon) = pair.iter().position(|b| *b == b':') else { return Ok(()) };
    let (name, rest) = pair.split_at(colon);
    let password = rest.get(1..).unwrap_or_default();
    if name.len() < least(name) && password.len() < least(password) {
        return Err(Unfit::Short);
    }
    add(all, name);
    add(all, password);
    Ok(())
}

/// The header's value behind its scheme.
fn sent(key: &[u8], template: &str) -> Zeroizing<Vec<u8>> {
    let (before, after) = template.split_once(PLACE).unwrap_or_default();
    let mut value = Zeroizing::new(Vec::with_capacity(before.len() + key.len() + after.len()));
    value.extend_from_slice(before.rsplit(' ').next().unwrap_or_default().as_bytes());
    value.extend_from_slice(key);
    value.extend_from_slice(after.as_bytes());
    value
}

/// Where the key goes in a template.
pub const PLACE: &str = "{{credential}}";

/// What a text is the base64 of, when that is text itself.
fn decoded(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    DECODERS.iter().find_map(|d| {
        let plain = Zeroizing::new(d.decode(text).ok()?);
        plain.iter().all(|b| *b == b' ' || b.is_ascii_graphic()).then_some(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfit(key: &str) -> Option<Unfit> {
        secrets(key.as_bytes(), "Bearer {{credential}}").err()
    }

    #[test]
    fn what_cannot_be_masked_is_refused() {
        for (key, why) in [
            ("", Unfit::Short),
            ("1234567", Unfit::Short),
            ("sk-proj-1234567", Unfit::Short),
            ("sk_live_", Unfit::Short),
            (" 0123456789", Unfit::Blanks),
            ("0123456789 ", Unfit::Blanks),
            ("0123456789\t", Unfit::Blanks),
            ("0123456789\n", Unfit::Blanks),
            ("01234\r\n56789", Unfit::Control),
            ("01234\t56789", Unfit::Control),
            ("01234\u{7f}56789", Unfit::Control),
            ("schlüssel-12345", Unfit::NotAscii),
            (&"x".repeat(MAX_CREDENTIAL_BYTES + 1), Unfit::Long),
        ] {
            assert_eq!(unfit(key), Some(why), "{key:?}");
            assert!(why.to_string().len() > 10);
        }
        for key in ["12345678", "sk-proj-12345678", "with a blank", &"x".repeat(MAX_CREDENTIAL_BYTES)] {
            assert_eq!(unfit(key), None, "{key:?}");
        }
    }

    #[test]
    fn one_line_break_is_the_files() {
        for (stored, key) in [
            ("k\n", "k"),
            ("k\r\n", "k"),
            ("k", "k"),
            ("k\n\n", "k\n"),
            ("k \n", "k "),
            ("k\n ", "k\n "),
            ("", ""),
        ] {
            assert_eq!(trimmed(stored), key, "{stored:?}");
        }
    }

    #[test]
    fn both_halves_of_a_pair_are_secret() {
        let encode = |s: &str| base64::engine::general_purpose::STANDARD.encode(s);
        let found = |key: &str, template: &str| -> Result<Vec<String>, Unfit> {
            Ok(secrets(key.as_bytes(), template)?
                .iter()
                .map(|s| String::from_utf8_lossy(s).into_owned())
                .collect())
        };
        let pair = "account-7:hunter2-hunter2";
        let encoded = encode(pair);
        let all = [encoded.as_str(), pair, "account-7", "hunter2-hunter2"];
        assert_eq!(found(&encoded, "Basic {{credential}}").unwrap(), all);
        assert_eq!(found(encoded.trim_end_matches('='), "Bearer {{credential}}").unwrap()[1..], all[1..]);
        assert_eq!(found(pair, "Basic {{credential}}").unwrap(), all[1..]);
        assert_eq!(found(pair, "Bearer {{credential}}").unwrap(), [pair]);
        // The filler is not looked for.
        assert_eq!(
            found("abcdefgh-key:x", "Basic {{credential}}").unwrap(),
            ["abcdefgh-key:x", "abcdefgh-key"]
        );
        assert_eq!(found("api:abcdefgh-key", "basic {{credential}}").unwrap()[1..], ["abcdefgh-key"]);
        assert_eq!(found(&encode("admin:secret"), "Basic {{credential}}"), Err(Unfit::Short));
        // Random text decodes to no text.
        assert_eq!(found("sk-0123456789abcdef", "Bearer {{credential}}").unwrap().len(), 1);
    }
}
