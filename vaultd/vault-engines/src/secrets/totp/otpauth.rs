//! `otpauth://totp/` URLs: how authenticator apps are given a key.
//!
//! <https://github.com/google/google-authenticator/wiki/Key-Uri-Format>

use super::keys::Parameters;
use crate::limits::TOTP_MAX_URL_BYTES;
use secmem::Zeroizing;
use std::fmt::Write as _;
use vault_logical::{Error, Result};

const SCHEME: &str = "otpauth://totp/";

pub(super) struct Label<'a> {
    pub issuer: &'a str,
    pub account_name: &'a str,
    pub algorithm: &'a str,
    pub digits: u8,
    pub period: u64,
    pub secret: &'a str,
}

fn percent_encode(out: &mut String, text: &str) {
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => {
                out.push(char::from(b))
            }
            // Writing to a string cannot fail.
            _ => _ = write!(out, "%{b:02X}"),
        }
    }
}

fn percent_decode(text: &str, plus_is_space: bool) -> Option<Zeroizing<String>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        out.push(match b {
            b'%' => {
                let hex = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (hex(rest.next()?)?, hex(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            b => b,
        });
    }
    String::from_utf8(std::mem::take(&mut *out)).ok().map(Zeroizing::new)
}

/// The URL, with its parameters in the order Vault writes them.
pub(super) fn url(l: &Label<'_>) -> Zeroizing<String> {
    let mut s = Zeroizing::new(String::with_capacity(TOTP_MAX_URL_BYTES));
    s.push_str(SCHEME);
    percent_encode(&mut s, l.issuer);
    s.push(':');
    percent_encode(&mut s, l.account_name);
    _ = write!(s, "?algorithm={}&digits={}&issuer=", l.algorithm, l.digits);
    percent_encode(&mut s, l.issuer);
    _ = write!(s, "&period={}&secret={}", l.period, l.secret);
    s
}

/// Takes over what the URL says; what it does not say stays as the body said.
pub(super) fn parse(url: &str, p: &mut Parameters) -> Result<()> {
    let bad = || Error::invalid("the url value is not an otpauth://totp/ url");
    if url.len() > TOTP_MAX_URL_BYTES {
        return Err(bad());
    }
    let rest = url.strip_prefix(SCHEME).ok_or_else(bad)?;
    let (label, query) = rest.split_once('?').ok_or_else(bad)?;
    let label = percent_decode(label, false).ok_or_else(bad)?;
    match label.split_once(':') {
        Some((issuer, account)) => {
            p.issuer = issuer.to_string();
            p.account_name = account.trim_start().to_string();
        }
        None => p.account_name = label.to_string(),
    }
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|s| !s.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(bad)?;
        if seen.contains(&name) {
            return Err(bad());
        }
        seen.push(name);
        let value = percent_decode(value, true).ok_or_else(bad)?;
        let number = || value.parse::<u64>().map_err(|_| bad());
        match name {
            "secret" => p.key = Some(value),
            "issuer" if !value.is_empty() => p.issuer = value.to_string(),
            "algorithm" => p.algorithm = Some(value.to_string()),
            "digits" => p.digits = Some(number()?),
            "period" => p.period = Some(number()?),
            _ => {} // apps add their own (image, color)
        }
    }
    Ok(())
}
