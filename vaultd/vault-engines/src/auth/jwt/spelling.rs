//! One spelling for each ECDSA signature.
//!
//! Whoever holds a signature (r, s) can write (r, n - s) beside it, and both verify: two texts that
//! are one token, for caches, logs and whoever compares. Issuers use either form (RFC 7518 knows no
//! "low s", and common libraries produce both alike), so neither can be refused for what it is.
//! Whichever form of a token comes first is the accepted one until the token ends.

use super::token::Family;
use crate::limits::JWT_MAX_SPELLINGS;
use parking_lot::Mutex;
use std::collections::HashMap;
use vault_logical::Timestamp;

/// The orders of the curves' groups (SEC 2).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a,
    0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

/// The forms that were accepted, of tokens that have not ended.
#[derive(Default)]
pub(super) struct Spellings(Mutex<HashMap<Vec<u8>, Seen>>);

struct Seen {
    high: bool,
    until: Timestamp,
}

impl Spellings {
    /// Whether a signature that was verified stands in its token's accepted form. Signatures of
    /// other kinds have one form only.
    pub fn accepts(&self, family: Family, signature: &[u8], until: Timestamp, now: Timestamp) -> bool {
        let Some((low, high)) = low_form(family, signature) else { return true };
        let mut seen = self.0.lock();
        if let Some(first) = seen.get(&low).filter(|s| now < s.until) {
            return first.high == high;
        }
        if seen.len() >= JWT_MAX_SPELLINGS {
            seen.retain(|_, s| now < s.until);
        }
        if seen.len() >= JWT_MAX_SPELLINGS {
            seen.clear();
        }
        seen.insert(low, Seen { high, until });
        true
    }
}

/// `signature` (r and s, one after the other) with the smaller of its two `s`, and whether it came
/// with the larger one.
fn low_form(family: Family, signature: &[u8]) -> Option<(Vec<u8>, bool)> {
    let order: &[u8] = match family {
        Family::P256 => &P256_ORDER,
        Family::P384 => &P384_ORDER,
        Family::Rsa | Family::Ed25519 => return None,
    };
    let (r, s) = signature.split_at_checked(order.len()).filter(|(_, s)| s.len() == order.len())?;
    let other = difference(order, s);
    let high = s > other.as_slice();
    let low = if high { other.as_slice() } else { s };
    Some(([r, low].concat(), high))
}

/// `a - b`, big-endian, of one length; `b` is not larger.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = false;
    let mut out: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let (d, under) = a.overflowing_sub(*b);
            let (d, under_too) = d.overflowing_sub(u8::from(borrow));
            borrow = under || under_too;
            d
        })
        .collect();
    out.reverse();
    out
}

/// The other form of the same signature.
#[cfg(test)]
pub(super) fn other_form(family: Family, signature: &[u8]) -> Vec<u8> {
    let order: &[u8] = if family == Family::P256 { &P256_ORDER } else { &P384_ORDER };
    let (r, s) = signature.split_at(order.len());
    [r, &difference(order, s)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn both_forms_have_one_low_form(r in any::<[u8; 32]>(), mut s in any::<[u8; 32]>()) {
            s[0] &= 0x7f; // below the order
            let one = [r, s].concat();
            let other = other_form(Family::P256, &one);
            prop_assert_eq!(&other_form(Family::P256, &other), &one);
            let (a, b) = (low_form(Family::P256, &one).unwrap(), low_form(Family::P256, &other).unwrap());
            prop_assert_eq!(a.0, b.0);
            prop_assert_ne!(a.1, b.1);
        }
    }

    #[test]
    fn a_full_memory_forgets_the_ended_first_and_never_grows() {
        let spellings = Spellings::default();
        let at = Timestamp::from_unix_secs;
        let signature = |n: usize| {
            let mut s = vec![0; 64];
            s[..8].copy_from_slice(&n.to_be_bytes());
            s[63] = 1;
            s
        };
        assert!(spellings.accepts(Family::P256, &signature(0), at(100), at(1)));
        for n in 1..JWT_MAX_SPELLINGS {
            assert!(spellings.accepts(Family::P256, &signature(n), at(10), at(1)));
        }
        assert!(spellings.accepts(Family::P256, &signature(JWT_MAX_SPELLINGS), at(100), at(50)));
        assert_eq!(spellings.0.lock().len(), 2);
        let again = other_form(Family::P256, &signature(0));
        assert!(!spellings.accepts(Family::P256, &again, at(100), at(50)), "the one that lives is kept");
    }
}
