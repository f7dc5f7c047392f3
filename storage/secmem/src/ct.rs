//! Comparison in constant time.

use subtle::ConstantTimeEq;

/// Whether `a` and `b` are the same bytes. Takes the same time wherever they differ; a difference in length, which is
/// never secret here, is told at once.
#[must_use]
pub fn eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn tells_equal_from_unequal_at_every_position() {
        for len in 0..70 {
            let a = vec![0x5a_u8; len];
            assert!(super::eq(&a, &a.clone()));
            assert!(!super::eq(&a, &vec![0x5a_u8; len + 1]));
            for at in 0..len {
                for bit in 0..8 {
                    let mut b = a.clone();
                    b[at] ^= 1 << bit;
                    assert!(!super::eq(&a, &b), "byte {at} bit {bit} of {len}");
                }
            }
        }
    }
}
