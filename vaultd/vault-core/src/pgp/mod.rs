//! Encrypting a secret to an operator's OpenPGP key (RFC 4880, RFC 6637), so that only that operator can read it.
//!
//! What `gpg` makes by default is understood: RSA and Curve25519 keys of version 4. There is no decryption and no
//! signature here. Written by hand because the libraries for OpenPGP bring RSA code with an open timing advisory.

mod key;
mod message;

pub use key::PublicKey;

use vault_logical::Error;

fn unusable(why: &str) -> Error {
    Error::invalid(format!("unusable PGP key: {why}"))
}

#[cfg(test)]
mod tests;
