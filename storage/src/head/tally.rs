//! The tally of a partition: how many records, and the sum of their terms.
//!
//! A term is HMAC(index key, storage key, record header) and the header holds nonce, tag, sequence and the term of the
//! key; the sum is mod 2^256. Without the key nobody can tell which set of records has a given sum, nor make another set
//! with the same one.

use super::mac::{Use, mac};
use crate::Error;
use crate::barrier::Header;
use crate::physical;
use secmem::Key;

/// Bytes of [`Tally::to_bytes`].
pub const TALLY_BYTES: usize = 8 + 32;

/// Count and sum over the live records of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    sum: Sum,
}

/// A number mod 2^256, least significant limb first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum([u64; 4]);

/// One record's part of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term(Sum);

impl Sum {
    fn from_be_bytes(bytes: &[u8; 32]) -> Sum {
        let mut limbs = [0; 4];
        for (limb, chunk) in limbs.iter_mut().rev().zip(bytes.chunks_exact(8)) {
            *limb = chunk.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        }
        Sum(limbs)
    }

    fn plus(self, other: Sum) -> Sum {
        let mut out = self;
        let mut carry = false;
        for (a, b) in out.0.iter_mut().zip(other.0) {
            let (sum, over) = a.overflowing_add(b);
            let (sum, over2) = sum.overflowing_add(u64::from(carry));
            *a = sum;
            carry = over | over2;
        }
        out
    }

    fn minus(self, other: Sum) -> Sum {
        // a - b = a + !b + 1
        let one = Sum([1, 0, 0, 0]);
        self.plus(Sum(other.0.map(|limb| !limb))).plus(one)
    }
}

impl Tally {
    /// Nothing is counted and nothing is left of what was.
    pub fn is_empty(&self) -> bool {
        *self == Tally::default()
    }

    pub fn add(&mut self, term: Term) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.plus(term.0);
    }

    pub fn remove(&mut self, term: Term) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.minus(term.0);
    }

    /// Count, then sum, big-endian.
    pub fn to_bytes(self) -> [u8; TALLY_BYTES] {
        let mut out = [0; TALLY_BYTES];
        let limbs = self.sum.0.iter().rev();
        let bytes = std::iter::once(&self.count).chain(limbs).flat_map(|n| n.to_be_bytes());
        for (to, from) in out.iter_mut().zip(bytes) {
            *to = from;
        }
        out
    }

    pub fn from_bytes(bytes: &[u8; TALLY_BYTES]) -> Option<Tally> {
        let (count, sum) = bytes.split_first_chunk::<8>()?;
        Some(Tally { count: u64::from_be_bytes(*count), sum: Sum::from_be_bytes(sum.first_chunk()?) })
    }
}

/// The terms of records, in one visit to the index key.
pub fn terms(index_key: &Key, records: &[(&physical::Key, &Header)]) -> Result<Vec<Term>, Error> {
    index_key
        .attempt(|key| records.iter().map(|(storage_key, header)| term(key, storage_key, header)).collect())?
}

/// One record's term; call it on an arena stack.
pub fn term(index_key: &[u8], storage_key: &physical::Key, header: &Header) -> Result<Term, Error> {
    let storage_key = storage_key.as_bytes();
    let length = (storage_key.len() as u64).to_be_bytes();
    Ok(Term(Sum::from_be_bytes(&mac(index_key, Use::Term, &[&length, storage_key, &header.to_bytes()])?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Schoolbook arithmetic on 32 big-endian bytes.
    fn slow_plus(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        let (mut out, mut carry) = ([0; 32], 0u16);
        for i in (0..32).rev() {
            let sum = u16::from(a[i]) + u16::from(b[i]) + carry;
            out[i] = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        out
    }

    fn bytes(tally: Tally) -> [u8; 32] {
        tally.to_bytes()[8..].try_into().unwrap()
    }

    proptest! {
        #[test]
        fn sums_agree_with_schoolbook(a in any::<[u8; 32]>(), b in prop_oneof![any::<[u8; 32]>(), Just([0xff; 32])]) {
            let (x, y) = (Term(Sum::from_be_bytes(&a)), Term(Sum::from_be_bytes(&b)));
            let mut tally = Tally::default();
            tally.add(x);
            tally.add(y);
            prop_assert_eq!(bytes(tally), slow_plus(a, b));
            prop_assert_eq!(tally.count, 2);
            prop_assert_eq!(Tally::from_bytes(&tally.to_bytes()), Some(tally));
            tally.remove(x);
            prop_assert_eq!(bytes(tally), b);
            tally.remove(y);
            prop_assert!(tally.is_empty());
        }
    }
}
