//! Shamir's sharing undone, in code of its own: the unseal key as an attacker with three shares has it.

/// Multiplication in GF(256) with the polynomial of AES.
fn multiply(a: u8, b: u8) -> u8 {
    (0..8)
        .fold((0, a), |(sum, power), bit| {
            let sum = if b >> bit & 1 == 1 { sum ^ power } else { sum };
            (sum, power << 1 ^ if power & 0x80 != 0 { 0x1b } else { 0 })
        })
        .0
}

fn invert(a: u8) -> u8 {
    (1..=255).find(|&b| multiply(a, b) == 1).unwrap()
}

/// The secret behind shares in Vault's layout: one byte of each polynomial, then the place.
pub fn combine(shares: &[Vec<u8>]) -> Vec<u8> {
    let place = |share: &[u8]| *share.last().unwrap();
    (0..shares[0].len() - 1)
        .map(|i| {
            shares.iter().fold(0, |sum, mine| {
                let others = shares.iter().filter(|s| place(s) != place(mine));
                let weight =
                    others.fold(1, |w, s| multiply(w, multiply(place(s), invert(place(s) ^ place(mine)))));
                sum ^ multiply(mine[i], weight)
            })
        })
        .collect()
}
