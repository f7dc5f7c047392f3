//! Randomness, from the kernel only.

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::error::RandomError;
use crate::limits::MAX_RANDOM_TEXT;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Bytes at or above this are thrown away: the largest multiple of 62 that a byte can hold.
const BASE62_REJECT: u8 = 248;

/// Fills `buf` from `getrandom(2)`.
pub fn fill(buf: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(buf).map_err(|_| RandomError::Unavailable)
}

/// `N` random bytes. For key material prefer [`Arena::random`](crate::Arena::random).
pub fn array<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}

/// Random text over `0-9A-Za-z`, each of `len` characters with the same chance (5.95 bits each).
pub fn base62(len: usize) -> Result<SecretString, RandomError> {
    if len > MAX_RANDOM_TEXT {
        return Err(RandomError::TooLong(len));
    }
    // The whole length is reserved first: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(len));
    let mut pool = Zeroizing::new([0_u8; 64]);
    while text.len() < len {
        fill(pool.as_mut_slice())?;
        for &byte in pool.iter().filter(|&&b| b < BASE62_REJECT) {
            if text.len() == len {
                break;
            }
            if let Some(&c) = BASE62.get(usize::from(byte % 62)) {
                text.push(char::from(c));
            }
        }
    }
    Ok(SecretString::from(std::mem::take(&mut *text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn base62_uses_every_character_equally() {
        let mut seen = [0_u32; 128];
        let rounds = 400;
        for _ in 0..rounds {
            for b in base62(MAX_RANDOM_TEXT).unwrap().expose_secret().bytes() {
                seen[usize::from(b)] += 1;
            }
        }
        let expected = f64::from(rounds) * MAX_RANDOM_TEXT as f64 / 62.0;
        let chi: f64 = BASE62
            .iter()
            .map(|&c| {
                let d = f64::from(seen[usize::from(c)]) - expected;
                d * d / expected
            })
            .sum();
        // 61 degrees of freedom: above 125 has a chance below 1e-5. Taking bytes modulo 62 without rejection gives > 9000.
        assert!(chi < 125.0, "chi square {chi}");
        assert_eq!(seen.iter().sum::<u32>() as usize, rounds as usize * MAX_RANDOM_TEXT);
    }

    #[test]
    fn base62_has_the_length_asked_for_and_a_bound() {
        for len in [0, 1, 24, 63, 64, 65, MAX_RANDOM_TEXT] {
            assert_eq!(base62(len).unwrap().expose_secret().len(), len);
        }
        assert_eq!(base62(MAX_RANDOM_TEXT + 1).unwrap_err(), RandomError::TooLong(MAX_RANDOM_TEXT + 1));
    }

    #[test]
    fn arrays_differ() {
        assert_ne!(array::<32>().unwrap(), array::<32>().unwrap());
    }
}
