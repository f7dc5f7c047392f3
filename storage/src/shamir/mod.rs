//! Shamir's secret sharing over GF(2^8), byte by byte, in the layout of Vault: a share is the `y` bytes followed by one
//! `x` byte. Own code because the crates at hand look secrets up in tables or draw biased coefficients.
//!
//! Too few or wrong shares combine to a wrong secret without an error: the caller must check the result against
//! something sealed with the right one.

mod gf256;
#[cfg(test)]
mod tests;

use crate::Error;
use secmem::{SecretBytes, Zeroizing, random};

/// Splits `secret` into `shares` parts of which any `threshold` recover it.
///
/// 1 of 1 is allowed; 1 of many is not, each part would be the secret.
pub fn split(secret: &[u8], shares: u8, threshold: u8) -> Result<Vec<SecretBytes>, Error> {
    if secret.is_empty() {
        return Err(Error::Shares("nothing to share"));
    }
    check_counts(shares, threshold)?;
    let xs = distinct(usize::from(shares))?;
    // Coefficients 1..threshold of each byte's polynomial; coefficient 0 is the secret's byte. All 256 values are as
    // likely, zero included: leaving zero out tells something about the secret (RUSTSEC-2024-0398).
    let degree = usize::from(threshold - 1);
    let mut coefficients = Zeroizing::new(vec![0u8; degree * secret.len()]);
    random::fill(&mut coefficients)?;
    let mut parts = Vec::with_capacity(xs.len());
    for x in xs {
        let mut share = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
        for (i, byte) in secret.iter().enumerate() {
            // Horner, highest coefficient first.
            let of_byte = coefficients.iter().skip(i * degree).take(degree);
            let high = of_byte.fold(0, |sum, c| gf256::mul(gf256::add(sum, *c), x));
            share.push(gf256::add(high, *byte));
        }
        share.push(x);
        parts.push(SecretBytes::from(share));
    }
    Ok(parts)
}

/// 1 <= threshold <= shares, and not 1 of many.
pub fn check_counts(shares: u8, threshold: u8) -> Result<(), Error> {
    match (shares, threshold) {
        (0, _) | (_, 0) => Err(Error::Shares("need at least one share and a threshold of at least one")),
        (n, t) if t > n => Err(Error::Shares("the threshold is greater than the number of shares")),
        (n, 1) if n > 1 => Err(Error::Shares("a threshold of one needs exactly one share")),
        _ => Ok(()),
    }
}

/// Recovers the secret into `out` from shares of `out.len() + 1` bytes with distinct, non-zero `x`.
pub fn combine(shares: &[SecretBytes], out: &mut [u8]) -> Result<(), Error> {
    const BAD: Error = Error::Shares("the shares do not fit together");
    let mut parts = Vec::with_capacity(shares.len());
    for share in shares {
        let (x, y) = share.as_slice().split_last().ok_or(BAD)?;
        if y.len() != out.len() || *x == 0 {
            return Err(BAD);
        }
        parts.push((*x, y));
    }
    let repeated = |i: usize, x: u8| parts.iter().skip(i + 1).any(|(other, _)| *other == x);
    if parts.is_empty() || parts.iter().enumerate().any(|(i, (x, _))| repeated(i, *x)) {
        return Err(BAD);
    }
    out.fill(0);
    for (i, (x, y)) in parts.iter().enumerate() {
        // The Lagrange basis polynomial of this share at 0. Which shares were given is not secret; the bytes are.
        let mut basis = 1;
        for (j, (other, _)) in parts.iter().enumerate() {
            if i != j {
                basis = gf256::mul(basis, gf256::mul(*other, gf256::inverse(gf256::add(*x, *other))));
            }
        }
        for (to, from) in out.iter_mut().zip(*y) {
            *to = gf256::add(*to, gf256::mul(*from, basis));
        }
    }
    Ok(())
}

/// `count` distinct values of 1..=255 in random order: the head of a shuffle with unbiased draws.
fn distinct(count: usize) -> Result<Vec<u8>, Error> {
    let mut pool: Vec<u8> = (1..=255).collect();
    let mut picked = Vec::with_capacity(count);
    while picked.len() < count {
        let n = pool.len();
        let [byte] = random::array::<1>()?;
        // Reject the tail that would make small indices likelier.
        let byte = usize::from(byte);
        if byte < 256 - 256 % n {
            picked.push(pool.swap_remove(byte % n));
        }
    }
    Ok(picked)
}
