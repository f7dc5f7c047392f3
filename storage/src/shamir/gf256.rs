//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1 (0x11b), in constant time: no tables, no branch and no index that
//! depends on a value. A table look-up on share bytes is what CVE-2023-25000 was about.

/// The low bits of the reduction polynomial.
const REDUCTION: u8 = 0x1b;

/// The sum, which is also the difference.
pub const fn add(a: u8, b: u8) -> u8 {
    a ^ b
}

/// The product: eight rounds of shift and masked add, whatever the operands.
pub const fn mul(a: u8, b: u8) -> u8 {
    let mut product = 0u8;
    let mut bit = 8;
    while bit > 0 {
        bit -= 1;
        // Double, then add `a` when this bit of `b` is set: both as masks (0x00 or 0xff).
        let carry = (product >> 7).wrapping_neg();
        product = (product << 1) ^ (carry & REDUCTION);
        let set = ((b >> bit) & 1).wrapping_neg();
        product ^= set & a;
    }
    product
}

/// The inverse as a^254; 0 for 0.
pub const fn inverse(a: u8) -> u8 {
    let a2 = mul(a, a);
    let a3 = mul(a2, a);
    let a6 = mul(a3, a3);
    let a12 = mul(a6, a6);
    let a15 = mul(a12, a3);
    let a30 = mul(a15, a15);
    let a60 = mul(a30, a30);
    let a63 = mul(a60, a3);
    let a126 = mul(a63, a63);
    let a127 = mul(a126, a);
    mul(a127, a127)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schoolbook: carry-less product, then long division.
    fn slow_mul(a: u8, b: u8) -> u8 {
        let mut wide = 0u16;
        for i in 0..8 {
            if b >> i & 1 == 1 {
                wide ^= u16::from(a) << i;
            }
        }
        for i in (8..16).rev() {
            if wide >> i & 1 == 1 {
                wide ^= 0x11b << (i - 8);
            }
        }
        u8::try_from(wide).unwrap()
    }

    #[test]
    fn every_product_agrees_with_long_division() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), slow_mul(a, b), "{a} * {b}");
            }
        }
    }

    #[test]
    fn every_inverse_is_one() {
        assert_eq!(inverse(0), 0);
        for a in 1..=255 {
            assert_eq!(slow_mul(a, inverse(a)), 1, "1/{a}");
        }
    }
}
