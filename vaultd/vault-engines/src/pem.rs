//! PEM text (RFC 7468), bounded.

use crate::limits::PEM_MAX_BYTES;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The one PEM block in `text`: `(label, DER)`.
pub(crate) fn block(text: &str) -> Option<(&str, Vec<u8>)> {
    if text.len() > PEM_MAX_BYTES {
        return None;
    }
    let (label, rest) = text.trim().strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (body, end) = rest.split_once("-----END ")?;
    if end.strip_suffix("-----")? != label {
        return None;
    }
    let body: String = body.split_ascii_whitespace().collect();
    Some((label, STANDARD.decode(body).ok()?))
}

/// True for one or more certificates.
pub(crate) fn is_certificates(text: &str) -> bool {
    const END: &str = "-----END CERTIFICATE-----";
    let text = text.trim();
    text.len() <= PEM_MAX_BYTES
        && !text.is_empty()
        && text.split_inclusive(END).all(|b| matches!(block(b), Some(("CERTIFICATE", _))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates() {
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
        assert!(is_certificates(one) && is_certificates(&format!("{one}{one}")));
        assert!(is_certificates(&format!("\n{one}\n\n{one}\n")));
        for bad in [
            "",
            "x",
            &format!("{one}x"),
            &one.replace("CERTIFICATE", "PRIVATE KEY"),
            &one.replace("AAAA", "A-AA"),
        ] {
            assert!(!is_certificates(bad), "{bad}");
        }
        let label = one.replacen("END CERTIFICATE", "END KEY", 1);
        assert!(block(&label).is_none());
        assert!(!is_certificates(&one.repeat(10_000)));
    }
}
