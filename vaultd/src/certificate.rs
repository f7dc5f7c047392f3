//! What a certificate says of itself: until when, and whom it names (RFC 5280). Signatures are
//! rustls's business; this is read to tell an operator what clients will refuse.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use vault_logical::Timestamp;
use vault_logical::der::{GENERALIZED_TIME, OCTET_STRING, OID, Reader, SEQUENCE, UTC_TIME};

/// `version` of a certificate.
const VERSION: u8 = 0xa0;
/// `extensions` of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// In a subjectAltName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// id-ce-subjectAltName
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The last whole year of a [`Timestamp`].
const LAST_YEAR: &str = "2261";

/// Facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Names of its subjectAltName.
    pub names: Vec<String>,
    /// Addresses of its subjectAltName.
    pub addresses: Vec<IpAddr>,
}

/// Reads a DER certificate; `None` when it is none.
pub fn read(der: &[u8]) -> Option<Facts> {
    let mut tbs = Reader(Reader(Reader(der).take(SEQUENCE)?).take(SEQUENCE)?);
    if tbs.0.first() == Some(&VERSION) {
        tbs.next()?;
    }
    for _ in ["serial", "signature", "issuer"] {
        tbs.next()?;
    }
    let mut validity = Reader(tbs.take(SEQUENCE)?);
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    let mut facts = Facts { not_before, not_after, names: Vec::new(), addresses: Vec::new() };
    while let Some((tag, content)) = tbs.next() {
        if tag == EXTENSIONS {
            let mut extensions = Reader(Reader(content).take(SEQUENCE)?);
            while let Some(extension) = extensions.take(SEQUENCE) {
                alt_names(extension, &mut facts);
            }
        }
    }
    Some(facts)
}

fn alt_names(extension: &[u8], facts: &mut Facts) -> Option<()> {
    let mut e = Reader(extension);
    if e.take(OID)? != SUBJECT_ALT_NAME {
        return None;
    }
    // A flag ("critical") may stand between.
    let mut value = e.next()?;
    if value.0 != OCTET_STRING {
        value = e.next()?;
    }
    let mut names = Reader(Reader(value.1).take(SEQUENCE)?);
    while let Some((tag, content)) = names.next() {
        match tag {
            DNS_NAME => facts.names.extend(std::str::from_utf8(content).ok().map(str::to_ascii_lowercase)),
            IP_ADDRESS => facts.addresses.extend(address(content)),
            _ => {}
        }
    }
    Some(())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// `YYMMDDHHMMSSZ` (1950 to 2049) or `YYYYMMDDHHMMSSZ`.
fn time((tag, content): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let full = match (tag, text.len()) {
        (UTC_TIME, 12) if text.get(..2)? < "50" => format!("20{text}"),
        (UTC_TIME, 12) => format!("19{text}"),
        (GENERALIZED_TIME, 14) => text.to_owned(),
        _ => return None,
    };
    // "No end" is written as the year 9999: beyond what a timestamp here can say.
    let full = if full.get(..4)? > LAST_YEAR { format!("{LAST_YEAR}{}", full.get(4..)?) } else { full };
    let part = |from: usize, to: usize| full.get(from..to);
    let (date, clock) =
        ((part(0, 4)?, part(4, 6)?, part(6, 8)?), (part(8, 10)?, part(10, 12)?, part(12, 14)?));
    Timestamp::parse_rfc3339(&format!(
        "{}-{}-{}T{}:{}:{}Z",
        date.0, date.1, date.2, clock.0, clock.1, clock.2
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    fn der(names: &[&str], from: (i32, u8, u8), to: (i32, u8, u8)) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().expect("key");
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        let pem = params.self_signed(&key).expect("certificate").pem();
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("der").to_vec()
    }

    #[test]
    fn times_and_names_are_read() {
        let names = ["localhost", "Vault.example", "*.corp.example", "127.0.0.1", "::1"];
        let made = der(&names, (2024, 2, 29), (2060, 12, 31));
        let facts = read(&made).expect("a certificate");
        assert_eq!(facts.not_before.rfc3339(), "2024-02-29T00:00:00Z");
        assert_eq!(facts.not_after.rfc3339(), "2060-12-31T00:00:00Z", "beyond 2049: the longer form");
        assert_eq!(facts.names, ["localhost", "vault.example", "*.corp.example"]);
        assert_eq!(facts.addresses, ["127.0.0.1", "::1"].map(|a| a.parse::<IpAddr>().expect("address")));
        let endless = read(&der(&[], (2024, 1, 1), (9999, 12, 31))).expect("a certificate");
        assert_eq!(endless.not_after.rfc3339(), "2261-12-31T00:00:00Z");
        let old = read(&der(&[], (1975, 1, 1), (1999, 1, 1))).expect("a certificate");
        assert_eq!(old.not_before.rfc3339(), "1975-01-01T00:00:00Z");
        assert!(old.names.is_empty() && old.addresses.is_empty());
        for cut in 0..made.len().min(200) {
            let _ = read(&made[..cut]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        use proptest::prelude::*;
        let made = der(&["localhost"], (2024, 1, 1), (2030, 1, 1));
        proptest!(|(at in 0..made.len(), to in any::<u8>())| {
            let mut bytes = made.clone();
            bytes[at] = to;
            let _ = read(&bytes);
        });
    }
}
