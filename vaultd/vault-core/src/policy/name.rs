//! The one spelling of a policy's name.

use crate::limits::MAX_POLICY_NAME_BYTES;
use vault_logical::Error;

/// The policy that may do everything but `invoke`. Only this exact spelling names it.
pub const ROOT: &str = "root";

/// The stored spelling of a policy name: trimmed of ASCII blanks and lower-cased, as in Vault;
/// then only `a-z 0-9 . _ - / @ : + =` and inner spaces.
///
/// Nothing but the exact bytes `root` gives `root`: `Root` or ` root ` is refused instead, so that
/// a check which ran on the raw name cannot be slipped past (CVE-2025-64761).
///
/// # Errors
/// 400 for an empty or over-long name, another character, or a look-alike of `root`.
pub fn normalise_name(raw: &str) -> Result<String, Error> {
    let trimmed = raw.trim_matches(|c: char| c.is_ascii_whitespace());
    if trimmed.is_empty() {
        return Err(Error::invalid("policy name is empty"));
    }
    if trimmed.len() > MAX_POLICY_NAME_BYTES {
        return Err(Error::invalid("policy name is too long"));
    }
    let name = trimmed.to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/@:+= ".contains(&b);
    if !name.bytes().all(allowed) {
        return Err(Error::invalid(
            "policy name may hold only letters, digits, spaces and the characters . _ - / @ : + =",
        ));
    }
    if name == ROOT && raw != ROOT {
        return Err(Error::invalid("policy name is another spelling of \"root\"; write it exactly"));
    }
    Ok(name)
}
